"""Cases of the diffusion process: schedule, training target, sampler, initial noise, audio tokens."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from model.audio_context import released_groups, split_into_segments
from model.conditioning import AudioTokens
from model.diffusion.ddim import ddim_steps
from model.diffusion.denoise import PinnedFrames, Sampling, denoise
from model.diffusion.guidance import Branch, Guidance
from model.diffusion.schedule import NoiseSchedule, noise_schedule, zero_terminal_betas
from model.evaluation.parity.case import Case, Comparison, absolute, exact
from model.interpolation.freenoise import blend_between_keyframes, reschedule
from model.networks.embeddings import sinusoidal_embedding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_EMBEDDING_TOLERANCE = 2e-7  # three float32 steps below 1
# The stand-in network's offset in each branch.
_BIAS: dict[Branch, float] = {"uncond": -0.5, "image": 0.1, "image_text": 0.4, "full": 0.9}


class StoredNoise:
    """Hands out stored draws in order."""

    def __init__(self, draws: Iterable[Tensor]) -> None:
        self._draws = iter(draws)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return the next draw, of `shape`."""
        return next(self._draws).reshape(tuple(shape))


def check_schedule(case: Case) -> list[Comparison]:
    """Betas and every buffer of the published schedule, the visited timesteps of DDIM, and time embeddings."""
    schedule = noise_schedule(dynamic_rescale=True)
    tolerance = case.tolerance(1e-7)
    computed = {
        "betas_before_rescale_f64": torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2,
        "betas_f64": zero_terminal_betas(),
        "alphas_cumprod_f64": torch.cumprod(1.0 - zero_terminal_betas(), dim=0),
        **{f"buffer.{name}": values for name, values in _buffers(schedule).items()},
    }
    for count in sorted({int(name) for name in re.findall(r"ddim(\d+)\.", "\n".join(case.tensors))}):
        computed |= {f"ddim{count}.{name}": values for name, values in _ddim_columns(schedule, count).items()}
    times = case["timestep_embedding.t"]
    # Processors round frequencies either way, which turns an angle by t float32 steps: errors count per unit of t.
    per_time = times.clamp(min=1).float()[:, None]
    for name in case.names("timestep_embedding.dim"):
        width = int(name.removeprefix("timestep_embedding.dim"))
        computed[name] = sinusoidal_embedding(times, width)
    stored = [name for name in case.tensors if name != "timestep_embedding.t"]
    return [
        absolute(name, computed[name] / per_time, case[name] / per_time, tolerance=_EMBEDDING_TOLERANCE)
        if name.startswith("timestep_embedding")
        else absolute(name, computed[name], case[name], tolerance=_schedule_tolerance(name, tolerance))
        for name in stored
    ]


def _schedule_tolerance(name: str, tolerance: float) -> float:
    return max(tolerance, 5e-6) if "log" in name else tolerance  # down to -46, where float32 resolves 4e-6


def _buffers(schedule: NoiseSchedule) -> dict[str, Tensor]:
    """Buffers of the published module; DDPM eq. 6 and 7 for the posterior."""
    betas = zero_terminal_betas()
    alpha_prod = torch.cumprod(1.0 - betas, dim=0)
    previous = torch.cat([torch.ones(1, dtype=torch.float64), alpha_prod[:-1]])
    variance = betas * (1.0 - previous) / (1.0 - alpha_prod)
    tail = schedule.clean_scale[-1].expand(400)
    return {
        "betas": betas,
        "alphas_cumprod": schedule.alpha_prod,
        "alphas_cumprod_prev": previous,
        "sqrt_alphas_cumprod": schedule.sqrt_alpha_prod,
        "sqrt_one_minus_alphas_cumprod": schedule.sqrt_one_minus_alpha_prod,
        "log_one_minus_alphas_cumprod": torch.log(1.0 - alpha_prod),
        # A velocity model never divides by the signal: the release stores zeros.
        "sqrt_recip_alphas_cumprod": torch.zeros(1000),
        "sqrt_recipm1_alphas_cumprod": torch.zeros(1000),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": torch.log(variance.clamp(min=1e-20)),
        "posterior_mean_coef1": betas * previous.sqrt() / (1.0 - alpha_prod),
        "posterior_mean_coef2": (1.0 - previous) * (1.0 - betas).sqrt() / (1.0 - alpha_prod),
        # The release lists 400 entries too many, all of the last value.
        "scale_arr": torch.cat([schedule.clean_scale, tail]),
    }


def _ddim_columns(schedule: NoiseSchedule, count: int) -> dict[str, Tensor]:
    """Coefficients of the visited timesteps in ascending order."""
    steps = ddim_steps(schedule, count, eta=1.0)[::-1]
    timesteps = torch.tensor([step.timestep for step in steps])
    scale = schedule.clean_scale[timesteps]
    return {
        "timesteps": timesteps,
        "alphas": schedule.alpha_prod[timesteps],
        "alphas_prev": torch.tensor([step.alpha_prod_previous for step in steps]),
        "sigmas_eta1": torch.tensor([step.sigma for step in steps], dtype=torch.float64),
        "sqrt_one_minus_alphas": schedule.sqrt_one_minus_alpha_prod[timesteps],
        "scale_arr": scale,
        "scale_arr_prev": torch.tensor([step.rescale for step in steps]) * scale,
    }


def check_training_target(case: Case) -> list[Comparison]:
    """Dynamic rescale, noising and the velocity target."""
    schedule, tolerance = noise_schedule(dynamic_rescale=True), case.tolerance(1e-6)
    timesteps, noise = case["t"], case["noise"]
    clean = schedule.rescale_clean(case["x_start"], timesteps)
    computed = {
        "x_start_scaled": clean,
        "x_noisy": schedule.add_noise(clean, noise, timesteps),
        "v_target": schedule.velocity(clean, noise, timesteps),
    }
    return [absolute(name, values, case[name], tolerance=tolerance) for name, values in computed.items()]


def analytic_velocity(branch: Branch, x: Tensor, timestep: int) -> Tensor:
    """Stand in for the network with a formula that every branch and timestep changes."""
    time = torch.cos(torch.tensor(3 * timestep / 1000))
    return 0.6 * x + 0.3 * torch.tanh(2 * x + _BIAS[branch]) + 0.2 * time


def check_ddim(case: Case) -> list[Comparison]:
    """Guidance, rescale, DDIM and the pinning of keyframes: every latent and clean estimate on the way."""
    schedule, tolerance = noise_schedule(dynamic_rescale=True), case.tolerance(1e-5)
    settings = case.settings
    guidance = Guidance(**settings["guidance"])
    sampling = Sampling(int(settings["num_inference_steps"]), float(settings["eta"]), guidance)
    seen: list[Tensor] = []

    def predict(branches: Sequence[Branch], x: Tensor, timestep: int) -> list[Tensor]:
        seen.append(x)
        return [analytic_velocity(branch, x, timestep) for branch in branches]

    pinned = (
        PinnedFrames(case["x_keyframe"], tuple(case["keyframe_idx"].flatten().tolist()))
        if settings["keyframe_replacement"]
        else None
    )
    output = denoise(
        predict,
        case["x_T"],
        schedule=schedule,
        sampling=sampling,
        noise=StoredNoise(case["noises"]),
        pinned=pinned,
    )
    steps = ddim_steps(schedule, sampling.num_inference_steps, eta=sampling.eta)
    clean = []
    # From the stored latents: guidance would amplify the rounding of the steps before.
    for step, x in zip(steps, [case["x_T"], *case["x_steps"][:-1]], strict=True):
        velocity = guidance.combine({b: analytic_velocity(b, x, step.timestep) for b in guidance.branches()})
        timesteps = torch.full((len(x),), step.timestep)
        clean.append(schedule.clean_from_velocity(x, velocity, timesteps) * step.rescale)
    return [
        exact("timesteps", [step.timestep for step in reversed(steps)], case["timesteps"]),
        absolute("x_steps", torch.stack([*seen[1:], output]), case["x_steps"], tolerance=tolerance),
        absolute("pred_x0_steps", torch.stack(clean), case["pred_x0_steps"], tolerance=tolerance),
        absolute("output", output, case["output"], tolerance=tolerance),
    ]


def check_initial_noise(case: Case) -> list[Comparison]:
    """The released blend between keyframes, and FreeNoise's shuffled frames with the stored seed."""
    window, stride = int(case.settings["window"]), int(case.settings["stride"])
    starts = torch.arange(0, case["noise"].shape[2] - window, stride)
    # The release shuffles with Python's own generator, each block in turn.
    generator = random.Random(int(case.settings["python_seed"]))
    permutations = []
    for start in starts.tolist():
        frames = list(range(start, start + stride))
        generator.shuffle(frames)
        permutations.append(frames)
    sources = torch.tensor(permutations)
    blended = blend_between_keyframes(case["noise"], case["keyframe_idx"].flatten().tolist())
    return [
        exact("freenoise_permutations", sources, case["freenoise_permutations"]),
        exact("freenoise_shuffled", reschedule(case["noise"], sources - starts[:, None]), case["freenoise_shuffled"]),
        # The weights are rounded before or after they meet: the last bit of a value up to 4.
        absolute("released_x_T", blended, case["released_x_T"], tolerance=max(case.tolerance(0.0), 5e-7)),
    ]


def check_audio_tokens(case: Case) -> list[Comparison]:
    """Which of the trunk's tokens each frame gets: tokens whose only channel is their own position show it."""
    split = case["split_token_index"]
    num_frames, rows = split.shape[0], split.shape[1] - 1
    grid = (rows, int(split.max()) // rows)
    tokens = index_tokens(*grid)
    released = AudioTokens(tokens, grid, "released", num_frames)
    groups = released_groups(tokens, grid=grid, num_frames=num_frames)[0, :, :, 0]
    stretched = released.at_all_frames()[0, :, :, 0]
    matrix = case[case.names("stage2_interp_matrix")[0]]
    tolerance = case.tolerance(2e-3)
    comparisons = [
        exact("split_token_index", split_into_segments(tokens, grid=grid, num_segments=num_frames)[0, ..., 0], split),
        exact("stage1_all48_token_index", _indices(released, [range(num_frames)]), case["stage1_all48_token_index"]),
        exact(
            "stage1_selected_token_index",
            _indices(released, case["stage1_keyframe_idx"].tolist()),
            case["stage1_selected_token_index"],
        ),
        absolute("stage2_matrix", stretched, matrix @ groups, tolerance=tolerance),
        absolute("stage2_index", stretched, case["stage2_expanded_token_index_interp"], tolerance=tolerance),
    ]
    return [*comparisons, *(_split_mask(name, case[name]) for name in case.names("auto_split_mask."))]


def index_tokens(rows: int, columns: int) -> Tensor:
    """Trunk tokens `[1, 1 + rows * columns, 1]` whose only channel is their own position."""
    return torch.arange(1 + rows * columns, dtype=torch.float32).view(1, -1, 1)


def _indices(tokens: AudioTokens, frames: Sequence[Sequence[int]]) -> Tensor:
    return tokens.at_frames(frames)[0, :, :, 0]


def _split_mask(name: str, expected: Tensor) -> Comparison:
    """Which columns each segment covers, `[segments, columns]`."""
    segments, columns = expected.shape
    picked = split_into_segments(index_tokens(1, columns), grid=(1, columns), num_segments=segments)[0, :, 1:, 0]
    mask = np.zeros(expected.shape)
    np.put_along_axis(mask, picked.long().numpy() - 1, 1, axis=1)
    return exact(name, torch.from_numpy(mask), expected)
