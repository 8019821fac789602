"""What painting an object leaves behind for the law that moves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.training.procedural.canvas import Field

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A painted object.

    Args:
        mask: pixels it covers.
        parts: masks of the parts that move on their own (`swing`, `jaw`, `bow`, `slide`, ...).
        points: scene coordinates of what laws refer to (`pivot`, `muzzle`, `root`, `mouth`, ...).
        size: scene units per frame unit of the object.
        angle: how the object is turned, radians clockwise.
    """

    mask: Field
    size: float
    angle: float = 0.0
    parts: dict[str, Field] = field(default_factory=dict)
    points: dict[str, Point] = field(default_factory=dict)
