"""RelSync and AlignSync: a judge's scores of generated clips, relative to those of the true clips."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class MeanAndSpread:
    """Mean over clips, and the unbiased standard deviation. Fractions; the paper prints them times 100."""

    mean: float
    std: float


def relative_sync(generated: Tensor, truth: Tensor) -> Tensor:
    """RelSync `[N]` in [0, 1] from raw classifier scores `[N]` of generated and of true clips; equal ones give 0.5.

    Source: AVSyncD's RelSync, exp(g) / (exp(g) + exp(t)), written so that it cannot overflow.
    """
    return torch.sigmoid(generated - truth)


def alignment_probability(frames: Tensor, first_frame: Tensor) -> Tensor:
    """How much better generated frames fit the sound than the true first frame does: `[N]`, about 0.5.

    Args:
        frames: cosine similarity of sound and picture for the generated frames after the first, `[N, T]`.
        first_frame: the same of the true first frame, `[N, 1]`.
    """
    return torch.sigmoid(frames - first_frame).mean(dim=1)


def aligned_sync(relsync: Tensor, probability: Tensor) -> Tensor:
    """AlignSync `[N]`: RelSync weighed with the alignment probability. Source: AVSyncD's AlignSync."""
    return probability * relsync


def mean_and_spread(values: Tensor) -> MeanAndSpread:
    """Summarize the values of clips `[N]`."""
    return MeanAndSpread(float(values.mean()), float(values.std()))
