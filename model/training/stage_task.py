"""Training of a diffusion stage of keyvid-512: which parameters learn, what is dropped, and the loss.

Source: KeyVID sec. 3.3, 3.4 and 4.1; the rest is released behaviour (docs/training.md).
"""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from model.conditioning import AudioTokens, Conditioning, StageConditioning
from model.diffusion.denoise import Sampling
from model.diffusion.noise import GeneratorNoise
from model.interpolation.interpolator import interpolate
from model.keyframes.generator import generate_keyframes
from model.training.trainer import TrainingTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from model.config import ModelConfig, StageConfig
    from model.pretrained import Components
    from model.training.batches import VideoBatch
    from model.training.published_recipes import StageOptions

StageName = Literal["keyframes", "interpolation"]

# What the release trains of the UNet: everything of time but the first temporal transformer and the group norms, and
# everything that DynamiCrafter does not have.
_TRAINED = (
    r"(encoder\.(?!0\.)\d+|middle|decoder\.\d+)\.temporal\.(layer|input|output)\.",
    r"(encoder\.\d+|middle|decoder\.\d+)\.residual(_in|_out)?\.temporal\.",
    r"fps_embedding\.",
    r".*\.cross_attention\.audio_(key|value|gate)",
    r"audio_projection\.",
    r"frame_index_embedding\.",
)


class StageTask(TrainingTask):
    """Predicts the velocity of noised latents of twelve frames, with conditions dropped now and then.

    Args:
        start: networks to begin with; the stage's UNet is trained in place.
    """

    def __init__(
        self,
        config: ModelConfig,
        start: Components,
        *,
        stage: StageName,
        options: StageOptions,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if start.resampler is None:
            raise ValueError(f"{config.name} has no resampler to train")
        own = start.interpolation_resampler
        # The stages tune theirs apart: where they begin with one, the interpolation stage takes a copy.
        resampler = start.resampler if stage == "keyframes" else own or copy.deepcopy(start.resampler)
        self.config = config
        self.options = options
        self.stage: StageName = stage
        self.unet = start.keyframes_unet if stage == "keyframes" else start.interpolation_unet
        self.unet.activation_checkpointing = activation_checkpointing
        self.resampler = resampler
        for name, parameter in self.unet.named_parameters():
            parameter.requires_grad_(options.trained == "all" or is_trained(name))
        self.resampler.requires_grad_(requires_grad=True)
        # Kept outside of the registered modules: they are neither trained nor part of this run's checkpoints.
        self._start = [start]

    def forward(self, batch: VideoBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Squared error of the predicted velocity, the mean over everything."""
        with torch.no_grad(), _full_precision(batch.mel.device):
            latents = self._encode(batch.pixels())
        inputs = self._drop_conditions(self._inputs(batch, latents))
        schedule = self._stage_config.schedule
        timesteps = torch.randint(0, len(schedule.alpha_prod), (len(batch),))
        noise = torch.randn(latents.shape).to(latents)
        clean = schedule.rescale_clean(latents, timesteps)
        prediction = self.unet(
            inputs.channels("full", schedule.add_noise(clean, noise, timesteps)),
            timesteps.to(latents.device),
            context=self.unet.read(text=inputs.text, image=inputs.image, audio=inputs.audio),
            fps=inputs.fps,
            frame_index=inputs.frame_index,
        )
        error = (prediction.float() - schedule.velocity(clean, noise, timesteps)).square().mean(dim=(1, 2, 3, 4))
        return error.mean(), {}

    def components(self) -> Mapping[str, nn.Module]:
        """The stage's UNet and resampler."""
        if self.stage == "keyframes":
            return {"keyframes_unet": self.unet, "resampler": self.resampler}
        return {"interpolation_unet": self.unet, "interpolation_resampler": self.resampler}

    def frozen(self) -> tuple[nn.Module, ...]:
        """Encoders and codec."""
        start = self._start[0]
        parts = (start.text_encoder, start.image_encoder, start.audio_encoder, start.codec)
        return tuple(part for part in parts if isinstance(part, nn.Module))

    def samples(self, batch: VideoBatch) -> Mapping[str, npt.NDArray[np.uint8]]:
        """The first clip as the stage generates it in few steps, and as it is."""
        first = _first(batch)
        device = batch.mel.device
        pixels = first.pixels()
        codec, stage = self._start[0].codec, self._stage_config
        latents = self._encode(pixels)
        conditioning = self._conditioning(first)
        noise = GeneratorNoise(torch.Generator().manual_seed(0))
        sampling = Sampling(self.options.sample_steps, stage.eta, stage.guidance)
        rows = first.indices.tolist()
        if self.stage == "keyframes":
            generated = generate_keyframes(
                self.unet, conditioning, latents[:, :, 0], rows, stage=stage, sampling=sampling, noise=noise
            )
        else:
            chosen = {index: place for place, index in enumerate(rows[0]) if first.is_keyframe[0, place]}
            places = list(chosen.values())
            generated = interpolate(
                self.unet,
                conditioning,
                latents[:, :, places],
                sorted(chosen),
                stage=stage,
                mode=self.config.interpolation_mode,
                sampling=sampling,
                noise=noise,
            )
        drawn = torch.cat([chunk.cpu() for chunk in codec.decode(generated.to(device), pixels[:, 0])])
        return {"generated": drawn.numpy(), "truth": first.frames[0].cpu().numpy()}

    @property
    def _stage_config(self) -> StageConfig:
        return self.config.keyframes if self.stage == "keyframes" else self.config.interpolation

    def _encode(self, pixels: Tensor) -> Tensor:
        """Posterior samples `[B, C, T, h, w]` of frames `[B, T, 3, H, W]`."""
        noise = GeneratorNoise(torch.default_generator)
        encoded = self._start[0].codec.encode(pixels.flatten(0, 1), noise=noise)
        return encoded.view(*pixels.shape[:2], *encoded.shape[1:]).transpose(1, 2)

    def _inputs(self, batch: VideoBatch, latents: Tensor) -> StageConditioning:
        """What the stage's network sees of a batch; both stages pick tokens by frame index while training."""
        if self.stage == "keyframes":
            concat = latents[:, :, :1].expand_as(latents)
        else:
            concat = latents * batch.is_keyframe[:, None, :, None, None]
        stage = self._stage_config
        inputs = self._conditioning(batch).at_keyframes(
            batch.indices.tolist(), concat=concat, fps=stage.fps, residual_scale=stage.residual_scale
        )
        return replace(inputs, fps=batch.fps)

    def _conditioning(self, batch: VideoBatch) -> Conditioning:
        """Conditions and their nulls: the encoders are frozen, the resampler learns."""
        start, config = self._start[0], self.config
        start.audio_encoder.train(self.training and self.options.audio_drop_path)
        layout, grid, num_frames = config.audio_layout, config.audio_encoder.grid, config.video.frames
        with torch.no_grad(), _full_precision(batch.mel.device):
            heard, unheard = torch.chunk(start.audio_encoder(torch.cat([batch.mel, torch.zeros_like(batch.mel)])), 2)
            text, null_text = torch.chunk(start.text_encoder.encode([*batch.prompts, *[""] * len(batch)]), 2)
            pictures = batch.pixels()[:, 0]
            tokens = start.image_encoder.encode(torch.cat([pictures, torch.zeros_like(pictures)]))
        seen, unseen = torch.chunk(self.resampler(tokens), 2)
        return Conditioning(
            text=text,
            null_text=null_text,
            image=seen,
            null_image=unseen,
            audio=AudioTokens(heard, grid, layout, num_frames),
            null_audio=AudioTokens(unheard, grid, layout, num_frames),
        )

    def _drop_conditions(self, inputs: StageConditioning) -> StageConditioning:
        """Replace conditions by their nulls, by one draw a clip."""
        if not self.training:
            return inputs
        slot = torch.div(torch.rand(len(inputs.text)), max(self.options.dropout, 1e-9), rounding_mode="floor")
        slot = slot.to(inputs.text.device)
        return replace(
            inputs,
            text=_nulled(inputs.text, inputs.null_text, slot <= 1),
            image=_nulled(inputs.image, inputs.null_image, (slot == 1) | (slot == 2)),
            audio=_nulled(inputs.audio, inputs.null_audio, (slot == 2) | (slot == 3)),
        )


def is_trained(name: str) -> bool:
    """Whether the release trains the UNet's parameter of this name."""
    return any(re.match(pattern, name) for pattern in _TRAINED)


def _nulled(condition: Tensor, nothing: Tensor, is_dropped: Tensor) -> Tensor:
    return torch.where(is_dropped.view(-1, *[1] * (condition.ndim - 1)), nothing, condition)


def _full_precision(device: torch.device) -> torch.autocast:
    """Encoders and codec compute in float32, as they do in generation."""
    return torch.autocast(device.type, enabled=False)


def _first(batch: VideoBatch) -> VideoBatch:
    """The first clip of a batch."""
    tensors = {name: getattr(batch, name)[:1] for name in ("frames", "indices", "fps", "is_keyframe", "mel")}
    return replace(batch, names=batch.names[:1], prompts=batch.prompts[:1], **tensors)
