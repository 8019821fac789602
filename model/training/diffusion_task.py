"""Training of the two diffusion stages of keyvid-mini, as one network around the frozen motion draft.

A batch is split: most clips train the keyframe stage, the others the interpolation stage. Both see exactly what the
stages see in generation, built by the same functions; only the dropping of conditions differs from clip to clip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from model.conditioning import AudioTokens, Conditioning, StageConditioning
from model.interpolation.freenoise import WINDOW_FRAMES
from model.localization.plan import motion_curve, plan_keyframes
from model.networks.resampler import Resampler
from model.networks.unet import UNet
from model.residual import bend_through, channel_scale, place_keyframes
from model.training.losses import denoising_error, normalized_curve
from model.training.trainer import TrainingTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from model.config import ModelConfig, StageConfig
    from model.training.clip_store import ClipBatch
    from model.training.tasks import DraftTask


@dataclass(frozen=True, slots=True)
class DiffusionMixture:
    """Shares of the training samples.

    Args:
        keyframe_share: clips of a batch that train the keyframe stage.
        planned_share: keyframe samples whose indices a plan chose; the others' are random.
        audio_dropout, text_dropout, image_dropout: clips whose condition is replaced by its null; the draft goes with
            the sound, the picture's features with the image.
        keyframe_noise: spread of what is added to the known keyframes of half of the interpolation samples, in latents,
            because in generation those keyframes are generated ones.
    """

    keyframe_share: float = 0.65
    planned_share: float = 0.7
    audio_dropout: float = 0.10
    text_dropout: float = 0.25
    image_dropout: float = 0.05
    keyframe_noise: float = 0.05


@dataclass(frozen=True, slots=True)
class _Sample:
    """What one stage learns from.

    Args:
        residual: clean, `[B, C, T, h, w]`.
        clip_energy: mean square of the clips' latents, `[B]`.
        velocity_energy: that of their differences from frame to frame, where the residual's frames are neighbours.
    """

    inputs: StageConditioning
    residual: Tensor
    clip_energy: Tensor
    velocity_energy: Tensor | None = None


class DiffusionTask(TrainingTask):
    """Denoises residuals around the draft, at keyframes and in windows of all frames."""

    def __init__(self, config: ModelConfig, frozen: DraftTask, *, mixture: DiffusionMixture | None = None) -> None:
        super().__init__()
        self.config = config
        self.mixture = mixture or DiffusionMixture()
        if config.resampler is None:
            raise ValueError(f"{config.name} has no resampler")
        self.unet = UNet(config.keyframes_unet)
        self.resampler = Resampler(config.resampler)
        # Kept outside of the registered modules: it is neither trained nor part of this run's checkpoints.
        self._frozen = [frozen.eval().requires_grad_(requires_grad=False)]

    def forward(self, batch: ClipBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Weighted v-prediction error, the mean over all clips of the batch."""
        conditioning = self.conditioning(batch)
        split = round(self.mixture.keyframe_share * len(batch))
        painted = self._keyframe_sample(batch, conditioning)
        between = self._interpolation_sample(batch, conditioning)
        keyframes = self._error(_rows(painted, slice(None, split)), self.config.keyframes)
        interpolation = self._error(_rows(between, slice(split, None)), self.config.interpolation)
        loss = torch.cat((keyframes, interpolation)).mean()
        return loss, {"keyframes": keyframes.detach().mean(), "interpolation": interpolation.detach().mean()}

    def components(self) -> Mapping[str, nn.Module]:
        """The same network under the names of both stages."""
        return {"keyframes_unet": self.unet, "interpolation_unet": self.unet, "resampler": self.resampler}

    def conditioning(self, batch: ClipBatch) -> Conditioning:
        """Conditions of a batch: the encoders and the draft are frozen, the resampler learns."""
        frozen = self._frozen[0].to(batch.mel.device)

        def tokens(mel: Tensor) -> AudioTokens:
            layout, grid = self.config.audio_layout, self.config.audio_encoder.grid
            return AudioTokens(frozen.audio_encoder(mel), grid, layout, self.config.video.frames)

        with torch.no_grad():
            audio = tokens(batch.mel)
            text = frozen.text_encoder.encode(batch.prompts)
            features = frozen.image_encoder.features(batch.image, batch.face)
            conditioning = Conditioning(
                text=text,
                null_text=frozen.text_encoder.encode([""] * len(batch)),
                image=frozen.image_encoder.as_tokens(features),
                null_image=frozen.image_encoder.encode(torch.zeros_like(batch.image[:1])),
                audio=audio,
                null_audio=tokens(torch.zeros_like(batch.mel[:1])),
                draft=frozen.draft(audio.tokens, text, features),
                features=features,
            )
        null_audio = replace(conditioning.null_audio, tokens=conditioning.null_audio.tokens.expand(len(batch), -1, -1))
        return replace(
            conditioning,
            image=self.resampler(conditioning.image),
            null_image=self.resampler(conditioning.null_image).expand(len(batch), -1, -1, -1),
            null_audio=null_audio,
        )

    def _keyframe_sample(self, batch: ClipBatch, conditioning: Conditioning) -> _Sample:
        """Residuals at planned or random frames."""
        stage = self.config.keyframes
        plans = [self._keyframe_indices(curve) for curve in normalized_curve(batch.motion)]
        latents = _gather_frames(batch.latents, torch.tensor(plans, device=batch.latents.device))
        inputs = conditioning.at_keyframes(
            plans, concat=torch.zeros_like(latents), fps=stage.fps, residual_scale=stage.residual_scale
        )
        if inputs.draft is None:
            raise ValueError("keyvid-mini's diffusion stages need a draft")
        residual = latents / channel_scale(stage.residual_scale, latents) - inputs.draft
        return _Sample(inputs, residual, batch.latents.square().mean(dim=(1, 2, 3, 4)))

    def _interpolation_sample(self, batch: ClipBatch, conditioning: Conditioning) -> _Sample:
        """Residuals in one window of each clip, around keyframes that are sometimes a little wrong."""
        stage = self.config.interpolation
        draft = conditioning.draft
        if draft is None:
            raise ValueError("keyvid-mini's diffusion stages need a draft")
        bases, corrections = [], []
        for clip, guess, curve in zip(batch.latents, draft, normalized_curve(batch.motion), strict=True):
            frames = self._keyframe_indices(curve)
            keyframes = clip[None, :, frames]
            if torch.rand(()) < 0.5:
                keyframes = keyframes + self.mixture.keyframe_noise * torch.randn_like(keyframes)
            bases.append(bend_through(guess[None], keyframes, frames))
            corrections.append(place_keyframes(keyframes - guess[None, :, frames], frames, clip.shape[1]))
        scale = channel_scale(stage.residual_scale, draft)
        inputs = conditioning.at_all_frames(
            concat=torch.cat(corrections) / scale, fps=stage.fps, residual_scale=stage.residual_scale
        )
        residual = (batch.latents - torch.cat(bases)) / scale
        num_frames = residual.shape[2]
        starts = torch.randint(0, num_frames - WINDOW_FRAMES + 1, (len(batch), 1))
        window = (starts + torch.arange(WINDOW_FRAMES)).to(residual.device)
        return _Sample(
            _at_window(inputs, window),
            _gather_frames(residual, window),
            batch.latents.square().mean(dim=(1, 2, 3, 4)),
            batch.latents.diff(dim=2).square().mean(dim=(1, 2, 3, 4)),
        )

    def _keyframe_indices(self, curve: Tensor) -> list[int]:
        """Indices that the motion curve `[T]` plans, or now and then random ones, always with frame 0."""
        count = self.config.num_keyframes
        if torch.rand(()) < self.mixture.planned_share:
            read = motion_curve(curve.cpu().numpy().astype(np.float64), rule=self.config.peak_rule)
            return list(plan_keyframes(read, num_keyframes=count).indices)
        others = torch.randperm(len(curve) - 1)[: count - 1] + 1
        return [0, *sorted(others.tolist())]

    def _error(self, sample: _Sample, stage: StageConfig) -> Tensor:
        """Error of the predicted velocity at a random timestep, per clip `[B]`."""
        residual = sample.residual
        schedule = stage.schedule
        # Few-step sampling spends its steps where there is much noise: the density of t rises linearly.
        timesteps = (len(schedule.alpha_prod) * torch.rand(len(residual)).sqrt()).long()
        noise = torch.randn_like(residual)
        noisy = schedule.add_noise(residual, noise, timesteps)
        inputs = self._drop_conditions(sample.inputs)
        prediction = self.unet(
            inputs.channels("full", noisy),
            timesteps.to(residual.device),
            context=self.unet.read(text=inputs.text, image=inputs.image, audio=inputs.audio),
            fps=inputs.fps,
            frame_index=inputs.frame_index,
        )
        target = schedule.velocity(residual, noise, timesteps)
        return denoising_error(
            prediction, target, clip_energy=sample.clip_energy, velocity_energy=sample.velocity_energy
        )

    def _drop_conditions(self, inputs: StageConditioning) -> StageConditioning:
        """Replace conditions by their nulls, each clip for itself."""
        if not self.training:
            return inputs
        batch = len(inputs.text)
        device = inputs.text.device

        def null(condition: Tensor, nothing: Tensor, dropped: Tensor) -> Tensor:
            return torch.where(dropped.view(-1, *[1] * (condition.ndim - 1)), nothing, condition)

        text, image, audio = (
            (torch.rand(batch) < rate).to(device)
            for rate in (self.mixture.text_dropout, self.mixture.image_dropout, self.mixture.audio_dropout)
        )
        return replace(
            inputs,
            text=null(inputs.text, inputs.null_text, text),
            image=null(inputs.image, inputs.null_image, image),
            audio=null(inputs.audio, inputs.null_audio, audio),
            draft=None if inputs.draft is None else null(inputs.draft, torch.zeros_like(inputs.draft), audio),
            features=None
            if inputs.features is None
            else null(inputs.features, torch.zeros_like(inputs.features), image),
        )


def _gather_frames(latents: Tensor, index: Tensor) -> Tensor:
    """Latents `[B, C, T, h, w]` at B rows of frame indices."""
    return torch.stack([clip[:, row] for clip, row in zip(latents, index, strict=True)])


def _rows(sample: _Sample, rows: slice) -> _Sample:
    """Some clips of a sample."""
    inputs = sample.inputs
    names = [name for name in inputs.__dataclass_fields__ if getattr(inputs, name) is not None]
    picked = replace(inputs, **{name: getattr(inputs, name)[rows] for name in names})
    velocity = None if sample.velocity_energy is None else sample.velocity_energy[rows]
    return _Sample(picked, sample.residual[rows], sample.clip_energy[rows], velocity)


def _at_window(inputs: StageConditioning, window: Tensor) -> StageConditioning:
    """Inputs at B rows of frame indices."""
    clips = torch.arange(len(window), device=window.device)[:, None]
    return replace(
        inputs,
        image=inputs.image[clips, window],
        null_image=inputs.null_image[clips, window],
        audio=inputs.audio[clips, window],
        null_audio=inputs.null_audio[clips, window],
        concat=_gather_frames(inputs.concat, window),
        draft=None if inputs.draft is None else _gather_frames(inputs.draft, window),
        frame_index=inputs.frame_index[clips, window],
    )


def residual_spread(task: DiffusionTask, batches: Sequence[ClipBatch]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Standard deviation per latent channel of what the keyframe and the interpolation stage have to add.

    With the residual scales of the task's configuration set to 1, this is what they should be set to.
    """
    with torch.no_grad():
        parts = [(batch, task.conditioning(batch)) for batch in batches]
        painted = torch.cat([task._keyframe_sample(*part).residual for part in parts])  # noqa: SLF001  (same module)
        between = torch.cat([task._interpolation_sample(*part).residual for part in parts])  # noqa: SLF001
    spreads = [residual.std(dim=(0, 2, 3, 4)).tolist() for residual in (painted, between)]
    return tuple(spreads[0]), tuple(spreads[1])
