"""Media and motion in memory, with their layouts said once.

Pixels inside the model are float32 in [-1, 1], `[3, H, W]`; decoded frames are uint8 `[T, H, W, 3]`;
audio is float32 in [-1, 1], `[channels, samples]`; latents are `[B, C, T, h, w]`.
Files are not this module's business: `model.media` reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ImageFrame:
    """One picture: `pixels` float32 `[3, H, W]` in [-1, 1]."""

    pixels: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])


@dataclass(frozen=True, slots=True)
class AudioClip:
    """One sound: `samples` float32 `[channels, samples]` in [-1, 1] at `sample_rate_hz`."""

    samples: Tensor
    sample_rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.sample_rate_hz

    def window(self, start_s: float, duration_s: float) -> AudioClip:
        """Cut `duration_s` seconds from `start_s`; what lies past the end is silence."""
        start = round(start_s * self.sample_rate_hz)
        length = round(duration_s * self.sample_rate_hz)
        cut = self.samples[:, start : start + length]
        padded = torch.nn.functional.pad(cut, (0, length - cut.shape[1]))
        return AudioClip(padded, self.sample_rate_hz)


@dataclass(frozen=True, slots=True)
class VideoClip:
    """Decoded frames: uint8 `[T, H, W, 3]` at `fps` frames per second."""

    frames: npt.NDArray[np.uint8]
    fps: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.frames) / self.fps


PeakRule = Literal["paper", "onsets"]


@dataclass(frozen=True, slots=True)
class MotionCurve:
    """How much the picture should move in each video frame, as heard from the sound.

    `values` has one score per frame (48), nominally in [0, 1]; `peaks` and `valleys` are frame indices, as `rule` finds
    them.
    Source: KeyVID, Appendix B.
    """

    values: tuple[float, ...]
    peaks: tuple[int, ...]
    valleys: tuple[int, ...]
    rule: PeakRule = "paper"


@dataclass(frozen=True, slots=True)
class KeyframePlan:
    """The frames that the keyframe stage paints: strictly ascending `indices` within `num_frames`, the first is 0."""

    indices: tuple[int, ...]
    num_frames: int

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in zip(self.indices, self.indices[1:], strict=False))
        if not self.indices or self.indices[0] != 0 or not ascending or self.indices[-1] >= self.num_frames:
            raise ValueError(f"not a keyframe plan of {self.num_frames} frames: {self.indices}")


@dataclass(frozen=True, slots=True)
class LatentShape:
    """Shape of one video's latents."""

    channels: int
    frames: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class VideoShape:
    """Shape of one video in pixels, which converts to that of its latents."""

    frames: int
    height: int
    width: int

    def to_latent(self, *, channels: int, cell_px: int) -> LatentShape:
        """Latent shape for a codec whose cells are `cell_px` pixels wide and high.

        Raises: ValueError when the picture is not a whole number of cells.
        """
        if self.height % cell_px or self.width % cell_px:
            raise ValueError(f"{self.height}x{self.width} is not a multiple of {cell_px} px")
        return LatentShape(channels, self.frames, self.height // cell_px, self.width // cell_px)
