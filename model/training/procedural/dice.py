"""Seeded draws, some of whose ranges are reserved for clips that training never sees."""

from __future__ import annotations

import colorsys
import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
Colour = tuple[float, float, float]

_RESERVED = (0.62, 0.78)  # the part of each reserved range that only held-out clips draw from


def shade(colour: Colour, factor: float) -> Colour:
    """A darker or lighter tone of a colour."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


class Dice:
    """One stream of draws.

    Args:
        seed: same seed, same draws.
        is_held_out: draw reserved ranges from the part that training skips.
    """

    def __init__(self, seed: int | Sequence[int], *, is_held_out: bool = False) -> None:
        self.generator = np.random.default_rng(seed)
        self.is_held_out = is_held_out

    def between(self, low: float, high: float) -> float:
        """Uniform draw."""
        return low + (high - low) * float(self.generator.random())

    def octaves(self, low: float, high: float) -> float:
        """Draw uniform on a logarithmic scale: frequencies and times."""
        return low * math.exp(math.log(high / low) * float(self.generator.random()))

    def reserved(self, low: float, high: float) -> float:
        """Logarithmic draw whose upper middle part belongs to held-out clips alone."""
        position = float(self.generator.random())
        start, stop = _RESERVED
        if self.is_held_out:
            position = start + position * (stop - start)
        else:
            position *= 1 - (stop - start)
            position += (stop - start) if position > start else 0.0
        return low * math.exp(math.log(high / low) * position)

    def integer(self, low: int, high: int) -> int:
        """Uniform whole number from `low` to `high`, both included."""
        return int(self.generator.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return bool(self.generator.random() < probability)

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[int(self.generator.integers(len(choices)))]

    def colour(
        self,
        hue: tuple[float, float] = (0.0, 1.0),
        saturation: tuple[float, float] = (0.15, 0.8),
        value: tuple[float, float] = (0.3, 0.95),
    ) -> Colour:
        """RGB in [0, 1] from ranges of hue (1 is a full turn), saturation and value."""
        return colorsys.hsv_to_rgb(self.between(*hue) % 1.0, self.between(*saturation), self.between(*value))

    def fork(self) -> int:
        """Seed of an independent stream."""
        return int(self.generator.integers(2**31))
