"""What the networks are told: conditions of the whole clip, and what one stage and guidance branch see of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from model import audio_context
from model.residual import channel_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.diffusion.denoise import Predict
    from model.diffusion.guidance import Branch
    from model.networks.unet import UNet, UNetContext

AudioLayout = Literal["released", "aligned"]


@dataclass(frozen=True, slots=True)
class AudioTokens:
    """Trunk tokens of clips `[B, L, D]`, their patch grid (rows, columns), and how video frames draw on them."""

    tokens: Tensor
    grid: tuple[int, int]
    layout: AudioLayout
    num_frames: int

    def at_frames(self, frames: Sequence[Sequence[int]]) -> Tensor:
        """Tokens for the keyframes of each clip (`frames`: B rows of K indices): `[B, K, N, D]`."""
        if self.layout == "aligned":
            rows = [
                audio_context.aligned_tokens(tokens[None], grid=self.grid, frames=row)
                for tokens, row in zip(self.tokens, frames, strict=True)
            ]
            return torch.cat(rows)
        groups = audio_context.released_groups(self.tokens, grid=self.grid, num_frames=self.num_frames)
        return torch.stack([clip[list(row)] for clip, row in zip(groups, frames, strict=True)])

    def at_all_frames(self) -> Tensor:
        """Tokens for every frame of each clip: `[B, num_frames, N, D]`.

        The released layout resamples its 52 groups to 48 frames, which mixes unlike token slots; the published numbers
        were made so.
        """
        if self.layout == "aligned":
            return self.at_frames([range(self.num_frames)] * len(self.tokens))
        groups = audio_context.released_groups(self.tokens, grid=self.grid, num_frames=self.num_frames)
        return audio_context.stretch_in_time(groups, self.num_frames)


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What text, picture and sound of B clips say, with the null of each; for both diffusion stages.

    `text` is `[B, N, D]`; `image` `[B, 48, N, D]`; nulls are encodings of the empty prompt, of a mid-grey picture and
    of an all-zero mel. keyvid-mini adds the motion `draft` `[B, C, 48, h, w]` and picture `features` `[B, F, h, w]`.
    `interpolation_image` and its null replace `image` in a model whose interpolation has its own resampler.
    """

    text: Tensor
    null_text: Tensor
    image: Tensor
    null_image: Tensor
    audio: AudioTokens
    null_audio: AudioTokens
    draft: Tensor | None = None
    features: Tensor | None = None
    interpolation_image: Tensor | None = None
    null_interpolation_image: Tensor | None = None

    @property
    def num_frames(self) -> int:
        """Frames of the clip."""
        return int(self.image.shape[1])

    def at_keyframes(
        self, frames: Sequence[Sequence[int]], *, concat: Tensor, fps: int, residual_scale: Sequence[float]
    ) -> StageConditioning:
        """What the keyframe stage sees: tokens and draft at the planned frames (B rows of K indices)."""
        index = torch.tensor([list(row) for row in frames], device=self.text.device)
        clips = torch.arange(len(index), device=index.device)[:, None]
        draft = self.draft
        return StageConditioning(
            text=self.text,
            null_text=self.null_text,
            image=self.image[clips, index],
            null_image=self.null_image[clips, index],
            audio=self.audio.at_frames(frames),
            null_audio=self.null_audio.at_frames(frames),
            concat=concat,
            frame_index=index,
            fps=torch.full((len(index),), fps, device=index.device),
            draft=None if draft is None else _gather_frames(draft, index) / channel_scale(residual_scale, draft),
            features=self.features,
        )

    def at_all_frames(self, *, concat: Tensor, fps: int, residual_scale: Sequence[float]) -> StageConditioning:
        """What the interpolation stage sees: tokens and draft at every frame."""
        batch, num_frames = len(self.text), self.num_frames
        draft = self.draft
        return StageConditioning(
            text=self.text,
            null_text=self.null_text,
            image=self.image if self.interpolation_image is None else self.interpolation_image,
            null_image=self.null_image if self.null_interpolation_image is None else self.null_interpolation_image,
            audio=self.audio.at_all_frames(),
            null_audio=self.null_audio.at_all_frames(),
            concat=concat,
            frame_index=torch.arange(num_frames, device=self.text.device).expand(batch, -1),
            fps=torch.full((batch,), fps, device=self.text.device),
            draft=None if draft is None else draft / channel_scale(residual_scale, draft),
            features=self.features,
        )


@dataclass(frozen=True, slots=True)
class StageConditioning:
    """Inputs of one stage's network for T frames.

    `text` `[B, N, D]`; `image` and `audio` `[B, T, N, D]`; `concat` latents `[B, C, T, h, w]`, never nulled; `draft`
    `[B, C, T, h, w]` in units of the residual scale; `features` `[B, F, h, w]`.
    """

    text: Tensor
    null_text: Tensor
    image: Tensor
    null_image: Tensor
    audio: Tensor
    null_audio: Tensor
    concat: Tensor
    frame_index: Tensor
    fps: Tensor
    draft: Tensor | None = None
    features: Tensor | None = None

    def channels(self, branch: Branch, x: Tensor) -> Tensor:
        """Noisy latents `x` with everything that is concatenated to them: `[B, in_channels, T, h, w]`."""
        return torch.cat([x, self.concatenated(branch)], dim=1)

    def concatenated(self, branch: Branch) -> Tensor:
        """What is concatenated to the noisy latents, the same at every step: `[B, C, T, h, w]`."""
        parts = [self.concat]
        if self.draft is not None:
            parts.append(self.draft if branch == "full" else torch.zeros_like(self.draft))
        if self.features is not None:
            shown = torch.zeros_like(self.features) if branch == "uncond" else self.features
            parts.append(shown[:, :, None].expand(-1, -1, self.concat.shape[2], -1, -1))
        return torch.cat(parts, dim=1)

    def predictor(self, unet: UNet, *, temporal_window: tuple[int, int] | None = None) -> Predict:
        """Velocity prediction of `unet` under these conditions.

        What the network reads of them is computed once for each group of branches, not at every step.
        Source: KeyVID, Appendix H: text enters with `image_text`, the picture with `image`, the sound with `full`.
        """
        dtype = next(unet.parameters()).dtype
        told: dict[tuple[Branch, ...], tuple[Tensor, UNetContext]] = {}

        def tell(branches: tuple[Branch, ...]) -> tuple[Tensor, UNetContext]:
            context = unet.read(
                text=torch.cat([self.text_of(branch) for branch in branches]).to(dtype),
                image=torch.cat([self.image_of(branch) for branch in branches]).to(dtype),
                audio=torch.cat([self.audio_of(branch) for branch in branches]).to(dtype),
            )
            return torch.cat([self.concatenated(branch) for branch in branches]), context

        def predict(branches: Sequence[Branch], x: Tensor, timestep: int) -> Sequence[Tensor]:
            group = tuple(branches)
            if group not in told:
                told[group] = tell(group)
            concatenated, context = told[group]
            times = len(group)
            predictions: Tensor = unet(
                torch.cat([x.repeat(times, 1, 1, 1, 1), concatenated], dim=1),
                torch.full((times * len(x),), timestep, device=x.device),
                context=context,
                fps=self.fps.repeat(times),
                frame_index=self.frame_index.repeat(times, 1),
                temporal_window=temporal_window,
            )
            return predictions.chunk(times)

        return predict

    def text_of(self, branch: Branch) -> Tensor:
        """Prompt of a branch, or its null."""
        return self.text if branch in ("image_text", "full") else self.null_text

    def image_of(self, branch: Branch) -> Tensor:
        """Picture of a branch, or its null."""
        return self.null_image if branch == "uncond" else self.image

    def audio_of(self, branch: Branch) -> Tensor:
        """Sound of a branch, or its null."""
        return self.audio if branch == "full" else self.null_audio


def _gather_frames(latents: Tensor, index: Tensor) -> Tensor:
    """Latents `[B, C, T, h, w]` at B rows of frame indices."""
    return torch.stack([clip[:, row] for clip, row in zip(latents, index, strict=True)])
