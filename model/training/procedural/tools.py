"""Things that strike, are struck, shoot or roll."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.training.procedural.canvas import Pen, union, without
from model.training.procedural.drawn import Drawn

if TYPE_CHECKING:
    from model.training.procedural.canvas import Field
    from model.training.procedural.dice import Dice

WOOD = (0.05, 0.11)  # hues
BLACK = (0.06, 0.06, 0.07)


def wood(pen: Pen, dice: Dice, *, angle: float = 0.0) -> Field:
    """Grain of a wooden part, as a factor of its colour."""
    return 1.0 + 0.13 * pen.canvas.grain(dice.fork(), angle=pen.angle + angle, cells=28.0 / max(pen.size, 0.2) * 0.5)


def worn(pen: Pen, dice: Dice, *, amount: float = 0.08) -> Field:
    """Blotches of a used surface, as a factor of its colour."""
    return 1.0 + np.float32(amount) * pen.canvas.noise(dice.fork(), cells=5.0, octaves=7, persistence=0.65)


def hammer(pen: Pen, dice: Dice) -> Drawn:
    """A hammer over a nail in a block: the handle is held at the right, the head falls at the left."""
    block = pen.box(-0.34, 0.47, 0.3, 0.1, corner=0.01)
    struck = pen.canvas.solid(block, dice.colour(WOOD, (0.3, 0.6), (0.45, 0.75)), bevel=0.03, texture=wood(pen, dice))
    steel = dice.colour((0.55, 0.65), (0.02, 0.12), (0.65, 0.8))
    nail = union(pen.rod((-0.34, 0.3), (-0.34, 0.4), 0.012), pen.box(-0.34, 0.285, 0.035, 0.012, corner=0.008))
    nail_mask = pen.canvas.solid(nail, steel, bevel=0.012 * pen.size, gloss=0.5)
    arm = pen.turned(0.42, 0.28, angle=dice.between(0.1, 0.3))
    handle = arm.rod((0.06, 0.0), (-0.72, -0.03), 0.042, 0.03)
    head = union(
        arm.box(-0.76, 0.0, 0.062, 0.17, corner=0.02),
        arm.box(-0.76, 0.14, 0.08, 0.05, corner=0.02),
        arm.polygon([(-0.8, -0.15), (-0.72, -0.15), (-0.66, -0.27), (-0.7, -0.28)], rounding=0.01),
    )
    outline = union(handle, head)
    pen.canvas.shadow(pen.canvas.cover(outline), reach=0.05 * pen.size, strength=0.35)
    grip = arm.rod((0.06, 0.0), (-0.22, -0.009), 0.05, 0.046)
    ribs = 1.0 - 0.3 * np.exp(-(((arm.u * 26.0) % 1.0 - 0.5) ** 2) / 0.03)
    pen.canvas.solid(
        handle, dice.colour(WOOD, (0.45, 0.75), (0.55, 0.8)), bevel=0.04 * pen.size, texture=wood(arm, dice)
    )
    pen.canvas.solid(grip, dice.colour(value=(0.2, 0.6)), bevel=0.05 * pen.size, texture=ribs * worn(pen, dice))
    pen.canvas.solid(head, steel, bevel=0.06 * pen.size, gloss=0.6, texture=worn(pen, dice))
    swing = pen.canvas.cover(outline)
    return Drawn(
        np.maximum(swing, struck),
        pen.size,
        pen.angle,
        parts={"swing": swing, "struck": np.maximum(struck, nail_mask)},
        points={"pivot": arm.point(0.06, 0.0), "contact": pen.point(-0.34, 0.28)},
    )


def drum(pen: Pen, dice: Dice) -> Drawn:
    """A drum and one stick, held at the right."""
    shell = union(pen.box(-0.1, 0.2, 0.36, 0.2, corner=0.03), pen.ellipse(-0.1, 0.4, 0.36, 0.09))
    colour = dice.colour(saturation=(0.4, 0.9), value=(0.4, 0.85))
    struck = pen.canvas.solid(shell, colour, bevel=0.2 * pen.size, texture=worn(pen, dice))
    for u in (-0.38, -0.24, -0.1, 0.04, 0.18):
        pen.canvas.solid(pen.rod((u, 0.06), (u + 0.02, 0.38), 0.009), (0.8, 0.8, 0.82), bevel=0.01, gloss=0.4)
    skin = pen.ellipse(-0.1, 0.0, 0.38, 0.11)
    pen.canvas.solid(skin - 0.025 * pen.size, (0.75, 0.75, 0.78), bevel=0.02, gloss=0.5)
    skin_mask = pen.canvas.solid(skin, (0.93, 0.9, 0.84), bevel=0.05 * pen.size, texture=worn(pen, dice, amount=0.03))
    arm = pen.turned(0.5, -0.18, angle=dice.between(-0.35, -0.15))
    stick = union(arm.rod((0.04, 0.0), (-0.5, 0.03), 0.026, 0.018), arm.ellipse(-0.52, 0.03, 0.04, 0.028))
    pen.canvas.shadow(pen.canvas.cover(stick), reach=0.06 * pen.size, strength=0.4)
    swing = pen.canvas.solid(
        stick, dice.colour(WOOD, (0.3, 0.6), (0.65, 0.9)), bevel=0.025 * pen.size, texture=wood(arm, dice)
    )
    struck = np.maximum(struck, skin_mask)
    return Drawn(
        np.maximum(struck, swing),
        pen.size,
        pen.angle,
        parts={"swing": swing, "struck": struck},
        points={"pivot": arm.point(0.04, 0.0), "contact": pen.point(-0.05, 0.0)},
    )


def ball(pen: Pen, dice: Dice) -> Drawn:
    """A ball that bounces on the ground, with stripes or patches."""
    disc = pen.disc(0.0, 0.0, 0.42)
    texture = worn(pen, dice, amount=0.05)
    design = dice.integer(0, 3)
    if design == 0:
        seams = np.minimum(np.abs(pen.u), np.abs(np.hypot(pen.u - 0.5, pen.v) - 0.42))
        texture = texture * np.where(seams < 0.02, 0.3, 1.0).astype(np.float32)
    elif design == 1:
        texture = texture * np.where(np.sin(pen.u * 14 + 3 * pen.v * pen.v) > 0, 1.0, 0.55).astype(np.float32)
    elif design == 2:
        cells = np.sin(pen.u * 13) * np.sin(pen.v * 13)
        texture = texture * np.clip(1.0 - 2.0 * np.maximum(cells - 0.35, 0), 0.2, 1).astype(np.float32)
    pen.canvas.shadow(pen.canvas.cover(pen.ellipse(0.0, 0.4, 0.36, 0.09)), reach=0.04, strength=0.6)
    mask = pen.canvas.solid(
        disc, dice.colour(saturation=(0.1, 0.9), value=(0.5, 0.95)), bevel=0.42 * pen.size, gloss=0.4, texture=texture
    )
    return Drawn(mask, pen.size, pen.angle, parts={"swing": mask}, points={"contact": pen.point(0.0, 0.42)})


def pins(pen: Pen, dice: Dice) -> Drawn:
    """Bowling pins with the ball arriving at their left."""
    mask = np.zeros_like(pen.u)
    for row, u in ((0, -0.02), (0, 0.24), (0, 0.5), (1, 0.1), (1, 0.36)):
        base = 0.3 + 0.12 * row
        body = union(
            pen.ellipse(u, base, 0.085, 0.17),
            pen.rod((u, base - 0.1), (u, base - 0.33), 0.04, 0.035),
            pen.disc(u, base - 0.36, 0.058),
            blend=0.05 * pen.size,
        )
        pen.canvas.shadow(pen.canvas.cover(body), reach=0.03 * pen.size, strength=0.3)
        mask = np.maximum(mask, pen.canvas.solid(body, (0.92, 0.9, 0.85), bevel=0.07 * pen.size, gloss=0.3))
        stripe = np.maximum(body, np.abs(pen.v - base + 0.28) * pen.size - 0.018 * pen.size)
        pen.canvas.solid(stripe, (0.8, 0.1, 0.1), bevel=0.03 * pen.size)
    disc = pen.disc(-0.34, 0.33, 0.19)
    swing = pen.canvas.solid(
        disc,
        dice.colour(saturation=(0.5, 0.9), value=(0.15, 0.6)),
        bevel=0.19 * pen.size,
        gloss=0.7,
        texture=worn(pen, dice),
    )
    for u, v in ((-0.37, 0.25), (-0.31, 0.24), (-0.33, 0.3)):
        pen.canvas.solid(pen.disc(u, v, 0.02), BLACK, bevel=0.01)
    return Drawn(
        np.maximum(mask, swing),
        pen.size,
        pen.angle,
        parts={"swing": swing, "struck": mask},
        points={"contact": pen.point(-0.1, 0.3)},
    )


def gun(pen: Pen, dice: Dice) -> Drawn:
    """A pistol or a machine gun; the muzzle is at the right."""
    is_long = dice.chance(0.5)
    metal = dice.colour((0.55, 0.7), (0.0, 0.25), (0.15, 0.5))
    if is_long:
        barrel = union(
            pen.box(0.25, -0.1, 0.25, 0.022), pen.box(0.02, -0.08, 0.2, 0.065), pen.box(0.3, -0.1, 0.1, 0.04)
        )
        stock = pen.polygon([(-0.5, -0.08), (-0.15, -0.13), (-0.12, -0.02), (-0.47, 0.14)], rounding=0.01)
        grip = union(
            pen.polygon([(-0.12, -0.03), (-0.03, -0.03), (-0.09, 0.17), (-0.18, 0.16)], rounding=0.01),
            pen.polygon([(0.06, -0.03), (0.15, -0.03), (0.22, 0.22), (0.13, 0.25)], rounding=0.01),
        )
        muzzle = (0.5, -0.1)
    else:
        barrel = union(pen.box(0.06, -0.13, 0.4, 0.085, corner=0.02), pen.box(0.42, -0.235, 0.02, 0.025))
        stock = pen.polygon([(-0.33, -0.06), (-0.08, -0.06), (-0.15, 0.36), (-0.4, 0.36)], rounding=0.02)
        ring = pen.disc(0.04, 0.04, 0.11)
        grip = without(ring, pen.disc(0.04, 0.04, 0.08))
        muzzle = (0.47, -0.13)
    outline = union(barrel, stock, grip)
    pen.canvas.shadow(pen.canvas.cover(outline), reach=0.06 * pen.size, strength=0.4)
    handle = dice.colour(WOOD, (0.3, 0.7), (0.3, 0.6)) if dice.chance(0.5) else metal
    pen.canvas.solid(stock, handle, bevel=0.05 * pen.size, texture=wood(pen, dice, angle=0.2))
    pen.canvas.solid(grip, metal, bevel=0.03 * pen.size)
    pen.canvas.solid(barrel, metal, bevel=0.05 * pen.size, gloss=0.45, texture=worn(pen, dice))
    groove = pen.box(-0.02, -0.11, 0.2, 0.012, corner=0.005)
    pen.canvas.wash(pen.canvas.cover(groove) * np.float32(0.5), BLACK)
    return Drawn(pen.canvas.cover(outline), pen.size, pen.angle, points={"muzzle": pen.point(*muzzle)})


def knife(pen: Pen, dice: Dice) -> Drawn:
    """A knife drawn across a whetstone."""
    stone = pen.box(0.0, 0.2, 0.46, 0.1, corner=0.02)
    body = pen.canvas.solid(
        stone,
        dice.colour((0.0, 0.6), (0.02, 0.2), (0.35, 0.6)),
        bevel=0.04 * pen.size,
        texture=worn(pen, dice, amount=0.15),
    )
    tool = pen.turned(0.0, 0.05, angle=dice.between(-0.35, -0.15))
    blade = tool.polygon([(-0.1, -0.06), (0.3, -0.05), (0.48, 0.05), (0.3, 0.06), (-0.1, 0.05)], rounding=0.004)
    handle = tool.rod((-0.14, 0.0), (-0.46, 0.02), 0.05, 0.06)
    outline = union(blade, handle)
    pen.canvas.shadow(pen.canvas.cover(outline), reach=0.05 * pen.size, strength=0.45)
    pen.canvas.solid(blade, (0.75, 0.77, 0.8), bevel=0.03 * pen.size, gloss=0.7)
    pen.canvas.solid(
        handle, dice.colour(WOOD, (0.2, 0.7), (0.15, 0.5)), bevel=0.05 * pen.size, texture=wood(tool, dice)
    )
    bow = pen.canvas.cover(outline)
    return Drawn(np.maximum(body, bow), pen.size, tool.angle, parts={"bow": bow, "body": body})


def bomb(pen: Pen, dice: Dice) -> Drawn:
    """Something about to explode: a barrel, a round bomb or a cone of rock."""
    design = dice.integer(0, 2)
    if design == 0:
        outline = union(
            pen.box(0.0, 0.0, 0.3, 0.4, corner=0.05), pen.ellipse(0, -0.4, 0.3, 0.08), pen.ellipse(0, 0.4, 0.3, 0.08)
        )
        rings = 1.0 - 0.35 * np.exp(-(((np.abs(pen.v) - 0.18) / 0.02) ** 2))
        mask = pen.canvas.solid(
            outline, dice.colour(), bevel=0.25 * pen.size, gloss=0.2, texture=rings * worn(pen, dice)
        )
    elif design == 1:
        pen.canvas.solid(pen.rod((0.15, -0.3), (0.28, -0.47), 0.02), (0.7, 0.6, 0.4), bevel=0.02)
        outline = union(pen.disc(0.0, 0.06, 0.38), pen.turned(0.14, -0.28, angle=0.5).box(0, 0, 0.09, 0.06))
        mask = pen.canvas.solid(outline, dice.colour(value=(0.1, 0.4)), bevel=0.35 * pen.size, gloss=0.6)
    else:
        outline = pen.polygon([(-0.5, 0.45), (-0.12, -0.36), (0.12, -0.36), (0.5, 0.45)], rounding=0.02)
        texture = 1.0 + 0.25 * pen.canvas.noise(dice.fork(), cells=8.0, octaves=4, persistence=0.7)
        mask = pen.canvas.solid(
            outline, dice.colour((0.0, 0.12), (0.1, 0.4), (0.3, 0.6)), bevel=0.3 * pen.size, texture=texture
        )
    return Drawn(mask, pen.size, pen.angle, points={"centre": pen.point(0.0, 0.0)})


def car(pen: Pen, dice: Dice) -> Drawn:
    """A car seen from its side."""
    body = union(
        pen.box(0.0, 0.08, 0.48, 0.12, corner=0.06),
        pen.polygon([(-0.3, 0.0), (-0.2, -0.17), (0.14, -0.17), (0.28, 0.0)], rounding=0.03),
    )
    pen.canvas.shadow(pen.canvas.cover(pen.ellipse(0.0, 0.26, 0.48, 0.05)), reach=0.03, strength=0.6)
    mask = pen.canvas.solid(body, dice.colour(saturation=(0.3, 0.95)), bevel=0.1 * pen.size, gloss=0.5)
    for corners in (
        [(-0.24, -0.01), (-0.17, -0.13), (-0.04, -0.13), (-0.04, -0.01)],
        [(0.0, -0.01), (0.0, -0.13), (0.12, -0.13), (0.21, -0.01)],
    ):
        pen.canvas.solid(pen.polygon(corners, rounding=0.01), (0.5, 0.62, 0.72), bevel=0.02, gloss=0.5)
    for u in (-0.28, 0.28):
        pen.canvas.solid(pen.disc(u, 0.18, 0.1), BLACK, bevel=0.03 * pen.size)
        wheel = pen.canvas.solid(pen.disc(u, 0.18, 0.055), (0.7, 0.7, 0.72), bevel=0.05 * pen.size, gloss=0.4)
        mask = np.maximum(mask, np.maximum(wheel, pen.canvas.cover(pen.disc(u, 0.18, 0.1))))
    pen.canvas.wash(pen.canvas.cover(pen.disc(0.44, 0.06, 0.03)), (1.0, 0.95, 0.7))
    return Drawn(mask, pen.size, pen.angle)


def rocket(pen: Pen, dice: Dice) -> Drawn:
    """A rocket or a motor standing upright."""
    body = union(
        pen.box(0.0, 0.05, 0.13, 0.33, corner=0.04),
        pen.polygon([(-0.13, -0.24), (0.0, -0.48), (0.13, -0.24)], rounding=0.02),
    )
    fins = union(
        pen.polygon([(-0.12, 0.15), (-0.12, 0.36), (-0.27, 0.44)], rounding=0.01),
        pen.polygon([(0.12, 0.15), (0.12, 0.36), (0.27, 0.44)], rounding=0.01),
    )
    outline = union(body, fins)
    pen.canvas.solid(fins, dice.colour(saturation=(0.6, 0.95)), bevel=0.03 * pen.size)
    pen.canvas.solid(
        body,
        dice.colour(saturation=(0.0, 0.3), value=(0.7, 0.95)),
        bevel=0.13 * pen.size,
        gloss=0.3,
        texture=worn(pen, dice),
    )
    pen.canvas.solid(pen.disc(0.0, -0.1, 0.06), (0.3, 0.45, 0.6), bevel=0.03 * pen.size, gloss=0.6)
    return Drawn(pen.canvas.cover(outline), pen.size, pen.angle)
