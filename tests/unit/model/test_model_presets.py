"""Presets: how they sample each kind of model, the solver behind them, and how they are judged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from model.clips import AudioClip, ImageFrame
from model.config import keyvid_512, keyvid_mini
from model.diffusion.ddim import ddim_steps
from model.diffusion.denoise import Sampling, denoise
from model.diffusion.guidance import Guidance
from model.diffusion.multistep import MultistepSolver
from model.diffusion.noise import stage_noise
from model.diffusion.schedule import NoiseSchedule, noise_schedule
from model.errors import InvalidParams
from model.evaluation.motion import MotionScore
from model.evaluation.presets import PresetReadings, distance_lost, presets_table, read_presets, sync_lost
from model.evaluation.reading import PlaybackScore, SceneReading, VideoReading
from model.evaluation.scenes import Scene
from model.evaluation.sync import SyncScore
from model.generation import PRESETS, GenerationParams
from model.pipeline import KeyVIDPipeline
from model.presets import stage_sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from model.diffusion.denoise import SolverName

PLAIN = Guidance(text=1.0, image=1.0, audio=1.0)
SPREAD = 2.0  # of the clean latents, drawn from one normal distribution: its denoiser is known exactly


def gaussian(schedule: NoiseSchedule) -> object:
    """Velocity of clean latents `N(0, SPREAD^2)`, shrunk at noisy timesteps as dynamic rescale does."""

    def predict(_: Sequence[str], x: Tensor, timestep: int) -> list[Tensor]:
        at = torch.tensor([timestep])
        signal, spread = schedule.sqrt_alpha_prod[at], schedule.sqrt_one_minus_alpha_prod[at]
        variance = (SPREAD * schedule.clean_scale[at]) ** 2
        clean = signal * variance / (signal**2 * variance + spread**2) * x
        noise = spread / (signal**2 * variance + spread**2) * x
        return [signal * noise - spread * clean]

    return predict


def solve(solver: SolverName, num_steps: int, *, eta: float = 0.0) -> Tensor:
    """Clean latents from one fixed noise."""
    schedule = noise_schedule(dynamic_rescale=True)
    noise = stage_noise(0, "test")
    return denoise(
        gaussian(schedule),  # type: ignore[arg-type]
        noise.normal((1, 4, 3, 16, 16)),
        schedule=schedule,
        sampling=Sampling(num_steps, eta, PLAIN, solver=solver),
        noise=noise,
    )


def test_the_multistep_solver_is_nearer_to_the_exact_solution() -> None:
    """The exact solution keeps each latent's place in its distribution; ten steps of dpm++ come closer than DDIM's."""
    exact = SPREAD * stage_noise(0, "test").normal((1, 4, 3, 16, 16))

    ddim, multistep = ((solve(solver, 10) - exact).abs().mean() for solver in ("ddim", "dpm++"))

    assert multistep < 0.1 * SPREAD
    assert multistep < ddim / 2


def test_the_stochastic_multistep_solver_keeps_the_distribution() -> None:
    """With eta 1 every step draws noise, and the spread of the latents is right."""
    latents = solve("dpm++", 20, eta=1.0)

    assert latents.std().item() == pytest.approx(SPREAD, rel=0.1)
    assert not torch.equal(latents, solve("dpm++", 20))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_every_number_of_steps_ends_at_clean_latents(eta: float) -> None:
    """The solver steps over DDIM's timesteps and no others, and its last step leaves no noise."""
    schedule = noise_schedule(dynamic_rescale=True)

    for num_steps in range(1, 201):
        solver = MultistepSolver(schedule, num_steps, eta=eta)
        timesteps = [step.timestep for step in ddim_steps(schedule, num_steps, eta=eta)]

        assert solver._scheduler.timesteps.tolist() == timesteps
        assert len(solver._scheduler.sigmas) == num_steps + 1
        assert solver._scheduler.sigmas[-1] == 0


@pytest.mark.parametrize("num_steps", [60, 61])
def test_the_last_step_returns_the_clean_latents_that_it_predicts(num_steps: int) -> None:
    """Also for a number of steps whose even spacing rounds badly."""
    schedule = noise_schedule(dynamic_rescale=True)
    solver = MultistepSolver(schedule, num_steps, eta=0.0)
    x = stage_noise(0, "test").normal((1, 4, 3, 16, 16))

    for step in solver.steps:
        x = solver.advance(step, x, gaussian(schedule)([""], x, step.timestep)[0], None)  # type: ignore[operator]

    torch.testing.assert_close(x, solver.memory, rtol=1e-5, atol=1e-5)


def test_guidance_may_end_before_the_last_step() -> None:
    """Outside of the guided steps only the fully conditioned branch is evaluated."""
    evaluated: list[int] = []

    def predict(branches: Sequence[str], x: Tensor, _: int) -> list[Tensor]:
        evaluated.append(len(branches))
        return [0.1 * x] * len(branches)

    denoise(
        predict,
        torch.randn(1, 4, 2, 2, 2),
        schedule=noise_schedule(dynamic_rescale=False),
        sampling=Sampling(5, 0.0, Guidance(text=2.0, image=1.5, audio=3.0), guided=(0.0, 0.6)),
        noise=stage_noise(0, "test"),
    )

    assert evaluated == [4, 4, 4, 1, 1]


@pytest.mark.parametrize("config", [keyvid_mini(), keyvid_512()], ids=["mini", "512"])
def test_presets_go_from_the_models_own_sampling_to_the_fewest_steps(config: object) -> None:
    """`exact` changes nothing, the others take fewer steps each; steps that are asked for go first."""
    steps = [
        [stage_sampling(config, stage, GenerationParams(0, preset=preset)).num_inference_steps for preset in PRESETS]  # type: ignore[arg-type]
        for stage in ("keyframes", "interpolation")
    ]

    for stage, own in (("keyframes", config.keyframes), ("interpolation", config.interpolation)):  # type: ignore[attr-defined]
        params = GenerationParams(0)
        assert stage_sampling(config, stage, params) == own.sampling(params)  # type: ignore[arg-type]
        asked = stage_sampling(config, stage, replace(params, preset="fast", num_inference_steps=3))  # type: ignore[arg-type]
        assert asked.num_inference_steps == 3
    assert all(exact >= balanced > fast for exact, balanced, fast in steps)
    assert sum(exact for exact, _, _ in steps) > sum(balanced for _, balanced, _ in steps)


def test_fast_leaves_the_draft_as_it_is() -> None:
    """Nothing is denoised, progress is told all the same, and the video is the draft's."""
    pipeline = KeyVIDPipeline.from_pretrained("keyvid-mini")
    image = ImageFrame(torch.rand(3, 320, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    audio = AudioClip(torch.randn(1, 32_000, generator=torch.Generator().manual_seed(1)), 16_000)
    told: list[tuple[str, int, int]] = []

    latents = pipeline.generate_latents(
        image,
        audio,
        "wind",
        GenerationParams(seed=1, preset="fast"),
        on_step=lambda progress: told.append((progress.stage, progress.step, progress.total)),
    ).latents

    draft = pipeline.encode(image, audio, "wind").draft
    assert draft is not None
    torch.testing.assert_close(latents, draft, rtol=0, atol=1e-5)
    assert told[2:] == [(stage, step, 1) for stage in ("keyframes", "interpolation") for step in (0, 1)]


def test_unknown_presets_are_refused() -> None:
    """The error names what there is."""
    with pytest.raises(InvalidParams, match="exact, balanced, fast"):
        GenerationParams(0, preset="quick")  # type: ignore[arg-type]


def test_presets_are_read_and_judged() -> None:
    """Every preset has a row with its time and what it loses; nothing is lost by `exact`."""
    pipeline = KeyVIDPipeline.from_pretrained("keyvid-mini")
    samples = torch.zeros(1, 32_000)
    samples[:, 8_000::12_000] = 0.9
    picture = ImageFrame(torch.rand(3, 320, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    truth = torch.randn(1, 4, 48, 10, 16, generator=torch.Generator().manual_seed(1))
    scene = Scene("one", "impact", picture, AudioClip(samples, 16_000), "hammering", (0.5, 1.25), truth)

    readings = read_presets(pipeline, [scene])

    assert (sync_lost(readings, "exact"), distance_lost(readings, "exact")) == (0.0, 0.0)
    table = presets_table(readings)
    assert [name for name, _ in table.rows] == list(PRESETS)
    assert table.rows[0][1][-1] == "yes"


def test_a_preset_that_loses_too_much_is_not_balanced() -> None:
    """Half the events missed is more than a point of sync, whatever the time."""

    def video(matched: int) -> VideoReading:
        sync = SyncScore(matched, matched, 2, (0.0,) * matched)
        motion = MotionScore(0.2, 0.8, 0.8, 1.0, 0.4, 2.0, 0.1)
        return VideoReading(motion=motion, onset=0.4, playback=PlaybackScore(sync, sync, 0.8), judged=None)

    videos = {"exact": video(2), "balanced": video(1), "fast": video(2)}
    scene = SceneReading("one", "impact", (0.5, 1.5), 1.0, videos)
    readings = PresetReadings([scene], {preset: [1.0] for preset in PRESETS})

    assert sync_lost(readings, "balanced") > 30
    verdicts = {name: cells[-1] for name, cells in presets_table(readings).rows}
    assert verdicts == {"exact": "yes", "balanced": "no", "fast": "yes"}
