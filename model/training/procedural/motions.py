"""Laws of motion: how a drawn object follows the score of its sound.

A law gives a few fields over the picture and a curve over the frames for each. Fields are `[4, H, W]`: motion right and
down in scene units, log gain, glow. What
the picture, the sound and the words cannot tell is never random: no law draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from model.training.procedural.canvas import soften
from model.training.procedural.rhythms import FPS, NUM_FRAMES, Score, at_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.training.procedural.canvas import Canvas, Field
    from model.training.procedural.drawn import Drawn, Point

    Motion = tuple[list[Field], list[Field]]
    Law = Callable[[Canvas, Drawn, Score], Motion]

# Longest displacement of a law, as a share of the subject's size.
REACH = {
    "impact": 0.15, "bark": 0.105, "bow": 0.15, "shot": 0.13, "horn": 0.1,
    "flow": 0.1, "wind": 0.13, "beat": 0.1, "boom": 0.1, "engine": 0.09,
}  # fmt: skip
_CLOSING_FRAMES = 12  # at that pace a closing mouth moves too slowly to look like another event
_RAISING_FRAMES = 11  # likewise of a hammer
_SOON_FRAMES = 13  # with less room than that, what opened or was raised moves back at once
_MIN_REACH, _MAX_REACH = 9.0 / 320, 30.0 / 320  # visible, and within what a warp can draw


def reach(kind: str, drawn: Drawn) -> float:
    """Displacement at the 99th percentile of the picture when the motion is largest, in scene units."""
    return min(max(REACH[kind] * drawn.size, _MIN_REACH), _MAX_REACH)


def move(kind: str, canvas: Canvas, drawn: Drawn, score: Score) -> Motion:
    """Fields `[4, H, W]` and curves `[48]` of the subject's law."""
    return _LAWS[kind](canvas, drawn, score)


def strike(score: Score) -> Field:
    """Height above contact, 0 to 1: raised between hits, falling within two frames, contact at the onset.

    Alone, a hit is raised slowly. Of hits that follow each other soon, each bounces back up at once, the last one too.
    """
    pose = np.zeros(NUM_FRAMES, np.float32)
    frame = np.arange(NUM_FRAMES)
    contacts = (-NUM_FRAMES, *score.contact_frames, 2 * NUM_FRAMES)
    for previous, contact, following, effort in zip(contacts, contacts[1:], contacts[2:], score.efforts, strict=False):
        gap = contact - previous
        fall = 1 if gap < 6 else 2
        height = effort * min(1.0, gap / 7.0) ** 0.5
        if gap <= _SOON_FRAMES:
            raised = 1.0 - np.exp(-(frame - previous) / _settling(gap))
        else:
            raised = np.maximum(1.0 - np.maximum(contact - fall - frame, 0) / _RAISING_FRAMES, 0.0)
        fallen = (np.maximum(frame - (contact - fall), 0) / fall) ** 3
        before = (frame > previous) & (frame < contact)
        pose[before] = np.maximum(pose, height * raised * (1.0 - fallen))[before]
        if gap <= _SOON_FRAMES < following - contact:
            after = np.arange(NUM_FRAMES - contact)
            sinking = np.maximum(1.0 - after / _CLOSING_FRAMES, 0.0)
            pose[contact:] = height * (1.0 - np.exp(-after / _settling(gap))) * sinking
    return pose


def pulse(score: Score, decay_s: float) -> Field:
    """1 at each contact frame, dying away after it: at the latest when the next may be expected."""
    curve = np.zeros(NUM_FRAMES, np.float32)
    for contact, strength, room in zip(score.contact_frames, score.efforts, _rooms(score), strict=True):
        after = np.arange(NUM_FRAMES - contact)
        curve[contact:] = strength * np.exp(-after / min(FPS * decay_s, _settling(room)))
    return curve


def opening(score: Score) -> Field:
    """Mouths and notes: open within a frame of the onset, hold, close evenly and slowly.

    Those that follow each other soon close at once, so that each opens from nearly nothing.
    """
    curve = np.zeros(NUM_FRAMES, np.float32)
    contacts = (*score.contact_frames, NUM_FRAMES + _CLOSING_FRAMES)
    rooms = _rooms(score)
    for number, (length, effort) in enumerate(zip(score.lengths_s, score.efforts, strict=True)):
        contact, gap = contacts[number], contacts[number + 1] - contacts[number]
        after = np.arange(NUM_FRAMES - contact)
        if rooms[number] <= _SOON_FRAMES:
            curve[contact:] = effort * np.exp(-after / _settling(rooms[number]))
        else:
            hold = int(np.clip(round(length * FPS) - 3, 0, gap - 1 - _CLOSING_FRAMES))
            curve[contact:] = effort * np.clip(1 - (after - hold) / _CLOSING_FRAMES, 0, 1)
    return curve


def _rooms(score: Score) -> list[int]:
    """Frames from each event to the nearest other one: all of a quick row move alike, its last one too."""
    contacts = np.asarray(score.contact_frames)
    gaps = np.diff(contacts, prepend=contacts[:1] - NUM_FRAMES, append=contacts[-1:] + NUM_FRAMES)
    return [int(room) for room in np.minimum(gaps[:-1], gaps[1:])]


def _settling(room: int) -> float:
    """Time constant, in frames, of what is to be still again before the next event, `room` frames later.

    Each event is then a burst of motion with stillness after it, at six a second as at one: seen one by one.
    """
    return 0.5 * max(room - 2, 1)


def circle(loudness: Field, hz: float) -> tuple[Field, Field]:
    """Two curves that go round together, as far as it is loud: every frame moves, and the speed tells the loudness."""
    turn = 2 * np.pi * hz * np.arange(NUM_FRAMES) / FPS
    return (loudness * np.cos(turn)).astype(np.float32), (loudness * np.sin(turn)).astype(np.float32)


def _field(
    canvas: Canvas, right: Field | float, down: Field | float, gain: Field | float = 0.0, glow: Field | float = 0.0
) -> Field:
    field = np.empty((4, canvas.height, canvas.width), np.float32)
    field[0], field[1], field[2], field[3] = right, down, gain, glow
    return field


def _sheet(canvas: Canvas, mask: Field, margin: float = 0.05) -> Field:
    """A mask grown and softened by `margin`, so that what moves takes its surroundings along and tears nothing."""
    width = max(3, round(margin / canvas.pixel))
    return soften(ndimage.maximum_filter(mask, size=width), width)


def _turn(canvas: Canvas, sheet: Field, pivot: Point) -> tuple[Field, Field]:
    """Motion of a small clockwise turn about a point."""
    return -(canvas.y - pivot[1]) * sheet, (canvas.x - pivot[0]) * sheet


def _grow(canvas: Canvas, sheet: Field, centre: Point) -> tuple[Field, Field]:
    """Motion of growing away from a point."""
    return (canvas.x - centre[0]) * sheet, (canvas.y - centre[1]) * sheet


def _extent(canvas: Canvas, mask: Field) -> tuple[Point, Point]:
    """Centre and half size of a mask."""
    weight = float(mask.sum()) + 1e-6
    x, y = float((canvas.x * mask).sum()) / weight, float((canvas.y * mask).sum()) / weight
    spread_x = math.sqrt(float((mask * (canvas.x - x) ** 2).sum()) / weight)
    spread_y = math.sqrt(float((mask * (canvas.y - y) ** 2).sum()) / weight)
    return (x, y), (1.8 * spread_x + 0.01, 1.8 * spread_y + 0.01)


def _spot(canvas: Canvas, at: Point, radius: float) -> Field:
    """A soft round spot."""
    return np.exp(-((canvas.x - at[0]) ** 2 + (canvas.y - at[1]) ** 2) / (radius * radius)).astype(np.float32)


def _impact(canvas: Canvas, drawn: Drawn, score: Score) -> Motion:
    swing = drawn.parts.get("swing", drawn.mask)
    sheet = _sheet(canvas, swing)
    centre, half = _extent(canvas, swing)
    contact = drawn.points.get("contact", (centre[0], centre[1] + half[1]))
    hit = pulse(score, 0.07)
    if "struck" in drawn.parts:
        # The struck thing lies under the sheet of what strikes it, and must not be lifted with it.
        sheet = sheet * (1.0 - 0.85 * drawn.parts["struck"] * (1.0 - swing))
    if "pivot" in drawn.points:
        lift = _turn(canvas, sheet, drawn.points["pivot"])  # positive turns raise what lies left of the pivot
    else:
        away = (centre[0] - contact[0], centre[1] - contact[1])
        length = math.hypot(*away) + 1e-6
        lift = (sheet * (away[0] / length), sheet * (away[1] / length))
    if "struck" in drawn.parts:
        struck = _sheet(canvas, drawn.parts["struck"], 0.03)
        if "pivot" in drawn.points:
            blow = _field(
                canvas, 0.0, struck * _spot(canvas, contact, 0.35 * drawn.size) * 0.3 * reach("impact", drawn)
            )
        else:
            right, down = _turn(canvas, struck, (centre[0], contact[1]))
            blow = _field(canvas, 0.6 * reach("impact", drawn) * struck + 0.1 * right, 0.2 * down)
            hit = pulse(score, 0.16)
    else:
        squash = 0.35 * reach("impact", drawn) / half[1]
        right, down = _grow(canvas, sheet, (centre[0], centre[1] + half[1]))
        blow = _field(canvas, 0.7 * squash * right, -squash * down)
    scale = np.float32(reach("impact", drawn) / (float(np.hypot(*lift).max()) + 1e-6))
    return [_field(canvas, lift[0] * scale, lift[1] * scale), blow], [strike(score), hit]


def _bark(canvas: Canvas, drawn: Drawn, score: Score) -> Motion:
    centre, half = _extent(canvas, drawn.mask)
    mouth_at = drawn.points.get("mouth", (centre[0], centre[1] + 0.3 * half[1]))
    if "jaw" in drawn.parts:
        jaw, skull, mouth = drawn.parts["jaw"], drawn.parts["skull"], drawn.parts["mouth"]
    else:
        below = np.clip(0.5 + (canvas.y - mouth_at[1]) / 0.05, 0, 1)
        near = np.exp(-(((canvas.x - mouth_at[0]) / (0.7 * half[0])) ** 2))
        jaw, skull = drawn.mask * below * near, drawn.mask * (1 - below)
        mouth = np.exp(-(((canvas.x - mouth_at[0]) / (0.35 * half[0])) ** 2) - ((canvas.y - mouth_at[1]) / 0.03) ** 2)
    jaw, skull = _sheet(canvas, jaw.astype(np.float32), 0.035), _sheet(canvas, skull.astype(np.float32), 0.035)
    size = reach("bark", drawn)
    dark = _sheet(canvas, mouth.astype(np.float32), 0.04)
    down = size * (jaw - 0.4 * skull)
    open_mouth = _field(canvas, 0.0, down, -0.9 * dark)
    neck = drawn.points.get("neck", (centre[0], centre[1] + half[1]))
    right, up = _grow(canvas, _sheet(canvas, drawn.mask), neck)
    swell_size = 0.35 * size / max(half[1], 0.05)
    curve = opening(score)
    slow = ndimage.uniform_filter1d(curve, 3, origin=-1, mode="nearest")
    return [open_mouth, _field(canvas, swell_size * right, swell_size * up)], [curve, np.maximum(slow, 0.5 * curve)]


def _bow(canvas: Canvas, drawn: Drawn, score: Score) -> Motion:
    loudness = at_frames(score.loudness) if score.loudness is not None else np.ones(NUM_FRAMES, np.float32)
    turns = np.searchsorted(score.turns_s, np.arange(NUM_FRAMES) / FPS, side="right")
    sign = np.where(turns % 2 == 0, 1.0, -1.0).astype(np.float32)
    travel = np.cumsum(sign * loudness) * np.float32(0.18)
    bow = _sheet(canvas, drawn.parts.get("bow", drawn.mask), 0.04)
    body = _sheet(canvas, drawn.parts.get("body", drawn.mask), 0.05) * (1 - 0.8 * bow)
    along = (math.cos(drawn.angle), math.sin(drawn.angle))
    size = reach("bow", drawn)
    stroke = _field(canvas, size * along[0] * bow, size * along[1] * bow)
    sway = _field(canvas, 0.2 * size * body, 0.0)
    return [stroke, sway], [travel, ndimage.uniform_filter1d(travel, 3, mode="nearest")]


def _shot(canvas: Canvas, drawn: Drawn, score: Score) -> Motion:
    sheet = _sheet(canvas, drawn.mask)
    centre, half = _extent(canvas, drawn.mask)
    muzzle = drawn.points.get("muzzle", (centre[0] + half[0], centre[1]))
    size = reach("shot", drawn)
    along = (math.cos(drawn.angle), math.sin(drawn.angle))
    right, down = _turn(canvas, sheet, (centre[0] - 0.5 * half[0], centre[1] + half[1]))
    rise = -0.6 * size / max(half[0], 0.05)
    recoil = _field(canvas, -size * along[0] * sheet + rise * right, -size * along[1] * sheet + rise * down)
    flash = _spot(
        canvas, (muzzle[0] + 0.1 * drawn.size * along[0], muzzle[1] + 0.1 * drawn.size * along[1]), 0.15 * drawn.size
    )
    light = _field(canvas, 0.0, 0.0, 0.4 * flash, 0.9 * flash)
    return [recoil, light], [pulse(score, 0.12), pulse(score, 0.03)]


def _horn(canvas: Canvas, drawn: Drawn, score: Score) -> Motion:
    centre, half = _extent(canvas, drawn.mask)
    whole = _sheet(canvas, drawn.mask)
    size = reach("horn", drawn)
    right, down = _turn(canvas, whole, drawn.points.get("root", (centre[0] - half[0], centre[1])))
    raise_bell = -size / max(2 * half[0], 0.05)
    lift = _field(canvas, raise_bell * right, raise_bell * down, 0.08 * whole)
    along = (math.cos(drawn.angle), math.sin(drawn.angle))
    if score.pitch is None or "slide" not in drawn.parts:
        return [lift], [opening(score)]
    slide_mask = _sheet(canvas, drawn.parts["slide"], 0.04)
    slide = _field(canvas, 0.7 * size * along[0] * slide_mask, 0.7 * size * along[1] * slide_mask)
    return [lift, slide], [opening(score), -at_frames(score.pitch)]  # lower notes push the slide out


def _flow(canvas: Canvas, drawn: Drawn, score: Score) -> Motion:
    water = drawn.parts.get("water", drawn.mask)
    sheet = _sheet(canvas, water, 0.03)
    size = reach("flow", drawn)
    curves = circle(_loudness(score), 1.5)
    if "centre" in drawn.points:
        right, down = _turn(canvas, sheet, drawn.points["centre"])
        _, half = _extent(canvas, water)
        swirl = 1.3 * size / max(half[0], 0.05)
        first = _field(canvas, 0.5 * size * sheet, 0.0)
        return [first, _field(canvas, swirl * right, swirl * down)], list(curves)
    phase = 2 * np.pi * canvas.x / 0.55
    fields = [
        _field(canvas, 0.6 * size * np.cos(phase) * sheet, size * np.sin(phase) * sheet),
        _field(canvas, 0.6 * size * np.sin(phase) * sheet, -size * np.cos(phase) * sheet),
    ]
    return fields, list(curves)


def _wind(canvas: Canvas, drawn: Drawn, score: Score) -> Motion:
    centre, half = _extent(canvas, drawn.mask)
    sheet = _sheet(canvas, drawn.mask)
    root = drawn.points.get("root", (centre[0], centre[1] + half[1]))
    far = np.clip(np.hypot(canvas.x - root[0], canvas.y - root[1]) / (2 * max(half)), 0, 1.2)
    size = reach("wind", drawn)
    loudness = _loudness(score)
    lean = _field(canvas, 0.8 * size * far**1.5 * sheet, 0.15 * size * far * sheet)
    phase = 2 * np.pi * (0.7 * canvas.x + canvas.y) / 0.6
    flutter = 0.45 * size * far * sheet
    first = _field(canvas, flutter * np.cos(phase), 0.6 * flutter * np.sin(phase))
    second = _field(canvas, flutter * np.sin(phase), -0.6 * flutter * np.cos(phase))
    return [lean, first, second], [loudness, *circle(loudness, 2.2)]


def _beat(canvas: Canvas, drawn: Drawn, score: Score) -> Motion:
    centre, half = _extent(canvas, drawn.mask)
    sheet = _sheet(canvas, drawn.mask)
    if "root" in drawn.points:
        # Who dances goes down at the knees; the feet stay where they are.
        right, down = _grow(canvas, sheet, drawn.points["root"])
        dip = reach("beat", drawn) / max(2 * half[1], 0.05)
        field = _field(canvas, 0.4 * dip * right, -dip * down)
    else:
        right, down = _grow(canvas, sheet, drawn.points.get("centre", centre))
        size = reach("beat", drawn) / max(*half, 0.05)
        field = _field(canvas, size * right, size * down)
    return [field], [pulse(score, 0.2)]


def _boom(canvas: Canvas, drawn: Drawn, score: Score) -> Motion:
    centre, half = _extent(canvas, drawn.mask)
    at = drawn.points.get("centre", centre)
    radius = 1.05 * max(half)
    fire = _spot(canvas, at, radius)
    right, down = _grow(canvas, _spot(canvas, at, radius), at)
    size = 2.3 * reach("boom", drawn) / radius
    blast = _field(canvas, size * right, size * down)
    return [blast, _field(canvas, 0.0, 0.0, 0.3 * fire, 0.8 * fire)], [pulse(score, 0.22), pulse(score, 0.16)]


def _engine(canvas: Canvas, drawn: Drawn, score: Score) -> Motion:
    sheet = _sheet(canvas, drawn.mask)
    size = reach("engine", drawn)
    curves = circle(_loudness(score), 4.5)
    return [_field(canvas, 0.7 * size * sheet, 0.0), _field(canvas, 0.0, size * sheet)], list(curves)


def _loudness(score: Score) -> Field:
    """Loudness at the frames."""
    return at_frames(score.loudness) if score.loudness is not None else np.ones(NUM_FRAMES, np.float32)


def largest(fields: Sequence[Field], curves: Sequence[Field]) -> float:
    """Displacement at the 99th percentile of the cells in the frame where it is largest; fields are `[4, h, w]`."""
    stack = np.stack([field[:2].reshape(2, -1) for field in fields])
    moved = np.stack([curve - curve[0] for curve in curves])
    length = np.hypot(*np.einsum("kt,kcp->ctp", moved, stack))
    return float(np.partition(length, -2, axis=1)[:, -2].max())


_LAWS: dict[str, Law] = {
    "impact": _impact,
    "bark": _bark,
    "bow": _bow,
    "shot": _shot,
    "horn": _horn,
    "flow": _flow,
    "wind": _wind,
    "beat": _beat,
    "boom": _boom,
    "engine": _engine,
}
