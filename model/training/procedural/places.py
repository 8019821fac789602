"""Backgrounds: rooms, landscapes, tables and plain walls, with things lying about."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from model.training.procedural.canvas import Pen, soften
from model.training.procedural.tools import WOOD

if TYPE_CHECKING:
    from model.training.procedural.canvas import Canvas, Field
    from model.training.procedural.dice import Colour, Dice


def paint_place(canvas: Canvas, dice: Dice) -> float:
    """Paint a background and return the height (scene units) where things stand on the ground."""
    place = dice.pick((paint_room, paint_room, paint_landscape, paint_landscape, paint_table, paint_studio, paint_wall))
    return place(canvas, dice)


def paint_marks(canvas: Canvas, dice: Dice) -> None:
    """Lines of small signs, like text on a poster or a caption."""
    at = (dice.between(0.1, canvas.aspect - 0.3), dice.pick((dice.between(0.05, 0.2), dice.between(0.85, 0.95))))
    pen = Pen(canvas, at, size=dice.between(0.2, 0.5))
    colour = dice.pick(((0.05, 0.05, 0.05), (0.95, 0.95, 0.95), dice.colour()))
    for row in range(dice.integer(1, 2)):
        u = 0.0
        for _ in range(dice.integer(4, 9)):
            width = dice.between(0.02, 0.09)
            canvas.wash(canvas.cover(pen.box(u + width / 2, row * 0.13, width / 2, 0.03, corner=0.01)), colour)
            u += width + dice.between(0.015, 0.04)


def finish(canvas: Canvas, dice: Dice) -> None:
    """Light falling over the whole scene, lens shading and film grain."""
    lamp_x, lamp_y = dice.between(0.0, canvas.aspect), dice.between(0.0, 0.6)
    falloff = np.exp(-((canvas.x - lamp_x) ** 2 + (canvas.y - lamp_y) ** 2) / 0.9)
    canvas.scale_light((0.86 + dice.between(0.05, 0.3) * falloff).astype(np.float32))
    off_centre = (canvas.x / canvas.aspect - 0.5) ** 2 + (canvas.y - 0.5) ** 2
    canvas.scale_light(1.0 - np.float32(dice.between(0.0, 0.6)) * off_centre)
    tint = np.array([dice.between(0.92, 1.08), 1.0, dice.between(0.9, 1.1)], np.float32)
    canvas.rgb *= tint[:, None, None] * np.float32(dice.between(0.8, 1.15))
    contrast = dice.between(0.85, 1.2)
    canvas.rgb -= 0.5
    canvas.rgb *= np.float32(contrast)
    canvas.rgb += 0.5
    grain = np.random.default_rng(dice.fork()).standard_normal(canvas.x.shape, dtype=np.float32)
    canvas.rgb += np.float32(dice.between(0.0, 0.025)) * grain


def _blend(canvas: Canvas, top: Colour, bottom: Colour, amount: Field) -> None:
    """Fill the picture between two colours."""
    first = np.asarray(top, np.float32)[:, None, None]
    canvas.rgb[...] = first + (np.asarray(bottom, np.float32)[:, None, None] - first) * amount


def _planks(canvas: Canvas, dice: Dice, *, below: float, colour: Colour, perspective: bool) -> None:
    """Boards below a height."""
    depth = np.maximum(canvas.y - below, 0.0) + 0.08
    along = (canvas.x - canvas.aspect / 2) / depth if perspective else canvas.y * 9
    gaps = np.abs((along * (0.5 if perspective else 1.0)) % 1.0 - 0.5)
    texture = 1.0 + 0.12 * canvas.grain(dice.fork(), angle=1.57 if perspective else 0.0, cells=40.0)
    texture = texture * np.where(gaps < 0.03, 0.65, 1.0) * (0.75 + 0.4 * np.minimum(depth, 0.6))
    mask = canvas.cover(below - canvas.y)
    canvas.wash(mask, np.asarray(colour, np.float32)[:, None, None] * texture.astype(np.float32))


def paint_room(canvas: Canvas, dice: Dice) -> float:
    """A wall with paper, bricks or paint above a floor."""
    floor = dice.between(0.62, 0.85)
    wall = dice.colour(saturation=(0.05, 0.5), value=(0.4, 0.92))
    _blend(canvas, wall, (wall[0] * 0.8, wall[1] * 0.8, wall[2] * 0.82), canvas.y)
    texture = 1.0 + 0.05 * canvas.noise(dice.fork(), cells=5, octaves=4)
    design = dice.integer(0, 3)
    if design == 0:
        course = np.floor(canvas.y * 13)
        column = (canvas.x * 6.5 + 0.5 * (course % 2)) % 1.0
        mortar = ((canvas.y * 13) % 1.0 < 0.1) | (column < 0.05)
        tone = 1.0 + 0.12 * np.sin(course * 12.9 + np.floor(canvas.x * 6.5 + 0.5 * (course % 2)) * 78.2)
        texture = texture * np.where(mortar, 1.2, tone)
    elif design == 1:
        texture = texture * (1.0 + 0.08 * np.sign(np.sin(canvas.x * dice.between(15, 50))))
    elif design == 2:
        texture = texture * (1.0 + 0.09 * np.sign(np.sin(canvas.x * 25) * np.sin(canvas.y * 25)))
    canvas.scale_light(texture.astype(np.float32))
    if dice.chance(0.5):
        pane = Pen(canvas, (dice.between(0.2, 1.4), dice.between(0.2, 0.35)), size=dice.between(0.3, 0.5))
        canvas.solid(pane.box(0, 0, 0.5, 0.4), dice.colour(WOOD, (0.1, 0.5), (0.3, 0.9)), bevel=0.02)
        canvas.solid(pane.box(0, 0, 0.45, 0.35), dice.colour((0.5, 0.62), (0.1, 0.5), (0.6, 0.98)), bevel=0.01)
        if dice.chance(0.5):
            canvas.solid(pane.box(0, 0, 0.012, 0.36), (0.8, 0.8, 0.78), bevel=0.01)
    _planks(canvas, dice, below=floor, colour=dice.colour(WOOD, (0.1, 0.6), (0.3, 0.7)), perspective=True)
    canvas.solid(np.abs(canvas.y - floor) - 0.012, (0.85, 0.83, 0.8), bevel=0.01)
    return floor + 0.08


def paint_landscape(canvas: Canvas, dice: Dice) -> float:
    """Sky with clouds, far hills, and a meadow, sand or road."""
    horizon = dice.between(0.45, 0.72)
    sky = dice.colour((0.52, 0.64), (0.1, 0.65), (0.6, 0.98))
    if dice.chance(0.2):
        sky = dice.colour((0.95, 1.1), (0.3, 0.6), (0.6, 0.95))
    haze: Colour = (0.6 + 0.4 * sky[0], 0.6 + 0.4 * sky[1], 0.6 + 0.36 * sky[2])
    _blend(canvas, sky, haze, np.minimum(canvas.y / horizon, 1.0) ** 1.5)
    clouds = canvas.noise(dice.fork(), cells=3, octaves=5, persistence=0.55)
    cover = np.clip((clouds - dice.between(-0.2, 1.0)) * 0.9, 0, 0.9) * np.clip(1.2 - canvas.y / horizon, 0, 1)
    canvas.wash(cover.astype(np.float32), (0.98, 0.97, 0.96))
    for row in range(dice.integer(0, 2)):
        ridge = horizon - 0.1 + 0.05 * row + 0.05 * canvas.noise(dice.fork(), cells=1.5, octaves=3)[0][None, :]
        fade = 0.5 - 0.2 * row
        hill = dice.colour((0.2, 0.6), (0.1, 0.5), (0.3, 0.6))
        mixed = tuple(c * (1 - fade) + h * fade for c, h in zip(hill, haze, strict=True))
        texture = 1.0 + 0.1 * canvas.noise(dice.fork(), cells=15, octaves=3)
        canvas.wash(canvas.cover(ridge - canvas.y), np.asarray(mixed, np.float32)[:, None, None] * texture)
    ground = dice.colour((0.08, 0.4), (0.15, 0.7), (0.25, 0.75))
    depth = np.maximum(canvas.y - horizon, 0.0) + 0.03
    blades = canvas.noise(dice.fork(), cells=10, octaves=6, persistence=0.8)
    rows = np.sin(8.0 / depth + blades)
    texture = 0.85 + 0.14 * blades * np.minimum(depth * 5, 1.0) + 0.05 * rows + 0.2 * depth
    canvas.wash(
        canvas.cover(horizon - canvas.y), np.asarray(ground, np.float32)[:, None, None] * texture.astype(np.float32)
    )
    return min(horizon + 0.2, 0.9)


def paint_table(canvas: Canvas, dice: Dice) -> float:
    """A table top before an unfocused background with spots of light."""
    edge = dice.between(0.5, 0.75)
    dim = dice.colour(value=(0.15, 0.6), saturation=(0.1, 0.5))
    blur = canvas.noise(dice.fork(), cells=2.0, octaves=2)
    canvas.rgb[...] = np.asarray(dim, np.float32)[:, None, None] * (1.0 + 0.3 * blur)
    for _ in range(dice.integer(2, 7)):
        pen = Pen(canvas, (dice.between(0, 1.6), dice.between(0.0, edge)), size=1.0)
        spot = canvas.cover(pen.disc(0, 0, dice.between(0.03, 0.12)), softness=0.02)
        canvas.wash(spot * np.float32(dice.between(0.1, 0.5)), dice.colour(value=(0.6, 1.0)))
    _planks(canvas, dice, below=edge, colour=dice.colour(WOOD, (0.2, 0.7), (0.35, 0.8)), perspective=dice.chance(0.5))
    return edge + 0.1


def paint_studio(canvas: Canvas, dice: Dice) -> float:
    """A smooth backdrop."""
    base = dice.colour(saturation=(0.0, 0.6), value=(0.3, 0.97))
    glow = np.exp(-((canvas.x - canvas.aspect / 2) ** 2 + (canvas.y - 0.45) ** 2) / dice.between(0.2, 0.8))
    canvas.rgb[...] = np.asarray(base, np.float32)[:, None, None] * (0.65 + 0.45 * glow)
    return dice.between(0.75, 0.88)


def paint_wall(canvas: Canvas, dice: Dice) -> float:
    """Stone, cloth or foliage that fills the picture."""
    base = dice.colour(saturation=(0.05, 0.6), value=(0.3, 0.8))
    rough = canvas.noise(dice.fork(), cells=dice.octaves(2, 14), octaves=5, persistence=dice.between(0.45, 0.8))
    texture = 1.0 + dice.between(0.05, 0.28) * rough
    if dice.chance(0.4):
        turn = dice.between(0, math.pi)
        thread = np.sin((canvas.x * math.cos(turn) + canvas.y * math.sin(turn)) * dice.between(20, 120))
        texture = texture * (1.0 + dice.between(0.03, 0.2) * thread)
    if dice.chance(0.3):
        texture = soften(texture, 3.0)
    canvas.rgb[...] = np.asarray(base, np.float32)[:, None, None] * texture.astype(np.float32)
    return dice.between(0.75, 0.9)
