"""The keyframe generator: plan, first frame and sound to the latents of the keyframes (KeyVID sec. 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.diffusion.denoise import DenoiseHooks, Sampling, denoise
from model.diffusion.guidance import BRANCHES
from model.residual import channel_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from model.conditioning import Conditioning
    from model.config import StageConfig
    from model.diffusion.noise import Noise
    from model.networks.unet import UNet


def generate_keyframes(
    unet: UNet,
    conditioning: Conditioning,
    first_frame: Tensor,
    frames: Sequence[Sequence[int]],
    *,
    stage: StageConfig,
    sampling: Sampling,
    noise: Noise,
    hooks: DenoiseHooks | None = None,
    guidance_batch: int = len(BRANCHES),
) -> Tensor:
    """Denoise the keyframes.

    Args:
        unet: the keyframe network.
        conditioning: what B clips say.
        first_frame: latents of the pictures, `[B, C, h, w]`.
        frames: B rows of K frame indices.
        stage: what this stage's network was trained with.
        sampling: steps, eta and guidance.
        noise: draws x_T, then one tensor for each step.
        hooks: progress and cancellation.
        guidance_batch: guidance branches that are evaluated at once.
    Returns: keyframe latents float32 `[B, C, K, h, w]`.
    Raises: NonFiniteLatents; whatever the hooks raise.
    """
    num_keyframes = len(frames[0])
    inputs = conditioning.at_keyframes(
        frames,
        concat=first_frame[:, :, None].expand(-1, -1, num_keyframes, -1, -1),
        fps=stage.fps,
        residual_scale=stage.residual_scale,
    )
    scale = channel_scale(stage.residual_scale, inputs.concat)

    def finish(x: Tensor) -> Tensor:
        return scale * x if inputs.draft is None else scale * (x + inputs.draft)

    noisy = noise.normal(inputs.concat.shape).to(first_frame.device)
    x = denoise(
        inputs.predictor(unet),
        noisy,
        schedule=stage.schedule,
        sampling=sampling,
        noise=noise,
        hooks=None if hooks is None else hooks.through(finish),
        guidance_batch=guidance_batch,
    )
    return finish(x)
