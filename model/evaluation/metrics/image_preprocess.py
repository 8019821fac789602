"""Frames as the networks of the published evaluation get them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

FID_SIDE_PX = 229  # not Inception's 299; the published numbers were made so
FVD_SIDE_PX = 224
CLIP_SIDE_PX = 224

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def load_frames(frames: Tensor, *, height: int, width: int) -> Tensor:
    """Crop frames `[T, 3, H, W]` in [0, 1] to the wanted proportions around their centre, then resize them.

    Source: released behaviour (bilinear with antialiasing; sizes and offsets are rounded down).
    """
    rows, columns = frames.shape[2:]
    ratio = height / width
    if ratio >= rows / columns:
        kept = int(rows / ratio)
        left = (columns - kept) // 2
        cropped = frames[..., left : left + kept]
    else:
        kept = int(columns * ratio)
        top = (rows - kept) // 2
        cropped = frames[..., top : top + kept, :]
    return functional.interpolate(cropped, size=(height, width), mode="bilinear", antialias=True)


def for_clip(frames: Tensor) -> Tensor:
    """Frames `[T, 3, H, W]` in [0, 1] for ImageBind and the sync classifier: 224 x 224, CLIP's colours."""
    square = _bicubic(frames, CLIP_SIDE_PX)
    mean, std = (square.new_tensor(values).view(1, 3, 1, 1) for values in (_CLIP_MEAN, _CLIP_STD))
    return (square - mean) / std


def for_fid(frames: Tensor) -> Tensor:
    """Frames `[T, 3, H, W]` in [0, 1] for Inception: 229 x 229 in [-1, 1], not clamped."""
    return _bicubic(frames, FID_SIDE_PX) * 2 - 1


def for_fvd(frames: Tensor) -> Tensor:
    """Frames `[T, 3, H, W]` in [0, 1] for I3D: 224 x 224 in [-1, 1], not clamped."""
    return _bicubic(frames, FVD_SIDE_PX) * 2 - 1


def _bicubic(frames: Tensor, side_px: int) -> Tensor:
    return functional.interpolate(frames, size=(side_px, side_px), mode="bicubic", antialias=True)
