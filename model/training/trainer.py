"""The training loop: one process on a laptop or many under `accelerate launch`, stopped and resumed exactly.

Everything random in a step derives from the recipe's seed and the step's number, so a resumed run repeats what an
uninterrupted one would have done; a checkpoint holds weights, their average, and the optimiser's state.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import signal
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import FrameType

    from model.training.clip_store import ClipBatch
    from model.training.recipes import Optimisation, Recipe

logger = logging.getLogger(__name__)

WEIGHTS_NAME = "weights.safetensors"
_CHECKPOINTS_KEPT = 2
_LOOKAHEAD_STEPS = 64  # clips are requested from the workers this many steps before they are needed


class TrainingDiverged(Exception):
    """The loss is no longer a finite number."""


class ClipSource(Protocol):
    """Where batches come from."""

    def request(self, first_seed: int, count: int) -> None:
        """Announce which clips will be needed."""
        ...

    def batch(self, seeds: list[int]) -> ClipBatch:
        """The clips of these seeds."""
        ...


class TrainingTask(nn.Module, ABC):
    """Networks together with what they are trained to do."""

    @abstractmethod
    def forward(self, batch: ClipBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Loss of one batch, and what else is worth logging."""

    @abstractmethod
    def components(self) -> Mapping[str, nn.Module]:
        """The networks that a finished run delivers, by the name of their folder."""


class WeightAverage:
    """Exponential moving average of a module's floating-point state."""

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's present weights; early steps move faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor.detach(), 1 - decay)
            else:
                self.state[name].copy_(tensor)


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where a run keeps its checkpoints, its log and its weights."""

    folder: Path

    @property
    def weights(self) -> Path:
        """The averaged weights of the newest checkpoint, usable at any time."""
        return self.folder / WEIGHTS_NAME

    @property
    def metrics(self) -> Path:
        """One JSON object per logged step."""
        return self.folder / "metrics.jsonl"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint after `step` steps."""
        return self.folder / f"step-{step:07d}"

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(path.parent for path in self.folder.glob("step-*/progress.json"))


class Trainer:
    """Runs one recipe."""

    def __init__(self, recipe: Recipe, task: TrainingTask, *, store: ClipSource, folder: Path) -> None:
        self.recipe = recipe
        self.files = RunFiles(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._store = store
        self._accelerator = Accelerator()
        optimiser = torch.optim.AdamW(
            [parameter for parameter in task.parameters() if parameter.requires_grad],
            lr=recipe.optimisation.learning_rate,
            weight_decay=recipe.optimisation.weight_decay,
            betas=(0.9, 0.98),
        )
        self._task, self._optimiser = self._accelerator.prepare(task, optimiser)
        self._average = WeightAverage(self._bare_task, decay=recipe.optimisation.ema_decay)
        self._stopping = False

    @property
    def _bare_task(self) -> TrainingTask:
        bare: TrainingTask = self._accelerator.unwrap_model(self._task)
        return bare

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, to the recipe's last step.

        Ctrl-C and SIGTERM save a checkpoint first. Raises: TrainingDiverged.
        """
        step = self._resume()
        logged_at, started = step, time.monotonic()
        totals: dict[str, float] = {}
        with self._stop_signals():
            while step < self.recipe.steps and not self._stopping:
                for name, value in self._step(step).items():
                    totals[name] = totals.get(name, 0.0) + value
                step += 1
                if step % self.recipe.log_every == 0 or step == self.recipe.steps:
                    taken = time.monotonic() - started
                    self._log(step, {name: total / (step - logged_at) for name, total in totals.items()}, taken)
                    totals, logged_at = {}, step
                if step % self.recipe.checkpoint_every == 0 or step == self.recipe.steps or self._stopping:
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
        loss, metrics = self._task(self._store.batch(own).to(accelerator.device))
        if not torch.isfinite(loss):
            newest = self.files.checkpoints()[-1:]
            kept = newest[0].name if newest else "none"
            raise TrainingDiverged(f"loss {loss.item()} at step {step}, clips {own}; last checkpoint: {kept}")
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(self._task.parameters(), recipe.optimisation.max_gradient_norm)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._average.update(self._bare_task, step)
        return {"loss": loss.item(), **{name: float(value) for name, value in metrics.items()}}

    def _log(self, step: int, means: Mapping[str, float], seconds: float) -> None:
        if not self._accelerator.is_main_process:
            return
        row = {"step": step, "seconds": round(seconds, 1)} | {name: round(value, 5) for name, value in means.items()}
        with self.files.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        shown = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        logger.info("%s step %d of %d  %.0f s  %s", self.recipe.task, step, self.recipe.steps, seconds, shown)

    def _save(self, step: int) -> None:
        """Write a checkpoint whose `progress.json` comes last, then the averaged weights, then drop old checkpoints."""
        folder = self.files.checkpoint(step)
        self._accelerator.save_state(str(folder))
        if not self._accelerator.is_main_process:
            return
        save_file(self._average.state, folder / WEIGHTS_NAME)
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
        self._average.state = load_file(folder / WEIGHTS_NAME)
        progress: dict[str, Any] = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
        step = int(progress["step"])
        logger.info("%s resumes after step %d", self.recipe.task, step)
        return step

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
    """Linear warm-up, then a cosine down to a hundredth of the peak."""
    if step < optimisation.warmup_steps:
        return optimisation.learning_rate * (step + 1) / optimisation.warmup_steps
    progress = (step - optimisation.warmup_steps) / max(steps - optimisation.warmup_steps, 1)
    return optimisation.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
