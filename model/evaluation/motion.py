"""Generated motion against the law that a held-out procedural scene follows.

Latents are `[1, C, T, h, w]` of the latent-flow codec; what is compared is the displacement that they draw, in pixels
of a 320x512 picture, on a grid of `GRID`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from model.training.losses import relative_error

if TYPE_CHECKING:
    import torch

    from model.codecs.latent_flow import LatentFlowCodec

FloatArray = npt.NDArray[np.floating[Any]]

GRID = (80, 128)
_BACKGROUND_PX = 0.5  # what the law never moves farther than this is background
_MIN_BACKGROUND = 0.1  # of the picture; with less, the camera moves and nothing is still


@dataclass(frozen=True, slots=True)
class MotionScore:
    """How close a video comes to the truth.

    Args:
        error: squared error of the latents over the truth's energy; about 1 for no motion.
        timing: correlation of the motion curves over the frames.
        placement: correlation of the time-averaged displacement over the picture.
        amplitude: mean displacement over the truth's.
        endpoint_px: mean distance between drawn and true displacement.
        still_endpoint_px: the same of a video that does not move.
        background_px: mean flow from frame to frame where the truth does not move; None where everything moves.
    """

    error: float
    timing: float
    placement: float
    amplitude: float
    endpoint_px: float
    still_endpoint_px: float
    background_px: float | None


@dataclass(frozen=True, slots=True)
class MotionTruth:
    """What a scene's law draws, computed once for all videos of the scene.

    Args:
        latents: `[1, C, T, h, w]`.
        drawn: displacement `[2, T, *GRID]`.
        curve: motion curve `[T]`.
        strength: time-averaged displacement `[*GRID]`.
    """

    latents: torch.Tensor
    drawn: FloatArray
    curve: FloatArray
    strength: FloatArray

    @classmethod
    def of(cls, latents: torch.Tensor, codec: LatentFlowCodec) -> MotionTruth:
        """Draw true latents."""
        drawn = drawn_displacement(latents, codec)
        return cls(latents, drawn, motion_of(drawn), np.hypot(*drawn).mean(axis=0))

    @property
    def background(self) -> npt.NDArray[np.bool_]:
        """Where nothing moves, `[*GRID]`."""
        still: npt.NDArray[np.bool_] = np.hypot(*self.drawn).max(axis=0) < _BACKGROUND_PX
        return still


def score_motion(drawn: FloatArray, latents: torch.Tensor, truth: MotionTruth) -> MotionScore:
    """Compare a video's latents, and the displacement `[2, T, *GRID]` that they draw, with the true ones."""
    strength = np.hypot(*drawn).mean(axis=0)
    background = truth.background
    has_background = background.mean() >= _MIN_BACKGROUND
    return MotionScore(
        error=float(relative_error(latents, truth.latents)),
        timing=correlation(motion_of(drawn), truth.curve),
        placement=correlation(strength, truth.strength),
        amplitude=float(strength.mean() / max(truth.strength.mean(), 1e-6)),
        endpoint_px=float(np.hypot(*(drawn - truth.drawn)).mean()),
        still_endpoint_px=float(truth.strength.mean()),
        background_px=flow_within(drawn, background) if has_background else None,
    )


def flow_within(displacement: FloatArray, mask: npt.NDArray[np.bool_]) -> float:
    """Mean length of the flow from frame to frame inside a mask `[h, w]` of displacements `[2, T, h, w]`."""
    return float(np.hypot(*np.diff(displacement[:, :, mask], axis=1)).mean())


def drawn_displacement(latents: torch.Tensor, codec: LatentFlowCodec) -> FloatArray:
    """Displacement that latents draw: `[2, T, *GRID]`, right and down, the first frame 0."""
    height, width = GRID
    field = codec.displacement(latents[0].transpose(0, 1), height=height, width=width)
    field[0] = 0  # the first frame is the picture itself, whatever its latents are
    pixels = latents.shape[-1] * codec.cell_px / width
    drawn: FloatArray = (field.transpose(0, 1) * pixels).cpu().numpy()
    return drawn


def motion_of(displacement: FloatArray) -> FloatArray:
    """Motion curve of displacements `[2, T, h, w]`: mean |d dx| + |d dy| since the frame before, `[T]`, the first 0."""
    steps = np.abs(np.diff(displacement, axis=1)).sum(axis=0).mean(axis=(1, 2))
    return np.concatenate(([0.0], steps))


def correlation(first: FloatArray, second: FloatArray) -> float:
    """Pearson's correlation of two arrays of one shape; 0 where one of them is constant."""
    a, b = (values.astype(np.float64) - values.mean(dtype=np.float64) for values in (first, second))
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum() / norm) if norm > 1e-12 else 0.0
