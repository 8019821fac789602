"""The motion interpolator: keyframes and sound to the latents of all frames (KeyVID sec. 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.diffusion.denoise import DenoiseHooks, PinnedFrames, Sampling, denoise
from model.diffusion.guidance import BRANCHES
from model.interpolation.freenoise import (
    STRIDE_FRAMES,
    WINDOW_FRAMES,
    blend_between_keyframes,
    draw_permutations,
    reschedule,
)
from model.residual import bend_through, channel_scale, place_keyframes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from model.conditioning import Conditioning
    from model.config import StageConfig
    from model.diffusion.noise import Noise
    from model.generation import InterpolationMode
    from model.networks.unet import UNet


def interpolate(
    unet: UNet,
    conditioning: Conditioning,
    keyframes: Tensor,
    indices: Sequence[int],
    *,
    stage: StageConfig,
    mode: InterpolationMode,
    sampling: Sampling,
    noise: Noise,
    hooks: DenoiseHooks | None = None,
    guidance_batch: int = len(BRANCHES),
) -> Tensor:
    """Denoise all frames around the keyframes, in one run.

    Args:
        unet: the interpolation network.
        conditioning: what B clips say.
        keyframes: latents of the keyframes, float32 `[B, C, K, h, w]`.
        indices: their K frame indices, ascending, the same for all clips.
        stage: what this stage's network was trained with.
        mode: `released` attends to all frames, blends the initial noise and pins the keyframes after the first step;
            `freenoise` attends in windows of 12 every 6 frames and re-uses shuffled noise, as the paper has it.
        sampling: steps, eta and guidance.
        noise: draws x_T, then what the mode and the steps need.
        hooks: progress and cancellation.
        guidance_batch: guidance branches that are evaluated at once.
    Returns: latents float32 `[B, C, 48, h, w]`.
    Raises: NonFiniteLatents; whatever the hooks raise.
    """
    num_frames = conditioning.num_frames
    scale = channel_scale(stage.residual_scale, keyframes)
    draft = conditioning.draft
    if draft is None:
        base = keyframes.new_zeros(*keyframes.shape[:2], num_frames, *keyframes.shape[3:])
        corrections = keyframes
    else:
        base = bend_through(draft, keyframes, indices)
        corrections = keyframes - draft[:, :, list(indices)]
    inputs = conditioning.at_all_frames(
        concat=place_keyframes(corrections / scale, indices, num_frames),
        fps=stage.fps,
        residual_scale=stage.residual_scale,
    )

    def finish(x: Tensor) -> Tensor:
        return base + scale * x

    is_released = mode == "released"
    pins = PinnedFrames((keyframes - base[:, :, list(indices)]) / scale, tuple(indices))
    x = denoise(
        inputs.predictor(unet, temporal_window=None if is_released else (WINDOW_FRAMES, STRIDE_FRAMES)),
        _initial_noise(noise, base, indices, mode=mode),
        schedule=stage.schedule,
        sampling=sampling,
        noise=noise,
        pinned=pins if is_released else None,
        hooks=None if hooks is None else hooks.through(finish),
        guidance_batch=guidance_batch,
    )
    return finish(x)


def _initial_noise(noise: Noise, like: Tensor, indices: Sequence[int], *, mode: InterpolationMode) -> Tensor:
    independent = noise.normal(like.shape)
    if mode == "released":
        return blend_between_keyframes(independent, indices).to(like.device)
    return reschedule(independent, draw_permutations(noise, like.shape[2])).to(like.device)
