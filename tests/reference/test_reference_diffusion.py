"""Numbers of the published diffusion process, reproduced."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.diffusion.ddim import ddim_steps
from model.diffusion.denoise import PinnedFrames, Sampling, denoise
from model.diffusion.guidance import Branch, Guidance
from model.diffusion.schedule import noise_schedule, zero_terminal_betas
from model.interpolation.freenoise import blend_between_keyframes, reschedule

DATA = Path(__file__).parent / "data"
BIAS: dict[Branch, float] = {"uncond": -0.5, "image": 0.1, "image_text": 0.4, "full": 0.9}


class StoredNoise:
    """Hands out stored draws in order."""

    def __init__(self, draws: torch.Tensor) -> None:
        self._draws = iter(draws)

    def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the next stored draw."""
        draw = next(self._draws)
        assert draw.shape == tuple(shape)
        return draw


def analytic_model(branch: Branch, x: torch.Tensor, timestep: int) -> torch.Tensor:
    """Stand in for the network with a formula that every branch and timestep changes."""
    time = torch.cos(torch.tensor(3 * timestep / 1000))
    return 0.6 * x + 0.3 * torch.tanh(2 * x + BIAS[branch]) + 0.2 * time


def test_schedule_equals_the_published_buffers() -> None:
    """Betas in float64 and the rounded coefficients agree to 1e-7."""
    golden = load_file(DATA / "d_schedule.safetensors")

    schedule = noise_schedule(dynamic_rescale=True)

    for name, values in {
        "betas_f64": zero_terminal_betas(),
        "buffer.alphas_cumprod": schedule.alpha_prod,
        "buffer.sqrt_alphas_cumprod": schedule.sqrt_alpha_prod,
        "buffer.sqrt_one_minus_alphas_cumprod": schedule.sqrt_one_minus_alpha_prod,
    }.items():
        torch.testing.assert_close(values, golden[name], atol=1e-7, rtol=0, msg=name)
    torch.testing.assert_close(schedule.clean_scale, golden["buffer.scale_arr"][:1000], atol=1e-7, rtol=0)


@pytest.mark.parametrize("num_steps", [90, 50, 25, 10])
def test_ddim_steps_equal_the_published_ones(num_steps: int) -> None:
    """Visited timesteps, alphas, sigmas and rescale factors agree for four step counts."""
    golden = {
        key.split(".")[1]: value.double().flip(0)
        for key, value in load_file(DATA / "d_schedule.safetensors").items()
        if key.startswith(f"ddim{num_steps}.")
    }

    steps = ddim_steps(noise_schedule(dynamic_rescale=True), num_steps, eta=1.0)

    def column(name: str) -> torch.Tensor:
        return torch.tensor([getattr(step, name) for step in steps], dtype=torch.float64)

    assert column("timestep").tolist() == golden["timesteps"].tolist()
    torch.testing.assert_close(column("alpha_prod"), golden["alphas"], atol=1e-7, rtol=0)
    torch.testing.assert_close(column("alpha_prod_previous"), golden["alphas_prev"], atol=1e-7, rtol=0)
    torch.testing.assert_close(column("sigma"), golden["sigmas_eta1"], atol=1e-6, rtol=0)
    torch.testing.assert_close(column("rescale"), golden["scale_arr_prev"] / golden["scale_arr"], atol=1e-6, rtol=0)


def test_training_target_equals_the_published_one() -> None:
    """Dynamic rescale, noising and the velocity target agree."""
    golden = load_file(DATA / "d2_training_target.safetensors")
    schedule = noise_schedule(dynamic_rescale=True)
    timesteps, noise = golden["t"], golden["noise"]

    clean = schedule.rescale_clean(golden["x_start"], timesteps)

    torch.testing.assert_close(clean, golden["x_start_scaled"], atol=1e-6, rtol=0)
    torch.testing.assert_close(schedule.add_noise(clean, noise, timesteps), golden["x_noisy"], atol=1e-6, rtol=0)
    torch.testing.assert_close(schedule.velocity(clean, noise, timesteps), golden["v_target"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("case", "eta", "audio", "tolerance"),
    [
        ("e1_ddim_eta1", 1.0, 7.5, 1e-5),
        ("e2_ddim_eta0", 0.0, 7.5, 1e-5),
        # The first of 50 steps has a coefficient of sqrt(6e-8) in the reference's float32 and 0 in exact arithmetic.
        ("e3_ddim_eta1_50steps", 1.0, 9.0, 2e-3),
        ("e4_ddim_keyframe_replace", 1.0, 9.0, 1e-5),
    ],
)
def test_sampler_follows_the_published_trajectory(case: str, eta: float, audio: float, tolerance: float) -> None:
    """Guidance, rescale, DDIM and the pinning of keyframes reach the stored latents with the stored noise."""
    golden = load_file(DATA / f"{case}.safetensors")
    pinned = (
        PinnedFrames(golden["x_keyframe"], tuple(golden["keyframe_idx"].tolist())) if "x_keyframe" in golden else None
    )

    latents = denoise(
        analytic_model,
        golden["x_T"],
        schedule=noise_schedule(dynamic_rescale=True),
        sampling=Sampling(len(golden["timesteps"]), eta, Guidance(text=7.5, image=2.0, audio=audio, rescale=0.7)),
        noise=StoredNoise(golden["noises"]),
        pinned=pinned,
    )

    torch.testing.assert_close(latents, golden["output"], atol=tolerance, rtol=0)


def test_released_initial_noise_is_blended_between_keyframes() -> None:
    """The released stage mixes the keyframes' noises, with the weights the wrong way round."""
    golden = load_file(DATA / "f1_stage2_initial_noise.safetensors")

    blended = blend_between_keyframes(golden["noise"], golden["keyframe_idx"].tolist())

    torch.testing.assert_close(blended, golden["released_x_T"], atol=1e-6, rtol=0)


def test_freenoise_reuses_shuffled_frames() -> None:
    """Each block of six frames repeats the six frames twelve before, in the stored order."""
    golden = load_file(DATA / "f1_stage2_initial_noise.safetensors")
    starts = torch.arange(0, 36, 6)[:, None]

    rescheduled = reschedule(golden["noise"], golden["freenoise_permutations"] - starts)

    assert torch.equal(rescheduled, golden["freenoise_shuffled"])
