"""Batches of folder clips, as the tasks of keyvid-512 take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.datasets.samples import ListeningSample, VideoSample


@dataclass(frozen=True, slots=True)
class VideoBatch:
    """Twelve frames of B clips.

    `frames` uint8 `[B, T, H, W, 3]`; `indices` `[B, T]` on the grid of 48 frames; `fps` `[B]`; `is_keyframe` bool
    `[B, T]`; `mel` `[B, 1, 128, mel_frames]`.
    """

    names: tuple[str, ...]
    prompts: tuple[str, ...]
    frames: Tensor
    indices: Tensor
    fps: Tensor
    is_keyframe: Tensor
    mel: Tensor

    @staticmethod
    def of(samples: Sequence[VideoSample]) -> VideoBatch:
        """Stack samples."""
        return VideoBatch(
            names=tuple(sample.name for sample in samples),
            prompts=tuple(sample.caption for sample in samples),
            frames=torch.from_numpy(np.stack([sample.frames for sample in samples])),
            indices=torch.tensor([sample.indices for sample in samples]),
            fps=torch.tensor([sample.fps for sample in samples]),
            is_keyframe=torch.tensor([sample.is_keyframe for sample in samples]),
            mel=torch.stack([sample.mel for sample in samples]),
        )

    def to(self, device: torch.device) -> VideoBatch:
        """The same batch on another device."""
        tensors = (self.frames, self.indices, self.fps, self.is_keyframe, self.mel)
        return VideoBatch(self.names, self.prompts, *(tensor.to(device, non_blocking=True) for tensor in tensors))

    def pixels(self) -> Tensor:
        """Frames as float32 `[B, T, 3, H, W]` in [-1, 1]."""
        return self.frames.permute(0, 1, 4, 2, 3).float() / 127.5 - 1

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class ListeningBatch:
    """Two seconds of B sounds: `mel` `[B, 1, 128, mel_frames]`, `curve` and `loudness` `[B, 48]` in [0, 1]."""

    names: tuple[str, ...]
    mel: Tensor
    curve: Tensor
    loudness: Tensor

    @staticmethod
    def of(samples: Sequence[ListeningSample]) -> ListeningBatch:
        """Stack samples."""
        return ListeningBatch(
            names=tuple(sample.name for sample in samples),
            mel=torch.stack([sample.mel for sample in samples]),
            curve=torch.stack([sample.curve for sample in samples]),
            loudness=torch.stack([sample.loudness for sample in samples]),
        )

    def to(self, device: torch.device) -> ListeningBatch:
        """The same batch on another device."""
        return ListeningBatch(self.names, *(tensor.to(device) for tensor in (self.mel, self.curve, self.loudness)))

    def __len__(self) -> int:
        return len(self.names)
