"""Where random numbers come from: one seeded CPU generator for each stage."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence


class Noise(Protocol):
    """Source of standard normal draws; the order of the draws is part of a stage's behaviour."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Draw float32 values of `shape` on the CPU."""
        ...


@dataclass(frozen=True, slots=True)
class GeneratorNoise:
    """Draws from a torch generator."""

    generator: torch.Generator

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Draw float32 values of `shape` on the CPU."""
        return torch.randn(tuple(shape), generator=self.generator)


def stage_noise(seed: int, stage: str) -> GeneratorNoise:
    """Noise of one stage of one generation: the same for the same seed, whatever ran or did not run before it."""
    digest = hashlib.sha256(f"{seed}/{stage}".encode()).digest()
    return GeneratorNoise(torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1))
