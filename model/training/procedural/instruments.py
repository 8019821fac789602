"""Instruments, vessels, plants, and plain things without a law of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.training.procedural.canvas import Pen, union, without
from model.training.procedural.dice import shade
from model.training.procedural.drawn import Drawn
from model.training.procedural.tools import BLACK, WOOD, wood, worn

if TYPE_CHECKING:
    from model.training.procedural.dice import Dice


def violin(pen: Pen, dice: Dice) -> Drawn:
    """A violin or cello with its bow across the strings."""
    canvas = pen.canvas
    varnish = dice.colour((0.03, 0.08), (0.65, 0.9), (0.45, 0.75))
    body = without(
        union(
            pen.ellipse(0.0, 0.27, 0.23, 0.19),
            pen.ellipse(0.0, -0.05, 0.18, 0.15),
            pen.box(0.0, 0.1, 0.15, 0.12),
            blend=0.04 * pen.size,
        ),
        pen.disc(-0.235, 0.1, 0.1),
        pen.disc(0.235, 0.1, 0.1),
    )
    neck = union(
        pen.box(0.0, -0.32, 0.024, 0.2),
        pen.rod((0.0, -0.44), (0.0, -0.52), 0.028, 0.022),
        pen.disc(0.0, -0.545, 0.036),
        pen.disc(-0.03, -0.53, 0.02),
    )
    for side, v in ((-1, -0.47), (1, -0.45), (-1, -0.505), (1, -0.49)):
        peg = union(pen.rod((0.0, v), (0.07 * side, v - 0.008), 0.009), pen.disc(0.078 * side, v - 0.01, 0.016))
        canvas.solid(peg, (0.16, 0.09, 0.06), bevel=0.012 * pen.size, gloss=0.3)
    canvas.shadow(canvas.cover(union(body, neck)), reach=0.05 * pen.size, strength=0.45)
    canvas.solid(body - 0.012 * pen.size, shade(varnish, 0.45), bevel=0.02 * pen.size)
    canvas.solid(body, varnish, bevel=0.07 * pen.size, gloss=0.3, texture=wood(pen, dice, angle=1.57))
    flame = canvas.grain(dice.fork(), angle=pen.angle, cells=34.0, stretch=14.0)
    canvas.scale_light(1.0 + 0.05 * flame * canvas.cover(body))
    purfling = np.abs(body + 0.022 * pen.size) - 0.003 * pen.size
    canvas.wash(canvas.cover(purfling) * np.float32(0.7), (0.2, 0.09, 0.04))
    rest = np.maximum(pen.ellipse(-0.1, 0.42, 0.085, 0.06), body)
    canvas.solid(rest, (0.1, 0.07, 0.06), bevel=0.05 * pen.size, gloss=0.4)
    canvas.solid(neck, (0.3, 0.16, 0.1), bevel=0.02 * pen.size)
    canvas.solid(pen.polygon([(-0.02, -0.5), (0.02, -0.5), (0.03, 0.06), (-0.03, 0.06)]), BLACK, bevel=0.01)
    canvas.solid(
        pen.polygon([(-0.015, 0.22), (0.015, 0.22), (0.035, 0.4), (-0.035, 0.4)], rounding=0.006), BLACK, bevel=0.01
    )
    canvas.solid(pen.box(0.0, 0.17, 0.06, 0.014), (0.85, 0.7, 0.45), bevel=0.01)
    for side in (-1, 1):
        hole = union(
            pen.rod((0.085 * side, 0.09), (0.1 * side, 0.2), 0.007),
            pen.disc(0.078 * side, 0.09, 0.012),
            pen.disc(0.107 * side, 0.2, 0.012),
        )
        canvas.wash(canvas.cover(hole), BLACK)
    for offset in (-0.018, -0.006, 0.006, 0.018):
        canvas.wash(
            canvas.cover(pen.rod((offset * 0.6, -0.48), (offset, 0.3), 0.0015), softness=canvas.pixel)
            * np.float32(0.6),
            (0.9, 0.9, 0.9),
        )
    stroke = pen.turned(0.0, 0.11, angle=-pen.angle + dice.between(-0.15, 0.15))
    hair = stroke.rod((-0.52, 0.0), (0.52, 0.0), 0.007)
    stick = union(stroke.rod((-0.54, -0.035), (0.54, -0.035), 0.012, 0.009), stroke.box(-0.47, -0.018, 0.04, 0.024))
    outline = union(hair, stick)
    canvas.shadow(canvas.cover(outline), reach=0.04 * pen.size, strength=0.4)
    canvas.solid(hair, (0.95, 0.93, 0.88), bevel=0.01)
    canvas.solid(stick, (0.35, 0.14, 0.07), bevel=0.012, gloss=0.3)
    bow, body_mask = canvas.cover(outline), canvas.cover(union(body, neck))
    return Drawn(np.maximum(body_mask, bow), pen.size, stroke.angle, parts={"bow": bow, "body": body_mask})


def horn(pen: Pen, dice: Dice) -> Drawn:
    """A trumpet with valves or a trombone with a slide, the bell at the right."""
    canvas = pen.canvas
    brass = dice.colour((0.1, 0.14), (0.5, 0.8), (0.7, 0.95))
    tube = union(
        pen.rod((-0.5, -0.06), (0.3, -0.06), 0.02),
        pen.rod((-0.3, 0.08), (0.2, 0.08), 0.02),
        without(pen.ellipse(-0.3, 0.01, 0.09, 0.09), pen.ellipse(-0.3, 0.01, 0.05, 0.05)),
    )
    bell = pen.polygon(
        [
            (0.22, -0.08),
            (0.36, -0.11),
            (0.44, -0.18),
            (0.5, -0.24),
            (0.5, 0.12),
            (0.44, 0.06),
            (0.36, -0.01),
            (0.22, -0.04),
        ],
        rounding=0.006,
    )
    has_slide = dice.chance(0.5)
    if has_slide:
        crook = without(pen.box(0.16, 0.08, 0.3, 0.08, corner=0.05), pen.box(0.14, 0.08, 0.28, 0.045, corner=0.03))
    else:
        crook = union(*(pen.box(u, 0.02, 0.032, 0.15, corner=0.02) for u in (-0.1, 0.0, 0.1)))
    mouthpiece = pen.rod((-0.5, -0.06), (-0.44, -0.06), 0.032, 0.02)
    outline = union(tube, bell, crook, mouthpiece)
    canvas.shadow(canvas.cover(outline), reach=0.05 * pen.size, strength=0.4)
    for part, bevel in ((tube, 0.02), (crook, 0.03), (mouthpiece, 0.03), (bell, 0.1)):
        canvas.solid(part, brass, bevel=bevel * pen.size, gloss=0.8, texture=worn(pen, dice, amount=0.05))
    canvas.wash(canvas.cover(pen.ellipse(0.5, -0.06, 0.025, 0.17)), shade(brass, 0.35))
    return Drawn(
        canvas.cover(outline),
        pen.size,
        pen.angle,
        parts={"slide": canvas.cover(crook)} if has_slide else {},
        points={"bell": pen.point(0.5, -0.06), "root": pen.point(-0.5, -0.06)},
    )


def water(pen: Pen, dice: Dice) -> Drawn:
    """A band of water across the picture."""
    canvas = pen.canvas
    shore = 0.02 * canvas.noise(dice.fork(), cells=3, octaves=3)
    distance = (pen.at[1] - canvas.y) + shore
    ripples = np.sin(canvas.y * 60 / (0.4 + canvas.y) + 3 * canvas.noise(dice.fork(), cells=4, octaves=3))
    texture = 1.0 + 0.2 * ripples + 0.12 * canvas.noise(dice.fork(), cells=10, octaves=3)
    mask = canvas.solid(distance, dice.colour((0.45, 0.63), (0.25, 0.8), (0.35, 0.85)), bevel=0.02, texture=texture)
    return Drawn(mask, pen.size, parts={"water": mask})


def bowl(pen: Pen, dice: Dice) -> Drawn:
    """A bowl, basin or toilet with water in it, seen from above at a slant."""
    canvas = pen.canvas
    white = dice.colour(saturation=(0.0, 0.25), value=(0.75, 0.97))
    outer = union(pen.ellipse(0.0, 0.0, 0.46, 0.3), pen.ellipse(0.0, 0.16, 0.3, 0.3), blend=0.1 * pen.size)
    if dice.chance(0.5):
        canvas.solid(pen.box(0.0, -0.36, 0.34, 0.2, corner=0.04), white, bevel=0.05 * pen.size, gloss=0.2)
    canvas.shadow(canvas.cover(outer), reach=0.06, strength=0.45)
    mask = canvas.solid(outer, white, bevel=0.1 * pen.size, gloss=0.3)
    pool = pen.ellipse(0.0, 0.0, 0.37, 0.22)
    swirl = np.sin(3 * np.arctan2(pen.v / 0.22, pen.u / 0.37) + 9 * np.hypot(pen.u / 0.37, pen.v / 0.22))
    texture = 1.0 + 0.12 * swirl + 0.1 * canvas.noise(dice.fork(), cells=9, octaves=3)
    surface = canvas.solid(
        pool, dice.colour((0.48, 0.6), (0.2, 0.6), (0.5, 0.85)), bevel=0.03, gloss=0.2, texture=texture
    )
    return Drawn(mask, pen.size, parts={"water": surface}, points={"centre": pen.point(0.0, 0.0)})


def tree(pen: Pen, dice: Dice) -> Drawn:
    """A tree."""
    canvas = pen.canvas
    lean = dice.between(-0.05, 0.05)
    trunk = union(
        pen.rod((0.0, 0.5), (lean, -0.1), 0.06, 0.035),
        pen.rod((lean * 0.6, 0.05), (0.2, -0.18), 0.03, 0.015),
        pen.rod((lean * 0.4, 0.1), (-0.2, -0.12), 0.03, 0.015),
    )
    canvas.shadow(canvas.cover(pen.ellipse(0.0, 0.5, 0.3, 0.04)), reach=0.04, strength=0.5)
    canvas.solid(
        trunk, dice.colour(WOOD, (0.3, 0.6), (0.25, 0.5)), bevel=0.05 * pen.size, texture=wood(pen, dice, angle=1.57)
    )
    clumps = [pen.disc(dice.between(-0.28, 0.28), dice.between(-0.4, -0.06), dice.between(0.12, 0.2)) for _ in range(7)]
    leaves = union(*clumps, pen.disc(0.0, -0.24, 0.24), blend=0.03 * pen.size) + 0.02 * pen.size * canvas.noise(
        dice.fork(), cells=24, octaves=2
    )
    texture = 1.0 + 0.28 * canvas.noise(dice.fork(), cells=18, octaves=3, persistence=0.75)
    crown = canvas.solid(
        leaves, dice.colour((0.08, 0.4), (0.35, 0.8), (0.3, 0.7)), bevel=0.2 * pen.size, texture=texture
    )
    return Drawn(np.maximum(crown, canvas.cover(trunk)), pen.size, points={"root": pen.point(0.0, 0.5)})


def flag(pen: Pen, dice: Dice) -> Drawn:
    """A flag or a cloth on a pole; the pole is at the left."""
    canvas = pen.canvas
    canvas.solid(pen.rod((-0.36, 0.55), (-0.36, -0.47), 0.016), (0.6, 0.6, 0.62), bevel=0.015 * pen.size, gloss=0.4)
    cloth = pen.box(0.04, -0.2, 0.38, 0.24, corner=0.01) + 0.02 * pen.size * np.sin(pen.u * 14)
    folds = 1.0 + 0.18 * np.sin(pen.u * 17 + 2 * pen.v)
    mask = canvas.solid(cloth, dice.colour(saturation=(0.5, 0.95)), bevel=0.05 * pen.size, texture=folds)
    for row in range(dice.integer(0, 2)):
        stripe = np.maximum(cloth, (np.abs(pen.v + 0.3 - 0.2 * row) - 0.05) * pen.size)
        canvas.solid(stripe, dice.colour(), bevel=0.05, texture=folds)
    return Drawn(mask, pen.size, parts={"cloth": mask}, points={"root": pen.point(-0.36, 0.2)})


def speaker(pen: Pen, dice: Dice) -> Drawn:
    """A loudspeaker box."""
    canvas = pen.canvas
    box = pen.box(0.0, 0.0, 0.3, 0.46, corner=0.03)
    canvas.shadow(canvas.cover(box), reach=0.05, strength=0.45)
    mask = canvas.solid(box, dice.colour(value=(0.1, 0.6)), bevel=0.04 * pen.size, texture=wood(pen, dice, angle=1.57))
    for v, radius in ((0.14, 0.22), (-0.26, 0.11)):
        canvas.solid(pen.disc(0.0, v, radius), (0.35, 0.35, 0.37), bevel=0.03 * pen.size, gloss=0.4)
        canvas.solid(pen.disc(0.0, v, radius * 0.86), (0.12, 0.12, 0.13), bevel=radius * pen.size)
        canvas.solid(pen.disc(0.0, v, radius * 0.35), (0.25, 0.25, 0.27), bevel=radius * 0.35 * pen.size, gloss=0.3)
    return Drawn(mask, pen.size, points={"centre": pen.point(0.0, 0.0)})


def bottle(pen: Pen, dice: Dice) -> Drawn:
    """A bottle, a cup or a jar."""
    canvas = pen.canvas
    design = dice.integer(0, 2)
    if design == 0:
        outline = union(
            pen.box(0.0, 0.15, 0.16, 0.33, corner=0.05),
            pen.rod((0.0, -0.2), (0.0, -0.46), 0.055, 0.05),
            blend=0.12 * pen.size,
        )
    elif design == 1:
        ring = without(pen.ellipse(0.33, 0.05, 0.14, 0.16), pen.ellipse(0.33, 0.05, 0.085, 0.105))
        outline = union(pen.polygon([(-0.3, -0.26), (0.3, -0.26), (0.22, 0.34), (-0.22, 0.34)], rounding=0.04), ring)
    else:
        outline = union(
            pen.ellipse(0.0, 0.1, 0.32, 0.34), pen.box(0.0, -0.28, 0.17, 0.08, corner=0.03), blend=0.06 * pen.size
        )
    canvas.shadow(canvas.cover(outline), reach=0.06, strength=0.45)
    mask = canvas.solid(
        outline, dice.colour(), bevel=0.2 * pen.size, gloss=dice.between(0.1, 0.7), texture=worn(pen, dice)
    )
    if design == 1:
        canvas.solid(pen.ellipse(0.0, -0.26, 0.28, 0.06), (0.25, 0.14, 0.08), bevel=0.03 * pen.size)
    elif dice.chance(0.6):
        canvas.solid(
            np.maximum(outline + 0.01 * pen.size, (np.abs(pen.v - 0.16) - 0.12) * pen.size),
            dice.colour(value=(0.6, 0.98)),
            bevel=0.1,
        )
    return Drawn(mask, pen.size, pen.angle, points={"centre": pen.point(0.0, 0.0), "root": pen.point(0.0, 0.45)})


def blob(pen: Pen, dice: Dice) -> Drawn:
    """An object of no particular kind: a smooth, lumpy outline with a texture."""
    canvas = pen.canvas
    turn = np.arctan2(pen.v, pen.u)
    radius = 0.36 + sum(dice.between(-0.05, 0.05) * np.cos(n * turn + dice.between(0, 6.28)) for n in (1, 2, 3, 4, 5))
    distance = ((np.hypot(pen.u, pen.v * dice.between(0.8, 1.3)) - radius) * pen.size).astype(np.float32)
    canvas.shadow(canvas.cover(distance), reach=0.05, strength=0.4)
    texture = 1.0 + dice.between(0.05, 0.35) * canvas.noise(
        dice.fork(), cells=dice.octaves(3, 20), octaves=3, persistence=0.6
    )
    mask = canvas.solid(
        distance,
        dice.colour(),
        bevel=dice.between(0.08, 0.35) * pen.size,
        gloss=dice.between(0.0, 0.5),
        texture=texture,
    )
    if dice.chance(0.5):
        spot = pen.disc(dice.between(-0.15, 0.15), dice.between(-0.15, 0.15), dice.between(0.05, 0.14))
        canvas.solid(np.maximum(spot, distance), dice.colour(), bevel=0.05)
    return Drawn(mask, pen.size, pen.angle, points={"centre": pen.point(0.0, 0.0), "root": pen.point(0.0, 0.4)})
