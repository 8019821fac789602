"""Laws of schedule, sampler, guidance and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from model.diffusion.ddim import ddim_steps, trailing_timesteps
from model.diffusion.denoise import DenoiseHooks, PinnedFrames, Sampling, denoise
from model.diffusion.guidance import BRANCHES, Branch, Guidance
from model.diffusion.noise import stage_noise
from model.diffusion.schedule import noise_schedule
from model.errors import NonFiniteLatents

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN = Guidance(text=1.0, image=1.0, audio=1.0)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 90, 199, 200])
def test_timesteps_end_at_pure_noise(num_steps: int) -> None:
    """Every count gives that many different timesteps within range, the last of them 999."""
    timesteps = trailing_timesteps(num_steps)

    assert len(set(timesteps)) == num_steps
    assert list(timesteps) == sorted(timesteps)
    assert timesteps[0] >= 0
    assert timesteps[-1] == 999


def test_signal_falls_from_nearly_all_to_nothing() -> None:
    """Alpha-bar is strictly decreasing and ends at zero."""
    alpha = noise_schedule(dynamic_rescale=False).alpha_prod

    assert (alpha.diff() < 0).all()
    assert alpha[0] > 0.999
    assert alpha[-1] == 0


def test_clean_and_noise_come_back_from_the_velocity() -> None:
    """Velocity, noisy latent and timestep determine clean latent and noise."""
    schedule = noise_schedule(dynamic_rescale=False)
    clean, noise = torch.randn(2, 3, 4, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([10, 500, 999])

    noisy = schedule.add_noise(clean, noise, timesteps)
    velocity = schedule.velocity(clean, noise, timesteps)

    torch.testing.assert_close(schedule.clean_from_velocity(noisy, velocity, timesteps), clean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(schedule.noise_from_velocity(noisy, velocity, timesteps), noise, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [1, 5, 25])
def test_a_perfect_network_reaches_the_clean_latent(eta: float, num_steps: int) -> None:
    """A predictor that knows the clean latent leads to it from any noise, up to the schedule's last trace of noise."""
    schedule = noise_schedule(dynamic_rescale=False)
    clean = torch.full((1, 4, 3, 2, 2), 0.5)
    noise = stage_noise(3, "test")

    def oracle(_: Sequence[Branch], x: torch.Tensor, timestep: int) -> list[torch.Tensor]:
        at = torch.tensor([timestep])
        signal, spread = schedule.sqrt_alpha_prod[at], schedule.sqrt_one_minus_alpha_prod[at]
        return [schedule.velocity(clean, (x - signal * clean) / spread, at)]

    latents = denoise(
        oracle,
        noise.normal(clean.shape),
        schedule=schedule,
        sampling=Sampling(num_steps, eta, PLAIN),
        noise=noise,
    )

    assert (latents - clean).abs().max() < 0.15  # the last alpha-bar is 0.999: sqrt(1 - alpha-bar) is 0.03


def test_guidance_with_every_scale_1_is_the_plain_prediction() -> None:
    """Only the fully conditioned branch is evaluated, and returned as it is."""
    prediction = torch.randn(1, 4, 2, 2, 2)

    assert PLAIN.branches() == ("full",)
    assert PLAIN.combine({"full": prediction}) is prediction


def test_branches_without_weight_are_not_evaluated() -> None:
    """Leaving out what has no weight changes nothing."""
    guidance = Guidance(text=1.0, image=1.0, audio=2.0)
    predictions = {branch: torch.randn(1, 4, 2, 2, 2) for branch in BRANCHES}

    needed = {branch: predictions[branch] for branch in guidance.branches()}

    assert guidance.branches() == ("image_text", "full")
    torch.testing.assert_close(guidance.combine(needed), guidance.combine(predictions))


def test_guidance_follows_appendix_h() -> None:
    """Weights are those of the nested differences, and sum to one."""
    guidance = Guidance(text=7.5, image=2.0, audio=9.0)
    m1, m2, m3, m4 = (torch.randn(1, 4, 2, 2, 2) for _ in BRANCHES)

    combined = guidance.combine({"uncond": m1, "image": m2, "image_text": m3, "full": m4})

    expected = m1 + 2.0 * (m2 - m1) + 7.5 * (m3 - m2) + 9.0 * (m4 - m3)
    torch.testing.assert_close(combined, expected, atol=1e-4, rtol=1e-4)
    assert sum(guidance.coefficients().values()) == pytest.approx(1.0)


def test_full_rescale_restores_the_spread() -> None:
    """With rescale 1 the guided prediction varies as much as the fully conditioned one."""
    guidance = Guidance(text=7.5, image=2.0, audio=7.5, rescale=1.0)
    predictions = {branch: torch.randn(2, 4, 3, 4, 4) for branch in BRANCHES}

    combined = guidance.combine(predictions)

    torch.testing.assert_close(combined.std(dim=(1, 2, 3, 4)), predictions["full"].std(dim=(1, 2, 3, 4)))


def test_stages_draw_their_own_noise() -> None:
    """The same seed and stage repeat; another seed or stage differs."""
    shape = (2, 3)

    first = stage_noise(5, "keyframes").normal(shape)

    assert torch.equal(first, stage_noise(5, "keyframes").normal(shape))
    assert not torch.equal(first, stage_noise(6, "keyframes").normal(shape))
    assert not torch.equal(first, stage_noise(5, "interpolation").normal(shape))


def test_nothing_is_drawn_without_eta() -> None:
    """A deterministic run leaves the noise source untouched, unless frames are pinned."""
    draws: list[tuple[int, ...]] = []

    class Counting:
        def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
            draws.append(tuple(shape))
            return torch.zeros(shape)

    x = torch.randn(1, 4, 3, 2, 2)
    sampling = Sampling(4, 0.0, PLAIN)
    schedule = noise_schedule(dynamic_rescale=True)

    denoise(lambda _, x, __: [0.1 * x], x, schedule=schedule, sampling=sampling, noise=Counting())
    assert draws == []
    pinned = PinnedFrames(torch.zeros(1, 4, 1, 2, 2), (1,))
    denoise(lambda _, x, __: [0.1 * x], x, schedule=schedule, sampling=sampling, noise=Counting(), pinned=pinned)
    assert draws == [tuple(x.shape)]


@pytest.mark.parametrize(("guidance_batch", "evaluations"), [(4, 1), (2, 2), (1, 3)])
def test_hooks_see_every_step_and_evaluation(guidance_batch: int, evaluations: int) -> None:
    """Steps count from 0 to the total, and the check runs before each evaluation of some branches."""
    steps: list[tuple[int, int]] = []
    checks: list[int] = []
    hooks = DenoiseHooks(on_step=lambda done, total: steps.append((done, total)), check=lambda: checks.append(1))

    denoise(
        lambda branches, x, _: [x] * len(branches),
        torch.randn(1, 4, 2, 2, 2),
        schedule=noise_schedule(dynamic_rescale=False),
        sampling=Sampling(3, 0.0, Guidance(text=2.0, image=1.0, audio=3.0)),
        noise=stage_noise(0, "test"),
        hooks=hooks,
        guidance_batch=guidance_batch,
    )

    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert len(checks) == 3 * evaluations


def test_broken_predictions_are_noticed() -> None:
    """A prediction that is not finite ends the run."""
    with pytest.raises(NonFiniteLatents):
        denoise(
            lambda _, x, __: [x * float("nan")],
            torch.randn(1, 4, 2, 2, 2),
            schedule=noise_schedule(dynamic_rescale=False),
            sampling=Sampling(2, 0.0, PLAIN),
            noise=stage_noise(0, "test"),
        )


def test_noise_per_step_shrinks_with_eta() -> None:
    """Sigma is proportional to eta and zero for DDIM proper."""
    schedule = noise_schedule(dynamic_rescale=True)

    full, half, none = (ddim_steps(schedule, 10, eta=eta) for eta in (1.0, 0.5, 0.0))

    assert [step.sigma for step in none] == [0.0] * 10
    assert [step.sigma / 2 for step in full] == pytest.approx([step.sigma for step in half])
