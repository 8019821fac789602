"""The trainer's options: parts of a batch, held-out clips, averages, samples, and what it says when memory ends."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from model.training.folder_order import FolderOrder, clip_of
from model.training.memory import StaticMemory, TrainingOutOfMemory, advice, static_memory
from model.training.recipes import Optimisation, Recipe
from model.training.run_files import RunFiles
from model.training.trainer import Trainer, TrainingDiverged, TrainingTask, learning_rate
from model.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Numbers:
    """A batch of points on a line, determined by their seeds."""

    def __init__(self, seeds: list[int]) -> None:
        self.names = tuple(f"clip-{seed}" for seed in seeds)
        self.values = torch.stack([torch.randn(3, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    def to(self, _device: torch.device) -> Numbers:
        """It is on the CPU, and stays there."""
        return self


class NumberSource:
    """Batches of numbers."""

    def request(self, first_seed: int, count: int) -> None:
        """Nothing has to be prepared."""

    def batch(self, seeds: list[int]) -> Numbers:
        """The numbers of these seeds."""
        return Numbers(seeds)


class CentreTask(TrainingTask):
    """Learns the centre of its numbers; `noise` adds random draws to the loss."""

    def __init__(self, *, noise: float = 0.0) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.ones(3))
        self.still = nn.Parameter(torch.full((2,), 7.0), requires_grad=False)
        self.noise = noise

    def forward(self, batch: Numbers) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Squared distance."""
        target = batch.values + self.noise * torch.randn_like(batch.values)
        return (self.centre - target).square().mean(), {"first": batch.values.mean()}

    def components(self) -> Mapping[str, nn.Module]:
        """Nothing to deliver."""
        return {}

    def samples(self, _batch: Numbers) -> Mapping[str, np.ndarray]:
        """Two grey frames."""
        return {"grey": np.full((2, 16, 16, 3), 128, np.uint8)}


class GreedyTask(CentreTask):
    """Asks for more memory than there is."""

    def forward(self, batch: Numbers) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """An allocation of an exabyte."""
        return torch.empty(2**50, len(batch.values)).sum() + self.centre.sum(), {}


class DivergingTask(CentreTask):
    """Its loss is not a number."""

    def forward(self, batch: Numbers) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Not a number once it has seen this clip."""
        loss, told = super().forward(batch)
        return loss * (float("nan") if "clip-21" in batch.names else 1.0), told


def recipe(**changes: object) -> Recipe:
    """Six steps of eight numbers."""
    base = Recipe(
        task="localizer",
        steps=6,
        batch_size=8,
        optimisation=Optimisation(learning_rate=0.05, warmup_steps=1, decay="constant"),
        clips=FolderOrder(),
        log_every=2,
        checkpoint_every=2,
    )
    return replace(base, **changes)


def final_centre(folder: Path) -> torch.Tensor:
    """The newest weights of a run, averaged."""
    return load_file(folder / "weights.safetensors")["centre"]


def test_parts_of_a_batch_learn_what_the_whole_batch_learns(tmp_path: Path) -> None:
    """Three unequal parts give the gradients, and the logged means, of one batch."""
    for name, parts in (("whole", 1), ("parts", 3)):
        Trainer(recipe(accumulation=parts), CentreTask(), store=NumberSource(), folder=tmp_path / name).run()

    torch.testing.assert_close(final_centre(tmp_path / "parts"), final_centre(tmp_path / "whole"), atol=1e-5, rtol=0)
    logs = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts")]
    for whole, parts in zip(*logs, strict=True):
        assert json.loads(parts)["first"] == pytest.approx(json.loads(whole)["first"], abs=2e-5)


@pytest.mark.parametrize("stop_after", [2, 4])
def test_stopped_run_in_parts_ends_like_an_uninterrupted_one(tmp_path: Path, stop_after: int) -> None:
    """Weights, average and optimiser are bit-identical, wherever the run was cut, with draws in every part."""
    asked = recipe(accumulation=3, validate_every=2)
    held_out = [Numbers([100, 101])]

    class Cut(NumberSource):
        calls = 0

        def batch(self, seeds: list[int]) -> Numbers:
            self.calls += 1
            if self.calls > 3 * stop_after:
                raise ConnectionError
            return super().batch(seeds)

    def train(name: str, store: NumberSource) -> None:
        Trainer(asked, CentreTask(noise=1.0), store=store, folder=tmp_path / name, validation=held_out).run()

    train("whole", NumberSource())
    with pytest.raises(ConnectionError):
        train("cut", Cut())
    train("cut", NumberSource())

    for name in ("weights.safetensors", "step-0000006/model.safetensors", "best.safetensors"):
        assert load_file(tmp_path / "whole" / name)["centre"].equal(load_file(tmp_path / "cut" / name)["centre"])
    states = [torch.load(tmp_path / name / "step-0000006" / "optimizer.bin")["state"][0] for name in ("whole", "cut")]
    assert states[0]["exp_avg_sq"].equal(states[1]["exp_avg_sq"])


def test_interrupted_run_saves_and_goes_on(tmp_path: Path) -> None:
    """Ctrl-C lets the step finish, saves, and the same run ends where an uninterrupted one does."""

    class Interrupted(NumberSource):
        calls = 0

        def batch(self, seeds: list[int]) -> Numbers:
            self.calls += 1
            if self.calls == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return super().batch(seeds)

    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe(), CentreTask(noise=1.0), store=Interrupted(), folder=tmp_path / "cut").run()
    saved = [path.name for path in RunFiles(tmp_path / "cut").checkpoints()]
    for name in ("cut", "whole"):
        Trainer(recipe(), CentreTask(noise=1.0), store=NumberSource(), folder=tmp_path / name).run()

    assert saved == ["step-0000002", "step-0000003"]
    assert final_centre(tmp_path / "cut").equal(final_centre(tmp_path / "whole"))


def test_best_weights_are_those_of_the_lowest_held_out_loss(tmp_path: Path) -> None:
    """Steps that lead away from the held-out clips leave the best weights alone."""
    held_out = Numbers([0])
    held_out.values = torch.full((1, 3), 1.0)  # where the centre starts

    Trainer(recipe(validate_every=2), CentreTask(), store=NumberSource(), folder=tmp_path, validation=[held_out]).run()

    assert json.loads((tmp_path / "best.json").read_text()) == {"step": 0, "loss": 0.0}
    assert load_file(tmp_path / "best.safetensors")["centre"].tolist() == [1, 1, 1]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert len(losses) == 4
    assert losses == sorted(losses)


def test_loss_that_is_not_a_number_names_its_clips(tmp_path: Path) -> None:
    """The message has the step, the clips of the part by name, and the last good checkpoint."""
    trainer = Trainer(recipe(accumulation=4), DivergingTask(), store=NumberSource(), folder=tmp_path)

    with pytest.raises(
        TrainingDiverged, match=r"step 2, clips \['clip-20', 'clip-21'\]; last checkpoint: step-0000002"
    ):
        trainer.run()


def test_memory_that_ends_is_told_with_what_would_fit(tmp_path: Path) -> None:
    """The message names settings, not the allocator."""
    trainer = Trainer(recipe(), GreedyTask(), store=NumberSource(), folder=tmp_path)

    with pytest.raises(TrainingOutOfMemory, match=r"8 clips at a time do not fit.*--set accumulation=8"):
        trainer.run()


def test_advice_says_when_no_batch_can_fit() -> None:
    """Weights alone that exceed the device need shards, not smaller batches."""
    memory = StaticMemory(weights=6 * 2**30, gradients=2**30, moments=2 * 2**30, average=0)

    told = advice(recipe(), memory, clips_per_part=1, available=8 * 2**30)

    assert "9.0 GiB of 8.0 GiB: no batch fits" in told
    assert "FSDP" in told


def test_advice_leaves_the_judges_part_whole() -> None:
    """A part is where sync-judge's negatives come from: smaller ones would change what it learns."""
    memory = StaticMemory(weights=2**20, gradients=2**20, moments=2**20, average=0)

    told = advice(replace(recipe(), task="sync-judge"), memory, clips_per_part=8, available=None)

    assert "accumulation" not in told
    assert "accumulation=8" in advice(recipe(), memory, clips_per_part=8, available=None)


def test_static_memory_counts_only_what_is_trained() -> None:
    """Gradients and moments are those of trained parameters; frozen networks count as weights."""
    memory = static_memory(CentreTask(), frozen=(nn.Linear(1, 4),), has_average=True)

    assert (memory.weights, memory.gradients, memory.moments, memory.average) == ((3 + 2 + 8) * 4, 12, 24, 12)


def test_sample_videos_and_events_are_written(tmp_path: Path) -> None:
    """Samples are animated pictures; TensorBoard gets the means and the samples."""
    Trainer(
        recipe(samples_every=6, validate_every=6),
        CentreTask(),
        store=NumberSource(),
        folder=tmp_path,
        validation=[Numbers([0])],
    ).run()

    assert (tmp_path / "samples" / "step-0000006-grey.gif").read_bytes().startswith(b"GIF89a")
    (events,) = (tmp_path / "events").iterdir()
    written = events.read_bytes()
    assert all(tag in written for tag in (b"loss", b"validation_loss", b"samples/grey"))


def test_average_shares_what_is_not_trained() -> None:
    """Frozen weights are neither copied nor averaged; with a decay of 0 nothing is."""
    task = CentreTask()
    average, none = WeightAverage(task, decay=0.9), WeightAverage(task, decay=0)

    assert average.state["still"].data_ptr() == task.still.data_ptr()
    assert average.state["centre"].data_ptr() != task.centre.data_ptr()
    assert none.state["centre"].data_ptr() == task.centre.data_ptr()


def test_swapped_average_leaves_the_weights_as_they_were() -> None:
    """The module has the average inside of the context only."""
    task = CentreTask()
    average = WeightAverage(task, decay=0.9)
    with torch.no_grad():
        task.centre.fill_(3)

    with average.swapped_in(task):
        assert task.centre.tolist() == [1, 1, 1]

    assert task.centre.tolist() == [3, 3, 3]


def test_staircase_and_constant_rates() -> None:
    """The staircase multiplies at its steps; constant stays at the peak after the warm-up."""
    stairs = Optimisation(1.0, warmup_steps=0, decay="staircase", staircase_steps=10, staircase_factor=0.8)
    constant = Optimisation(1.0, warmup_steps=2, decay="constant")

    assert [learning_rate(stairs, step, 100) for step in (0, 9, 10, 25)] == pytest.approx([1, 1, 0.8, 0.64])
    assert [learning_rate(constant, step, 100) for step in (0, 1, 50)] == [0.5, 1, 1]


def test_every_clip_comes_once_an_epoch_in_another_order() -> None:
    """An epoch is a permutation of the folder; the order depends on seed and epoch."""
    epochs = [[clip_of(epoch * 20 + index, num_clips=20, order_seed=3) for index in range(20)] for epoch in range(2)]

    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 2
    assert epochs[0] != epochs[1]
    assert FolderOrder(repeat=3).seeds(9, batch_size=4, order_seed=0) == [0, 1, 2, 0]
