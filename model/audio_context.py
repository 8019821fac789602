"""Audio tokens of a clip to audio tokens of each frame: the released regrouping, and an aligned one.

Trunk tokens are `[B, 1 + rows * columns, D]`: a class token, then patches frequency-major. Per-frame tokens are
`[B, T, N, D]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

TOKENS_PER_GROUP = 12
ALIGNED_REACH_FRAMES = 2


def split_into_segments(tokens: Tensor, *, grid: tuple[int, int], num_segments: int) -> Tensor:
    """Cut the time columns into equal, possibly overlapping segments, each with the class token in front.

    Returns `[B, num_segments, 1 + rows * columns_per_segment, D]`. Source: KeyVID sec. 3.3; AVSyncD.
    """
    columns = grid[1]
    length = -(-columns // num_segments)
    # torch rounds halves to even, as the published index tables do.
    starts = torch.linspace(0, columns - length, num_segments, dtype=torch.float64).round().long()
    picked = starts[:, None] + torch.arange(length)  # [segments, length]
    patches = _on_grid(tokens, grid)[:, :, picked.to(tokens.device)]
    segments = patches.permute(0, 2, 1, 3, 4).flatten(2, 3)
    class_token = tokens[:, None, :1].expand(-1, num_segments, -1, -1)
    return torch.cat([class_token, segments], dim=2)


def released_groups(tokens: Tensor, *, grid: tuple[int, int], num_frames: int) -> Tensor:
    """Tokens regrouped by 12 although each frame has 13, as the published weights were trained with.

    Returns `[B, G, 12, D]`, G = 52 for 48 frames of a 12 x 48 grid: group i lags frame i by up to 3.7 frames. Do not
    "repair" this for published weights. Source: released behaviour.
    """
    per_frame = split_into_segments(tokens, grid=grid, num_segments=num_frames)
    return per_frame.reshape(len(tokens), -1, TOKENS_PER_GROUP, tokens.shape[2])


def stretch_in_time(per_frame: Tensor, num_frames: int) -> Tensor:
    """Resample `[B, T, N, D]` linearly along time, half-pixel centres, each token slot by itself."""
    slots = per_frame.flatten(2).transpose(1, 2)
    stretched = functional.interpolate(slots, size=num_frames, mode="linear", align_corners=False)
    return stretched.transpose(1, 2).reshape(len(per_frame), num_frames, *per_frame.shape[2:])


def aligned_tokens(tokens: Tensor, *, grid: tuple[int, int], frames: Sequence[int]) -> Tensor:
    """Class token and the columns from two before to two after each frame, clamped at the ends.

    The trunk must have one column per video frame. Returns `[B, len(frames), 1 + 5 * rows, D]`, time-major.
    """
    columns = grid[1]
    reach = torch.arange(-ALIGNED_REACH_FRAMES, ALIGNED_REACH_FRAMES + 1)
    picked = (torch.tensor(frames)[:, None] + reach).clamp(0, columns - 1).to(tokens.device)  # [T, 5]
    patches = _on_grid(tokens, grid)[:, :, picked]
    around = patches.permute(0, 2, 3, 1, 4).flatten(2, 3)
    class_token = tokens[:, None, :1].expand(-1, len(frames), -1, -1)
    return torch.cat([class_token, around], dim=2)


def _on_grid(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patches of trunk tokens as `[B, rows, columns, D]`."""
    return tokens[:, 1:].reshape(len(tokens), *grid, tokens.shape[2])
