"""Training repeats itself exactly, resumes exactly, and stops loudly when it diverges."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from model.config import keyvid_mini
from model.training.clip_store import ClipBatch, ClipSchedule
from model.training.diffusion_task import DiffusionTask
from model.training.losses import curve_loss, denoising_error, motion_error, normalized_curve, relative_error
from model.training.procedural.catalogue import KINDS
from model.training.recipes import RECIPES, Optimisation, Recipe
from model.training.tasks import DraftTask, LocalizerTask, drop_prompts, mask_frequencies
from model.training.trainer import Trainer, TrainingDiverged, TrainingTask, learning_rate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class RandomClips:
    """Clips of noise, each determined by its seed."""

    def request(self, first_seed: int, count: int) -> None:
        """Nothing has to be prepared."""

    def batch(self, seeds: list[int]) -> ClipBatch:
        """One clip of noise for each seed."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]

        def draw(*shape: int) -> torch.Tensor:
            return torch.stack([torch.randn(shape, generator=generator) for generator in generators])

        latents = draw(4, 48, 10, 16) * 0.3
        return ClipBatch(
            seeds=tuple(seeds),
            prompts=("hammer",) * len(seeds),
            image=draw(3, 80, 128).clamp(-1, 1),
            mel=draw(1, 128, 204),
            latents=latents - latents[:, :, :1],
            face=torch.zeros(len(seeds), 4),
            motion=draw(48).abs(),
            kind=torch.tensor([seed % len(KINDS) for seed in seeds]),
        )


class MeanTask(TrainingTask):
    """Learns the mean motion, with a random draw in its loss so that the order of draws matters."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(48))

    def forward(self, batch: ClipBatch) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Squared distance to the noisy motion."""
        return (self.mean - batch.motion - torch.randn(48)).square().mean(), {}

    def components(self) -> Mapping[str, nn.Module]:
        """Nothing to deliver."""
        return {}


class DivergingTask(MeanTask):
    """Its loss is not a number."""

    def forward(self, batch: ClipBatch) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Not a number."""
        return (self.mean.sum() + batch.motion.sum()) * float("nan"), {}


def short_recipe(steps: int = 6) -> Recipe:
    """Six steps on a handful of clips."""
    return Recipe(
        task="localizer",
        steps=steps,
        batch_size=4,
        optimisation=Optimisation(learning_rate=0.01, warmup_steps=2),
        clips=ClipSchedule(first_seed=0, num_clips=64, ready=16, per_step=4),
        log_every=2,
        checkpoint_every=3,
    )


def test_stopped_run_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    """Weights and their average are bit-identical whether a run was cut in the middle or not."""
    Trainer(short_recipe(), MeanTask(), store=RandomClips(), folder=tmp_path / "whole").run()

    class CutAfterThree(RandomClips):
        calls = 0

        def batch(self, seeds: list[int]) -> ClipBatch:
            self.calls += 1
            if self.calls > 3:
                raise ConnectionError
            return super().batch(seeds)

    with pytest.raises(ConnectionError):
        Trainer(short_recipe(), MeanTask(), store=CutAfterThree(), folder=tmp_path / "cut").run()
    Trainer(short_recipe(), MeanTask(), store=RandomClips(), folder=tmp_path / "cut").run()

    for name in ("weights.safetensors", "step-0000006/model.safetensors"):
        whole, cut = load_file(tmp_path / "whole" / name), load_file(tmp_path / "cut" / name)
        assert torch.equal(whole["mean"], cut["mean"])


def test_run_logs_its_losses(tmp_path: Path) -> None:
    """Every logged step is a line of JSON."""
    Trainer(short_recipe(), MeanTask(), store=RandomClips(), folder=tmp_path).run()

    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]

    assert [row["step"] for row in rows] == [2, 4, 6]
    assert all(row["loss"] > 0 for row in rows)


def test_loss_that_is_not_a_number_stops_the_run(tmp_path: Path) -> None:
    """The message names the step, the clips and the last checkpoint."""
    with pytest.raises(TrainingDiverged, match=r"step 0, clips \[.*last checkpoint: none"):
        Trainer(short_recipe(), DivergingTask(), store=RandomClips(), folder=tmp_path).run()


def test_clips_become_available_with_the_steps() -> None:
    """A batch is drawn without repetition from what its step may see, the same each time."""
    schedule = ClipSchedule(first_seed=512, num_clips=40, ready=16, per_step=4)

    early = schedule.seeds(0, batch_size=16, order_seed=1)

    assert sorted(early) == list(range(512, 528))
    assert early == schedule.seeds(0, batch_size=16, order_seed=1)
    assert schedule.available(100) == 40


def test_learning_rate_warms_up_and_decays() -> None:
    """The peak follows the warm-up, the end is a hundredth of it."""
    optimisation = Optimisation(learning_rate=1.0, warmup_steps=10)
    rates = [learning_rate(optimisation, step, 100) for step in range(101)]

    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.01)


def test_no_motion_scores_nearly_one() -> None:
    """Relative errors: 0 for the truth, just under 1 for a still draft, twice that with the velocity."""
    target = RandomClips().batch([1, 2]).latents

    assert relative_error(target, target).tolist() == [0, 0]
    assert all(0.7 < error < 1 for error in relative_error(torch.zeros_like(target), target).tolist())
    assert all(1.5 < error < 2 for error in motion_error(torch.zeros_like(target), target).tolist())


def test_an_error_that_flickers_costs_more_than_one_that_stays() -> None:
    """Where frames are neighbours, velocities count; where they are not, only positions do."""
    target = torch.zeros(1, 4, 12, 2, 2)
    stays = torch.full_like(target, 0.1)
    flickers = stays * (-1.0) ** torch.arange(12).view(1, 1, 12, 1, 1)
    energy = torch.tensor([0.1])

    assert denoising_error(flickers, target, clip_energy=energy) == denoising_error(stays, target, clip_energy=energy)
    assert denoising_error(stays, target, clip_energy=energy, velocity_energy=energy) == denoising_error(
        stays, target, clip_energy=energy
    )
    assert denoising_error(flickers, target, clip_energy=energy, velocity_energy=energy) > 2 * denoising_error(
        stays, target, clip_energy=energy
    )


def test_curve_loss_compares_with_the_normalised_curve() -> None:
    """The scale of the motion does not matter; clips without motion are all zeros."""
    motion = torch.rand(2, 48)
    motion[1] = 0

    assert curve_loss(normalized_curve(motion), 7 * motion).item() == pytest.approx(0, abs=1e-4)
    assert normalized_curve(motion)[1].count_nonzero() == 0


def test_masks_hide_whole_bands() -> None:
    """Masked bins are constant over time; at most 32 of 128 are masked."""
    mel = torch.randn(8, 1, 128, 204)

    constant = mask_frequencies(mel).std(dim=-1)[:, 0] < 1e-6

    assert 0 < constant.sum(dim=1).max() <= 32


def test_prompts_are_dropped_at_their_rate() -> None:
    """No prompt is dropped at 0, all at 1."""
    assert drop_prompts(("a", "b"), 0.0) == ("a", "b")
    assert drop_prompts(("a", "b"), 1.0) == ("", "")


def test_every_mini_recipe_learns_one_batch(tmp_path: Path) -> None:
    """Localizer, draft and diffusion of keyvid-mini all lower their loss on a few clips."""
    config = keyvid_mini()
    tasks = {
        "mini-localizer": LocalizerTask(config.localizer),
        "mini-draft": DraftTask(config),
        "mini-diffusion": DiffusionTask(config, DraftTask(config)),
    }
    for name, task in tasks.items():
        recipe = replace(
            RECIPES[name](), steps=8, batch_size=4, log_every=1, clips=ClipSchedule(0, num_clips=4, ready=4, per_step=0)
        )
        gentle = replace(recipe.optimisation, learning_rate=3e-4, warmup_steps=2)
        recipe = replace(recipe, optimisation=gentle)
        before = _loss_of_one_draw(task)

        Trainer(recipe, task, store=RandomClips(), folder=tmp_path / name).run()

        assert _loss_of_one_draw(task) < before, name


def _loss_of_one_draw(task: TrainingTask) -> float:
    """Loss of the four clips with the same noise, timesteps and dropped conditions every time."""
    torch.manual_seed(11)
    with torch.no_grad():
        loss, _ = task(RandomClips().batch([0, 1, 2, 3]))
    return float(loss)


def test_diffusion_delivers_both_stages_and_leaves_the_draft_alone() -> None:
    """The draft's weights are neither trained nor stored again."""
    config = keyvid_mini()
    draft = DraftTask(config)
    task = DiffusionTask(config, draft)

    loss, _ = task(RandomClips().batch([0, 1, 2]))
    loss.backward()

    assert set(task.components()) == {"keyframes_unet", "interpolation_unet", "resampler"}
    assert all(parameter.grad is None for parameter in draft.parameters())
    assert not any(name.startswith("_frozen") or "draft" in name for name in task.state_dict())
