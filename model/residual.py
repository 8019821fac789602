"""What diffusion adds to: latents are `base + scale * x`, and the network denoises `x`.

For the published networks the base is zero and the scale one. For keyvid-mini the base is the motion draft, which the
interpolation stage bends so that it passes through the keyframes. Training and generation share these functions.
All latents are `[B, C, T, h, w]`; `frames` are indices into the 48 frames of a clip.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def channel_scale(scale: Sequence[float], like: Tensor) -> Tensor:
    """Per-channel residual scale, shaped to multiply latents."""
    return torch.tensor(scale, dtype=like.dtype, device=like.device).view(1, -1, 1, 1, 1)


def bend_through(draft: Tensor, keyframes: Tensor, frames: Sequence[int]) -> Tensor:
    """Draft of all frames, corrected to equal `keyframes` at ascending `frames`.

    The correction is linear in time between keyframes and constant outside of them.
    """
    correction = keyframes - draft[:, :, list(frames)]
    weights = _interpolation_weights(frames, draft.shape[2]).to(draft)
    return draft + torch.einsum("tk,bckhw->bcthw", weights, correction)


def place_keyframes(values: Tensor, frames: Sequence[int], num_frames: int) -> Tensor:
    """Put `values` `[B, C, K, h, w]` at `frames` of an otherwise zero clip of `num_frames`."""
    placed = values.new_zeros(*values.shape[:2], num_frames, *values.shape[3:])
    placed[:, :, list(frames)] = values
    return placed


def _interpolation_weights(frames: Sequence[int], num_frames: int) -> Tensor:
    """Linear interpolation from keyframes to all frames, `[num_frames, K]`; rows sum to 1."""
    weights = torch.zeros(num_frames, len(frames))
    for index, (left, right) in enumerate(itertools.pairwise(frames)):
        for frame in range(left, right):
            share = (frame - left) / (right - left)
            weights[frame, index], weights[frame, index + 1] = 1 - share, share
    weights[: frames[0], 0] = 1
    weights[frames[-1] :, -1] = 1
    return weights
