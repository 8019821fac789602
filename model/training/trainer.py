"""The training loop: one process on a laptop or many under `accelerate launch`, stopped and resumed exactly.

Everything random in a step derives from the recipe's seed and the step's number, so a resumed run repeats what an
uninterrupted one would have done; a checkpoint holds weights, their average, and the optimiser's state.
Symbols: a *step* is one optimiser step; each process cuts its share of a step's clips into `accumulation` *parts*.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import signal
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import torch
from accelerate import Accelerator, DistributedType
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.training.event_log import EventLog
from model.training.memory import TrainingOutOfMemory, advice, is_out_of_memory, static_memory
from model.training.run_files import WEIGHTS_NAME, RunFiles
from model.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import FrameType

    import numpy as np
    import numpy.typing as npt

    from model.training.recipes import Optimisation, Recipe

__all__ = [
    "WEIGHTS_NAME",
    "Batch",
    "ClipSource",
    "RunFiles",
    "Trainer",
    "TrainingDiverged",
    "TrainingOutOfMemory",
    "TrainingTask",
    "WeightAverage",
    "learning_rate",
]

logger = logging.getLogger(__name__)

_CHECKPOINTS_KEPT = 2
_LOOKAHEAD_STEPS = 64  # clips are requested from the workers this many steps before they are needed


class TrainingDiverged(Exception):
    """The loss is no longer a finite number."""


class Batch(Protocol):
    """Clips of one part of a step."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        ...


class ClipSource(Protocol):
    """Where batches come from."""

    def request(self, first_seed: int, count: int) -> None:
        """Announce which clips will be needed."""
        ...

    def batch(self, seeds: list[int]) -> Batch:
        """The clips of these seeds."""
        ...


class TrainingTask(nn.Module, ABC):
    """Networks together with what they are trained to do."""

    @abstractmethod
    def forward(self, batch: Any) -> tuple[Tensor, Mapping[str, Tensor]]:  # noqa: ANN401  (each task has its own batch)
        """Loss of one batch, and what else is worth logging."""

    @abstractmethod
    def components(self) -> Mapping[str, nn.Module]:
        """The networks that a finished run delivers, by the name of their folder."""

    def frozen(self) -> tuple[nn.Module, ...]:
        """Networks that the task uses but neither trains nor stores."""
        return ()

    def samples(self, batch: Any) -> Mapping[str, npt.NDArray[np.uint8]]:  # noqa: ANN401, ARG002  (as above)
        """Videos uint8 `[T, H, W, 3]` that show what has been learnt so far; none where there is nothing to see."""
        return {}


class Trainer:
    """Runs one recipe.

    Args:
        store: where the clips come from.
        folder: of the run; a run that was stopped there goes on.
        validation: batches of held-out clips that never change; without them nothing is validated.
        sample_fps: frame rate of the task's sample videos.
    Raises: ValueError when the average of weights is asked of a sharded run.
    """

    def __init__(
        self,
        recipe: Recipe,
        task: TrainingTask,
        *,
        store: ClipSource,
        folder: Path,
        validation: Sequence[Batch] = (),
        sample_fps: int = 6,
    ) -> None:
        self.recipe = recipe
        self.files = RunFiles(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._store = store
        self._validation = validation
        self._sample_fps = sample_fps
        self._accelerator = Accelerator()
        optimisation = recipe.optimisation
        if self._is_sharded and optimisation.ema_decay:
            raise ValueError("shards of weights have no average: --set ema_decay=0")
        for module in task.frozen():
            module.to(self._accelerator.device)
        self._memory = static_memory(task, frozen=task.frozen(), has_average=bool(optimisation.ema_decay))
        optimiser = torch.optim.AdamW(
            [parameter for parameter in task.parameters() if parameter.requires_grad],
            lr=optimisation.learning_rate,
            weight_decay=optimisation.weight_decay,
            betas=optimisation.betas,
        )
        self._task, self._optimiser = self._accelerator.prepare(task, optimiser)
        self._average = WeightAverage(self._bare_task, decay=optimisation.ema_decay)
        self._log: EventLog | None = None
        self._stopping = False

    @property
    def _bare_task(self) -> TrainingTask:
        bare: TrainingTask = self._accelerator.unwrap_model(self._task)
        return bare

    @property
    def _is_sharded(self) -> bool:
        return bool(self._accelerator.distributed_type == DistributedType.FSDP)

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, to the recipe's last step.

        Ctrl-C and SIGTERM save a checkpoint first. Raises: TrainingDiverged, TrainingOutOfMemory.
        """
        step = self._resume()
        recipe = self.recipe
        logged_at, started = step, time.monotonic()
        totals: dict[str, float] = {}
        self._log = EventLog(self.files.folder, title=recipe.task) if self._accelerator.is_main_process else None
        with self._stop_signals(), self._closed_log():
            if step == 0:
                self._validate(step)
            while step < recipe.steps and not self._stopping:
                for name, value in self._step(step).items():
                    totals[name] = totals.get(name, 0.0) + value
                step += 1
                is_last = step == recipe.steps
                if step % recipe.log_every == 0 or is_last:
                    means = {name: total / (step - logged_at) for name, total in totals.items()}
                    self._tell(step, means, seconds=time.monotonic() - started)
                    totals, logged_at = {}, step
                if recipe.validate_every and (step % recipe.validate_every == 0 or is_last):
                    self._validate(step)
                if recipe.samples_every and step % recipe.samples_every == 0:
                    self._show(step)
                if step % recipe.checkpoint_every == 0 or is_last or self._stopping:
                    self._save(step)
        if self._stopping:
            raise KeyboardInterrupt

    def _step(self, step: int) -> dict[str, float]:
        """One optimiser step; returns what to log."""
        recipe, accelerator = self.recipe, self._accelerator
        clips = recipe.clips
        self._store.request(clips.first_seed, clips.available(step + _LOOKAHEAD_STEPS))
        seeds = clips.seeds(step, batch_size=recipe.batch_size, order_seed=recipe.seed)
        own = seeds[accelerator.process_index :: accelerator.num_processes]
        torch.manual_seed((recipe.seed << 40) + (step << 8) + accelerator.process_index)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(recipe.optimisation, step, recipe.steps)
        parts = _parts(own, recipe.accumulation)
        totals: dict[str, float] = {}
        for index, part in enumerate(parts):
            waits = accelerator.no_sync(self._task) if index < len(parts) - 1 else nullcontext()
            with waits, self._out_of_memory_told(len(part)):
                for name, value in self._learn(step, part, share=len(part) / len(own)).items():
                    totals[name] = totals.get(name, 0.0) + value
        with self._out_of_memory_told(len(parts[0])):
            accelerator.clip_grad_norm_(self._task.parameters(), recipe.optimisation.max_gradient_norm)
            self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._average.update(self._bare_task, step)
        return totals

    def _learn(self, step: int, part: list[int], *, share: float) -> dict[str, float]:
        """Add the gradients of one part, weighted with its share of the process's clips; returns what to log."""
        batch = self._store.batch(part)
        with self._precision():
            loss, metrics = self._task(batch.to(self._accelerator.device))
        if not torch.isfinite(loss):
            newest = self.files.checkpoints()[-1:]
            kept = newest[0].name if newest else "none"
            named = list(getattr(batch, "names", part))
            raise TrainingDiverged(f"loss {loss.item()} at step {step}, clips {named}; last checkpoint: {kept}")
        self._accelerator.backward(loss if share == 1 else loss * share)
        return {"loss": share * loss.item(), **{name: share * float(value) for name, value in metrics.items()}}

    def _precision(self) -> AbstractContextManager[Any]:
        if self.recipe.precision == "fp32":
            return nullcontext()
        return torch.autocast(self._accelerator.device.type, dtype=torch.bfloat16)

    def _tell(self, step: int, means: Mapping[str, float], *, seconds: float) -> None:
        if self._log is not None:
            self._log.means(step, self.recipe.steps, means, seconds=seconds)

    def _validate(self, step: int) -> None:
        """Loss of the averaged weights on held-out clips, with the same draws every time; keeps the best weights."""
        if not self._validation or not self.recipe.validate_every:
            return
        self._task.eval()
        losses = []
        with torch.no_grad(), self._average.swapped_in(self._bare_task), self._precision():
            for index, batch in enumerate(self._validation):
                torch.manual_seed(index)
                loss, _ = self._task(batch.to(self._accelerator.device))
                losses.append(float(loss))
        self._task.train()
        mean = sum(losses) / len(losses)
        self._tell(step, {"validation_loss": mean}, seconds=0.0)
        files = self.files
        best = json.loads(files.best.read_text(encoding="utf-8"))["loss"] if files.best.is_file() else math.inf
        if mean < best:
            state = self._delivered_state()
            if self._accelerator.is_main_process:
                _replace(files.best_weights, state)
                files.best.write_text(json.dumps({"step": step, "loss": mean}), encoding="utf-8")
        self._accelerator.wait_for_everyone()

    def _show(self, step: int) -> None:
        """Generate sample videos of the first held-out clips."""
        if self._log is None or not self._validation or self._is_sharded:
            return
        self._task.eval()
        with torch.no_grad(), self._average.swapped_in(self._bare_task):
            batch = self._validation[0].to(self._accelerator.device)
            videos = self._bare_task.samples(batch)
        self._task.train()
        self._log.videos(step, videos, fps=self._sample_fps)

    def _delivered_state(self) -> dict[str, Tensor]:
        """The averaged weights, gathered from all shards; every process must call it."""
        if self._is_sharded:
            return dict(self._accelerator.get_state_dict(self._task))
        return self._average.state

    def _save(self, step: int) -> None:
        """Write a checkpoint whose `progress.json` comes last, then the averaged weights, then drop old checkpoints."""
        folder = self.files.checkpoint(step)
        self._accelerator.save_state(str(folder))
        state = self._delivered_state()
        if not self._accelerator.is_main_process:
            return
        save_file(state, folder / WEIGHTS_NAME)
        progress = {"step": step, "recipe": asdict(self.recipe)}
        (folder / "progress.json").write_text(json.dumps(progress, indent=2), encoding="utf-8")
        unfinished = self.files.weights.with_suffix(".unfinished")
        shutil.copyfile(folder / WEIGHTS_NAME, unfinished)
        unfinished.replace(self.files.weights)
        for old in self.files.checkpoints()[:-_CHECKPOINTS_KEPT]:
            shutil.rmtree(old)

    def _resume(self) -> int:
        """Load the newest checkpoint, if there is one; returns the number of steps already done."""
        checkpoints = self.files.checkpoints()
        if not checkpoints:
            return 0
        folder = checkpoints[-1]
        self._accelerator.load_state(str(folder))
        if not self._is_sharded:
            self._average.load(load_file(folder / WEIGHTS_NAME), self._bare_task)
        progress: dict[str, Any] = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
        step = int(progress["step"])
        logger.info("%s resumes after step %d", self.recipe.task, step)
        return step

    @contextmanager
    def _out_of_memory_told(self, clips_per_part: int) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            device = self._accelerator.device
            available = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
            message = advice(self.recipe, self._memory, clips_per_part=clips_per_part, available=available)
            raise TrainingOutOfMemory(message) from error

    @contextmanager
    def _closed_log(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._log is not None:
                self._log.close()

    @contextmanager
    def _stop_signals(self) -> Iterator[None]:
        """Let the current step finish and save when the process is asked to stop."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stopping = True

        previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def learning_rate(optimisation: Optimisation, step: int, steps: int) -> float:
    """Linear warm-up, then the recipe's decay; a cosine ends at a hundredth of the peak."""
    peak = optimisation.learning_rate
    if step < optimisation.warmup_steps:
        return peak * (step + 1) / optimisation.warmup_steps
    match optimisation.decay:
        case "constant":
            return peak
        case "staircase":
            return float(peak * optimisation.staircase_factor ** (step // max(optimisation.staircase_steps, 1)))
        case "cosine":
            progress = (step - optimisation.warmup_steps) / max(steps - optimisation.warmup_steps, 1)
            return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def _parts(seeds: list[int], count: int) -> list[list[int]]:
    """Cut seeds into `count` runs of nearly equal length, fewer when there are not that many."""
    length = -(-len(seeds) // count)
    return [seeds[start : start + length] for start in range(0, len(seeds), length)]


def _replace(file: Path, state: dict[str, Tensor]) -> None:
    unfinished = file.with_suffix(".unfinished")
    save_file(state, unfinished)
    unfinished.replace(file)
