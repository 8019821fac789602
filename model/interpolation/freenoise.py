"""Initial noise of the interpolation stage: the released blend, and FreeNoise as the paper has it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.diffusion.noise import Noise

WINDOW_FRAMES = 12
STRIDE_FRAMES = 6


def blend_between_keyframes(noise: Tensor, keyframes: Sequence[int]) -> Tensor:
    """Replace the noise between keyframes by a mixture of the noises at both ends.

    Takes and returns `[B, C, T, h, w]`. The weights run the other way than in ordinary interpolation (next to a
    keyframe its own weight is small) and the mixtures have less than unit variance: the published numbers were made so.
    Source: released behaviour.
    """
    blended = noise.clone()
    last = noise.shape[2] - 1
    for left, right in itertools.pairwise([*sorted(keyframes), last]):
        for frame in range(left + 1, right):
            share = (frame - left) / (right - left)
            blended[:, :, frame] = share * noise[:, :, left] + (1.0 - share) * noise[:, :, right]
    return blended


def draw_permutations(noise: Noise, num_frames: int) -> Tensor:
    """Draw the order of re-used frames for each block after the first window, int64 `[blocks, 6]`, values 0 to 5."""
    num_blocks = len(range(WINDOW_FRAMES, num_frames, STRIDE_FRAMES))
    return noise.normal((num_blocks, STRIDE_FRAMES)).argsort(dim=1)


def reschedule(noise: Tensor, permutations: Tensor) -> Tensor:
    """Re-use the first window's noise for all later frames, six frames at a time in shuffled order.

    Args:
        noise: `[B, C, T, h, w]`, independent frames.
        permutations: int64 `[blocks, 6]` from `draw_permutations`.
    Source: FreeNoise sec. 3.2 (window 12, stride 6), KeyVID sec. 3.4.
    """
    rescheduled = noise.clone()
    for block, order in enumerate(permutations.tolist()):
        start = WINDOW_FRAMES + block * STRIDE_FRAMES
        sources = torch.tensor(order)[: noise.shape[2] - start] + start - WINDOW_FRAMES
        rescheduled[:, :, start : start + len(sources)] = rescheduled[:, :, sources]
    return rescheduled
