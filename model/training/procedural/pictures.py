"""Whole pictures: a place, a subject, things that only stand about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.training.procedural.canvas import Canvas, Pen
from model.training.procedural.catalogue import STAND_INS, SUBJECTS
from model.training.procedural.places import finish, paint_marks, paint_place

if TYPE_CHECKING:
    from model.training.procedural.catalogue import Painter, Subject
    from model.training.procedural.dice import Dice
    from model.training.procedural.drawn import Drawn

STAND_IN_SHARE = 0.22
_OWN_SHAPE = ("flow", "shot", "bow")  # the law shows only where its own parts are seen


def paint_scene(canvas: Canvas, subject: Subject, dice: Dice, *, stand_in_share: float = STAND_IN_SHARE) -> Drawn:
    """Paint a picture and return where its subject lies; a share of subjects is stood in for by a plain thing."""
    ground = paint_place(canvas, dice)
    if dice.chance(0.25):
        paint_marks(canvas, dice)
    for _ in range(dice.pick((0, 0, 1, 1, 2))):
        _paint_distractor(canvas, subject, dice, ground)
    stands_in = subject.kind not in _OWN_SHAPE and dice.chance(stand_in_share)
    painter: Painter = dice.pick(STAND_INS if stands_in else subject.painters)
    is_close = dice.chance(0.2)
    size = dice.between(0.85, 1.25) if is_close else dice.between(0.35, 0.85)
    x = canvas.aspect / 2 + dice.between(-0.28, 0.28)
    if subject.is_grounded and size < 0.7:
        y = min(ground - 0.44 * size + dice.between(0.0, 0.06), 0.95 - 0.45 * size)
    else:
        y = 0.5 + dice.between(-0.06, 0.1)
    tilt = dice.between(-0.12, 0.12)
    drawn = painter(Pen(canvas, (x, y if is_close else max(y, 0.45 * size)), size=size, angle=tilt), dice)
    finish(canvas, dice)
    return drawn


def _paint_distractor(canvas: Canvas, subject: Subject, dice: Dice, ground: float) -> None:
    """Paint something else, small and at the side: another subject or a plain thing."""
    others = [other for other in SUBJECTS if other.kind not in (subject.kind, "flow", "beat")]
    painter: Painter = dice.pick(dice.pick(others).painters) if dice.chance(0.45) else dice.pick(STAND_INS)
    size = dice.between(0.14, 0.3)
    x = dice.pick((dice.between(0.08, 0.35), dice.between(canvas.aspect - 0.35, canvas.aspect - 0.08)))
    painter(Pen(canvas, (x, ground - 0.4 * size + dice.between(-0.03, 0.1)), size=size, angle=0.0), dice)
