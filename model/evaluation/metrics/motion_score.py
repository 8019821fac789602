"""Motion scores of videos: how far pixels move from one frame to the next, and how frames are fitted for that."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_MAX_HEIGHT_PX = 480
_SHRUNK_HEIGHT_PX = 360
_CELL_PX = 8


def motion_score(flow: Tensor) -> Tensor:
    """Mean of |u| + |v| over the pixels of flows `[..., 2, H, W]`, in pixels per frame: float64 `[...]`.

    Source: KeyVID eq. 3, which writes a sum where the text and the release average.
    """
    return total_motion(flow) / (flow.shape[-2] * flow.shape[-1])


def total_motion(flow: Tensor) -> Tensor:
    """Sum of |u| + |v| over the pixels of flows `[..., 2, H, W]`: float64 `[...]`. Source: KeyVID eq. 3 as written."""
    return flow.double().abs().sum(dim=(-3, -2, -1))


def flow_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which the flow of a video is measured.

    Tall frames are squeezed to 360 rows, but their width shrinks by 480 / height only. Source: released behaviour.
    """
    if height <= _MAX_HEIGHT_PX:
        return height, width
    return _SHRUNK_HEIGHT_PX, int(width * _MAX_HEIGHT_PX / height)


def resize_nearest(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize uint8 frames `[T, 3, H, W]` to float32 of `size` by the pixel at or before each place, values 0 to 255."""
    return functional.interpolate(frames.float(), size=size, mode="nearest")


def flow_padding(height: int, width: int) -> tuple[int, int, int, int]:
    """Pixels to add at the left, right, top and bottom so that both sides are multiples of 8; odd ones go last."""
    rows, columns = -height % _CELL_PX, -width % _CELL_PX
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def pad_for_flow(frames: Tensor) -> Tensor:
    """Repeat the border pixels of frames `[T, 3, H, W]` up to multiples of 8; scores include the padding."""
    return functional.pad(frames, flow_padding(*frames.shape[2:]), mode="replicate")


def prepare_for_flow(frames: Tensor) -> Tensor:
    """Frames uint8 `[T, 3, H, W]` as the flow network reads them: float32, 0 to 255, both sides multiples of 8."""
    size = flow_size(*frames.shape[2:])
    resized = frames.float() if size == tuple(frames.shape[2:]) else resize_nearest(frames, size)
    return pad_for_flow(resized)


def measure_motion(frames: Tensor, measure_flow: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Raw motion curve float32 `[T - 1]` of a video.

    Args:
        frames: uint8 `[T, 3, H, W]`, every frame of the file.
        measure_flow: flow `[1, 2, H, W]` in pixels from one prepared frame `[1, 3, H, W]` to the next.
    Source: KeyVID sec. 3.2; released behaviour (full-resolution flow, not normalised).
    """
    prepared = torch.split(prepare_for_flow(frames), 1)
    return torch.cat([motion_score(measure_flow(first, second)) for first, second in pairwise(prepared)]).float()
