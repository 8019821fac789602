"""A clip, plainly: the two diffusion stages and the video file as the paper describes them, one thing after the other.

All four guidance branches are evaluated at every step, whatever their weight; every evaluation encodes its conditions
anew; all frames are drawn before the first one is encoded. What is measured against it must give the same latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from benchmarks.plain_unet import Weights, plain_unet
from model.codecs.latent_flow import GLOW_COLOUR, LatentFlowCodec
from model.diffusion.ddim import trailing_timesteps
from model.diffusion.noise import stage_noise
from model.interpolation.freenoise import (
    STRIDE_FRAMES,
    WINDOW_FRAMES,
    blend_between_keyframes,
    draw_permutations,
    reschedule,
)
from model.localization.plan import plan_keyframes
from model.media.video import write_video
from model.residual import bend_through, channel_scale, place_keyframes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from model.clips import AudioClip, ImageFrame
    from model.conditioning import StageConditioning
    from model.config import StageConfig
    from model.diffusion.denoise import Sampling
    from model.diffusion.guidance import Guidance
    from model.diffusion.noise import Noise
    from model.generation import GenerationParams
    from model.networks.unet import UNet, UNetConfig
    from model.pipeline import KeyVIDPipeline


@dataclass(frozen=True, slots=True)
class PlainStage:
    """One stage's network, what it is told, and the windows of its attention along time."""

    weights: Weights
    config: UNetConfig
    seen: StageConditioning
    window: tuple[int, int] | None = None

    def evaluate(self, x: Tensor, timestep: int, *, has_text: bool, has_image: bool, has_sound: bool) -> Tensor:
        """Velocity with some of the conditions; the others are the encodings of nothing."""
        seen = self.seen
        channels = [x, seen.concat]
        if seen.draft is not None:
            channels.append(seen.draft if has_sound else torch.zeros_like(seen.draft))
        if seen.features is not None:
            features = seen.features if has_image else torch.zeros_like(seen.features)
            channels.append(features[:, :, None].expand(-1, -1, x.shape[2], -1, -1))
        return plain_unet(
            self.weights,
            self.config,
            torch.cat(channels, dim=1),
            torch.full((len(x),), timestep, device=x.device),
            text=seen.text if has_text else seen.null_text,
            image=seen.image if has_image else seen.null_image,
            audio=seen.audio if has_sound else seen.null_audio,
            fps=seen.fps,
            frame_index=seen.frame_index,
            window=self.window,
        )

    def velocity(self, x: Tensor, timestep: int, guidance: Guidance) -> Tensor:
        """Guided velocity: the four evaluations of Appendix H, one after the other."""
        nothing = self.evaluate(x, timestep, has_text=False, has_image=False, has_sound=False)
        image = self.evaluate(x, timestep, has_text=False, has_image=True, has_sound=False)
        image_text = self.evaluate(x, timestep, has_text=True, has_image=True, has_sound=False)
        full = self.evaluate(x, timestep, has_text=True, has_image=True, has_sound=True)
        guided = nothing + guidance.image * (image - nothing)
        guided = guided + guidance.text * (image_text - image) + guidance.audio * (full - image_text)
        if not guidance.rescale:
            return guided
        axes = (1, 2, 3, 4)
        rescaled = guided * full.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
        return guidance.rescale * rescaled + (1 - guidance.rescale) * guided


def single_precision(unet: UNet) -> Weights:
    """The weights of a network in float32, which is the plain path's type."""
    return Weights({name: tensor.float() for name, tensor in unet.state_dict().items()})


def plain_denoise(
    stage: PlainStage,
    x: Tensor,
    *,
    config: StageConfig,
    sampling: Sampling,
    noise: Noise,
    after_first: Callable[[Tensor, float, Tensor], Tensor] | None = None,
) -> Tensor:
    """DDIM from pure noise `x`; `after_first` may change the latents after the first step, given alpha and noise."""
    schedule = config.schedule
    ascending = trailing_timesteps(sampling.num_inference_steps)
    for number, timestep in enumerate(reversed(ascending)):
        v = stage.velocity(x, timestep, sampling.guidance)
        index = ascending.index(timestep)
        here = float(schedule.alpha_prod[timestep])
        before = float(schedule.alpha_prod[ascending[index - 1] if index else 0])
        scales = schedule.clean_scale[ascending[index - 1] if index else timestep], schedule.clean_scale[timestep]
        signal, spread = schedule.sqrt_alpha_prod[timestep], schedule.sqrt_one_minus_alpha_prod[timestep]
        clean, epsilon = signal * x - spread * v, signal * v + spread * x
        sigma = sampling.eta * ((1 - before) / (1 - here) * (1 - here / before)) ** 0.5
        clean = clean * (scales[0] / scales[1])
        fresh = noise.normal(x.shape).to(x) if sigma or (after_first is not None and not number) else None
        x = before**0.5 * clean + max(1 - before - sigma**2, 0) ** 0.5 * epsilon
        if sigma and fresh is not None:
            x = x + sigma * fresh
        if after_first is not None and not number and fresh is not None:
            x = after_first(x, before, fresh)
    return x


@torch.inference_mode()
def plain_latents(
    pipeline: KeyVIDPipeline, image: ImageFrame, audio: AudioClip, prompt: str, params: GenerationParams
) -> Tensor:
    """All latents `[1, C, 48, h, w]` of a clip; the arguments are those of the pipeline."""
    config, parts = pipeline.config, pipeline.components
    plan = plan_keyframes(pipeline.localize(audio), num_keyframes=config.num_keyframes).indices
    picture = image.pixels[None].to(pipeline.device)
    conditioning = pipeline.encode(image, audio, prompt)

    noise, own = stage_noise(params.seed, "keyframes"), config.keyframes
    first = parts.codec.encode(picture, noise=noise)[:, :, None].expand(-1, -1, len(plan), -1, -1)
    seen = conditioning.at_keyframes([plan], concat=first, fps=own.fps, residual_scale=own.residual_scale)
    x = plain_denoise(
        PlainStage(single_precision(parts.keyframes_unet), parts.keyframes_unet.config, seen),
        noise.normal(first.shape).to(first),
        config=own,
        sampling=own.sampling(params),
        noise=noise,
    )
    keyframes = channel_scale(own.residual_scale, x) * (x if seen.draft is None else x + seen.draft)

    noise, own = stage_noise(params.seed, "interpolation"), config.interpolation
    keyframes = parts.codec.hand_over(keyframes, picture, noise=noise)
    scale, draft = channel_scale(own.residual_scale, keyframes), conditioning.draft
    if draft is None:
        base = keyframes.new_zeros(*keyframes.shape[:2], conditioning.num_frames, *keyframes.shape[3:])
        corrections = keyframes
    else:
        base = bend_through(draft, keyframes, plan)
        corrections = keyframes - draft[:, :, list(plan)]
    placed = place_keyframes(corrections / scale, plan, conditioning.num_frames)
    seen = conditioning.at_all_frames(concat=placed, fps=own.fps, residual_scale=own.residual_scale)
    is_released = config.interpolation_mode == "released"
    pins = (keyframes - base[:, :, list(plan)]) / scale

    def put_back(x: Tensor, alpha: float, fresh: Tensor) -> Tensor:
        x = x.clone()
        x[:, :, list(plan)] = alpha**0.5 * pins + (1 - alpha) ** 0.5 * fresh[:, :, list(plan)]
        return x

    start = noise.normal(base.shape)
    start = blend_between_keyframes(start, plan) if is_released else reschedule(start, draw_permutations(noise, 48))
    x = plain_denoise(
        PlainStage(
            single_precision(parts.interpolation_unet),
            parts.interpolation_unet.config,
            seen,
            None if is_released else (WINDOW_FRAMES, STRIDE_FRAMES),
        ),
        start.to(base),
        config=own,
        sampling=own.sampling(params),
        noise=noise,
        after_first=put_back if is_released else None,
    )
    return base + scale * x


def plain_frames(pipeline: KeyVIDPipeline, latents: Tensor, image: ImageFrame) -> Tensor:
    """All frames of a clip at once, uint8 `[48, H, W, 3]`; latent flow is drawn with torch's own resizing."""
    codec = pipeline.components.codec
    if not isinstance(codec, LatentFlowCodec):
        return torch.cat([chunk.cpu() for chunk in pipeline.decode(latents, image)])
    config, (height, width) = codec.config, image.size
    flow = latents[0].transpose(0, 1).float().clone()
    flow[0] = 0  # the first frame is the picture itself
    flow = flow / torch.tensor(config.scale, device=flow.device).view(1, -1, 1, 1)
    moves = flow[:, :2] * config.unit_px
    length = moves.norm(dim=1, keepdim=True).clamp_min(1e-6)
    knee = 0.7 * config.max_displacement_px
    room = config.max_displacement_px - knee
    drawn = torch.where(length > knee, knee + room * torch.tanh((length - knee) / room), length)
    drawn = drawn * length.square() / (length.square() + config.still_px**2)
    moves = moves * (drawn / length) * (width / (flow.shape[-1] * config.cell_px))
    gain = flow[:, 2:3].clamp(-config.max_log_gain, config.max_log_gain)
    fields = torch.cat((moves, gain, flow[:, 3:4].clamp_min(0)), dim=1)
    fields = functional.interpolate(fields, size=(height, width), mode="bicubic", align_corners=False)
    x = torch.arange(width, device=flow.device) + 0.5 + fields[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + 0.5 + fields[:, 1]
    grid = torch.stack((x * 2 / width - 1, y * 2 / height - 1), dim=-1)
    pictures = (image.pixels[None].to(flow.device) + 1).div(2).expand(len(flow), -1, -1, -1)
    moved = functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    colour = torch.tensor(GLOW_COLOUR, device=flow.device).view(1, 3, 1, 1)
    lit = (moved * fields[:, 2:3].exp() + fields[:, 3:4] * colour).clamp(0, 1)
    return (lit * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu()


@torch.inference_mode()
def plain_video(
    pipeline: KeyVIDPipeline, image: ImageFrame, audio: AudioClip, prompt: str, params: GenerationParams, *, path: Path
) -> None:
    """Write the MP4 of a clip: all latents, then all frames, then the file."""
    latents = plain_latents(pipeline, image, audio, prompt, params)
    frames = plain_frames(pipeline, latents, image)
    write_video([frames], audio, path, fps=pipeline.config.fps, num_frames=pipeline.config.video.frames)
