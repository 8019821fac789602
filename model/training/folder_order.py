"""Which clips of a folder each step sees: every clip once an epoch, in an order that depends on the seed alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class FolderOrder:
    """Draws are numbered through the whole run; what a number stands for, `clip_of` tells.

    Args:
        repeat: clips that every step sees again, for trying things out; 0 goes through the folder.
    """

    repeat: int = 0

    @property
    def first_seed(self) -> int:
        """Number of the first draw."""
        return 0

    def available(self, step: int) -> int:  # noqa: ARG002  (procedural clips must be drawn ahead; these are there)
        """Draws to announce ahead of their step: none."""
        return 0

    def seeds(self, step: int, *, batch_size: int, order_seed: int) -> list[int]:  # noqa: ARG002  (see `clip_of`)
        """Numbers of one batch's draws."""
        if self.repeat:
            return [index % self.repeat for index in range(batch_size)]
        return [step * batch_size + index for index in range(batch_size)]


def clip_of(draw: int, *, num_clips: int, order_seed: int) -> int:
    """Index of the clip that a draw stands for: a new permutation of all clips in every epoch."""
    epoch, position = divmod(draw, num_clips)
    return int(np.random.default_rng((order_seed, epoch)).permutation(num_clips)[position])
