"""Faces, animals and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.training.procedural.canvas import Pen, union, without
from model.training.procedural.dice import shade
from model.training.procedural.drawn import Drawn

if TYPE_CHECKING:
    from model.training.procedural.canvas import Field
    from model.training.procedural.dice import Colour, Dice

SKIN = ((0.03, 0.09), (0.25, 0.6), (0.4, 0.95))
FUR = ((0.04, 0.12), (0.05, 0.6), (0.2, 0.9))
DARK_MOUTH = (0.25, 0.06, 0.07)
_FOUND_AT, _FOUND_SIZE = 0.065, 0.335  # what a detector frames of a face: from the brows to the chin


def fur(pen: Pen, dice: Dice, *, amount: float = 0.16) -> Field:
    """Hairs that grow away from the middle of the head, and patches, as a factor of the colour."""
    canvas = pen.canvas
    patches = canvas.noise(dice.fork(), cells=5.0, octaves=7, persistence=0.7)
    way = _hair_direction(pen) + 0.05 * canvas.noise(dice.fork(), cells=4.0, octaves=2)
    locks = canvas.streaks(dice.fork(), way * 20.0)
    hairs = canvas.streaks(dice.fork(), way * 70.0)
    rooted = np.minimum(np.hypot(pen.u, pen.v) * 4.0, 1.0)
    coat: Field = 1.0 + np.float32(amount) * (rooted * (0.5 * locks + 0.5 * hairs) + 0.5 * patches)
    return coat


def tufts(pen: Pen, dice: Dice) -> Field:
    """What to add to an outline to make it one of fur: pointed tufts, in scene units."""
    bend = pen.canvas.noise(dice.fork(), cells=9.0, octaves=3)
    teeth = np.abs(((_hair_direction(pen) * 24.0 + 0.7 * bend) % 1.0) * 2.0 - 1.0)
    depth: Field = 0.022 * pen.size * (teeth - 0.5) * (1.0 + 0.5 * bend)
    return depth


def _hair_direction(pen: Pen) -> Field:
    """Angle around the head, from the chin; it jumps where the collar hides it."""
    direction: Field = np.arctan2(pen.u, -pen.v) + np.pi
    return direction


def eyes(pen: Pen, dice: Dice, *, apart: float, at: float, radius: float, colour: Colour = (0.96, 0.95, 0.92)) -> None:
    """Two eyes that look ahead."""
    iris = dice.colour(saturation=(0.3, 0.8), value=(0.2, 0.6))
    for u in (-apart, apart):
        socket = pen.ellipse(u, at, radius * 1.25, radius * 1.1)
        pen.canvas.scale_light(1.0 - 0.45 * pen.canvas.cover(socket, softness=radius * pen.size))
        pen.canvas.solid(pen.ellipse(u, at, radius, radius * 0.8), colour, bevel=radius * pen.size)
        pen.canvas.solid(pen.disc(u, at, radius * 0.66), iris, bevel=radius * 0.5 * pen.size)
        pen.canvas.solid(pen.disc(u, at, radius * 0.4), (0.03, 0.03, 0.04), bevel=radius * 0.3 * pen.size)
        pen.canvas.wash(
            pen.canvas.cover(pen.disc(u - radius * 0.2, at - radius * 0.25, radius * 0.16)), (1.0, 1.0, 1.0)
        )


def head_parts(pen: Pen, mask: Field, *, mouth_at: float, mouth: Field) -> Drawn:
    """Split a head at its mouth: what hangs below is the jaw, what stands above the skull."""
    below = np.clip(0.5 + (pen.v - mouth_at) / 0.06, 0.0, 1.0)
    near = np.exp(-(((pen.v - mouth_at) / 0.3) ** 2) - (pen.u / 0.36) ** 2)
    return Drawn(
        mask,
        pen.size,
        pen.angle,
        parts={"jaw": mask * below * near, "skull": mask * (1.0 - below), "mouth": mouth},
        points={"mouth": pen.point(0.0, mouth_at), "neck": pen.point(0.0, 0.6)},
    )


def face(pen: Pen, dice: Dice) -> Drawn:
    """A person's head and shoulders."""
    canvas = pen.canvas
    canvas.faces.append((*pen.point(0.0, _FOUND_AT), _FOUND_SIZE * pen.size))
    skin = dice.colour(*SKIN)
    cloth = dice.colour()
    shoulders = union(
        pen.ellipse(0.0, 0.82, 0.52, 0.3), pen.box(0.0, 0.52, 0.12, 0.14, corner=0.05), blend=0.06 * pen.size
    )
    canvas.solid(shoulders, cloth, bevel=0.2 * pen.size, texture=1.0 + 0.1 * canvas.grain(dice.fork(), cells=40))
    hair = dice.colour(*FUR)
    long_hair = dice.chance(0.4)
    back = pen.ellipse(0.0, 0.06 if long_hair else -0.1, 0.4, 0.52 if long_hair else 0.36)
    back_mask = canvas.solid(back, hair, bevel=0.2 * pen.size, texture=fur(pen, dice))
    canvas.solid(pen.box(0.0, 0.48, 0.12, 0.12, corner=0.04), shade(skin, 0.82), bevel=0.1 * pen.size)
    skull = union(pen.ellipse(0.0, -0.02, 0.33, 0.38), pen.ellipse(0.0, 0.2, 0.26, 0.24), blend=0.08 * pen.size)
    head = union(skull, pen.ellipse(-0.34, 0.03, 0.05, 0.09), pen.ellipse(0.34, 0.03, 0.05, 0.09))
    canvas.shadow(canvas.cover(skull), reach=0.05 * pen.size, strength=0.35)
    mask = canvas.solid(
        head, skin, bevel=0.3 * pen.size, gloss=0.08, texture=1.0 + 0.04 * canvas.noise(dice.fork(), cells=9, octaves=3)
    )
    canvas.wash(
        canvas.cover(pen.ellipse(-0.19, 0.14, 0.08, 0.06), softness=0.08 * pen.size) * np.float32(0.25),
        (0.85, 0.35, 0.3),
    )
    canvas.wash(
        canvas.cover(pen.ellipse(0.19, 0.14, 0.08, 0.06), softness=0.08 * pen.size) * np.float32(0.25),
        (0.85, 0.35, 0.3),
    )
    eyes(pen, dice, apart=0.13, at=-0.04, radius=0.055)
    for u in (-0.13, 0.13):
        canvas.wash(canvas.cover(pen.rod((u - 0.07, -0.13), (u + 0.07, -0.14), 0.014)), hair)
    canvas.solid(pen.rod((0.0, 0.0), (0.0, 0.1), 0.02, 0.035), skin, bevel=0.03 * pen.size, gloss=0.1)
    mouth = pen.ellipse(0.0, 0.24, 0.1, dice.between(0.018, 0.045))
    canvas.solid(mouth - 0.02 * pen.size, (0.75 * skin[0] + 0.1, 0.72 * skin[1], 0.72 * skin[2]), bevel=0.03 * pen.size)
    mouth_mask = canvas.solid(mouth, DARK_MOUTH, bevel=0.02)
    fringe = without(pen.ellipse(0.0, -0.16, 0.36, 0.3), pen.ellipse(0.08, 0.1, 0.36, 0.36))
    canvas.solid(fringe, hair, bevel=0.08 * pen.size, gloss=0.1, texture=fur(pen, dice))
    return head_parts(pen, np.maximum(mask, 0.7 * back_mask), mouth_at=0.24, mouth=mouth_mask)


def beast(pen: Pen, dice: Dice, *, mane: bool) -> Drawn:
    """A dog's or, with a mane, a lion's head from the front."""
    canvas = pen.canvas
    coat = dice.colour((0.06, 0.1), (0.5, 0.75), (0.6, 0.85)) if mane else dice.colour(*FUR)
    pale: Colour = (min(1.0, coat[0] * 1.25 + 0.1), min(1.0, coat[1] * 1.25 + 0.1), min(1.0, coat[2] * 1.2 + 0.1))
    dark: Colour = (coat[0] * 0.55, coat[1] * 0.5, coat[2] * 0.5)
    chest = pen.ellipse(0.0, 0.75, 0.38, 0.42)
    canvas.solid(chest, coat, bevel=0.3 * pen.size, texture=fur(pen, dice))
    outer = np.zeros_like(pen.u)
    if mane:
        wave = 0.03 * np.sin(11 * np.arctan2(pen.v, pen.u)) * pen.size
        outer = canvas.solid(
            pen.disc(0.0, 0.03, 0.5) + wave, dark, bevel=0.25 * pen.size, texture=fur(pen, dice, amount=0.3)
        )
    rough = tufts(pen, dice)
    floppy = dice.chance(0.6)
    for side in (-1, 1):
        if mane:
            ear = pen.disc(0.3 * side, -0.3, 0.1)
        elif floppy:
            ear = pen.rod((0.28 * side, -0.24), (0.4 * side, 0.12), 0.09, 0.12)
        else:
            ear = pen.polygon([(0.12 * side, -0.26), (0.36 * side, -0.52), (0.36 * side, -0.12)], rounding=0.03)
        canvas.solid(ear + rough, dark if not mane else coat, bevel=0.1 * pen.size, texture=fur(pen, dice))
    if not mane:
        collar = np.maximum(np.abs(pen.disc(0.0, -0.14, 0.62)) - 0.035 * pen.size, chest)
        canvas.solid(collar, dice.colour(saturation=(0.6, 0.95), value=(0.4, 0.85)), bevel=0.035 * pen.size)
    skull = union(pen.ellipse(0.0, -0.1, 0.33, 0.28), pen.ellipse(0.0, 0.14, 0.24, 0.26), blend=0.1 * pen.size)
    canvas.shadow(canvas.cover(skull), reach=0.04 * pen.size, strength=0.4)
    mask = canvas.solid(skull + rough, coat, bevel=0.28 * pen.size, texture=fur(pen, dice))
    blaze = union(
        pen.rod((0.0, -0.28), (0.0, 0.0), 0.04, 0.07), pen.ellipse(0.0, 0.16, 0.2, 0.15), blend=0.06 * pen.size
    )
    canvas.solid(blaze + rough, pale, bevel=0.18 * pen.size, texture=fur(pen, dice, amount=0.1))
    eyes(pen, dice, apart=0.14, at=-0.09, radius=0.06, colour=(0.5, 0.38, 0.22))
    jaw = pen.ellipse(0.0, 0.33, 0.14, 0.1)
    canvas.solid(jaw + rough, pale, bevel=0.1 * pen.size, texture=fur(pen, dice, amount=0.1))
    mouth = pen.ellipse(0.0, 0.275, 0.1, dice.between(0.015, 0.045))
    mouth_mask = canvas.solid(mouth, DARK_MOUTH, bevel=0.02)
    tongue = np.maximum(pen.ellipse(0.0, 0.305, 0.06, 0.035), mouth)
    canvas.solid(tongue, (0.8, 0.4, 0.42), bevel=0.03 * pen.size)
    for side in (-1, 1):  # the lips hang in two arcs from the nose
        lip = np.abs(pen.disc(0.078 * side, 0.205, 0.078)) - 0.007 * pen.size
        lip = np.maximum(lip, (0.21 - pen.v) * pen.size)
        canvas.wash(canvas.cover(lip), (0.12, 0.08, 0.08))
        for row in range(3):
            dot = pen.disc(0.1 * side + 0.025 * row * side, 0.15 + 0.022 * (row % 2), 0.006)
            canvas.wash(canvas.cover(dot) * np.float32(0.7), (0.15, 0.1, 0.1))
    canvas.wash(canvas.cover(pen.rod((0.0, 0.14), (0.0, 0.21), 0.007)), (0.12, 0.08, 0.08))
    nose = union(pen.ellipse(0.0, 0.07, 0.085, 0.05), pen.ellipse(0.0, 0.11, 0.04, 0.04), blend=0.02 * pen.size)
    canvas.solid(nose, (0.1, 0.08, 0.08), bevel=0.06 * pen.size, gloss=0.5)
    whole = np.maximum(np.maximum(mask, canvas.cover(jaw)), outer)
    return head_parts(pen, whole, mouth_at=0.265, mouth=mouth_mask)


def dog(pen: Pen, dice: Dice) -> Drawn:
    """A dog's head."""
    return beast(pen, dice, mane=False)


def lion(pen: Pen, dice: Dice) -> Drawn:
    """A lion's head."""
    return beast(pen, dice, mane=True)


def frog(pen: Pen, dice: Dice) -> Drawn:
    """A frog from the front."""
    canvas = pen.canvas
    green = dice.colour((0.2, 0.4), (0.4, 0.85), (0.35, 0.75))
    spots = 1.0 - 0.25 * np.clip(canvas.noise(dice.fork(), cells=9, octaves=2), 0, 1)
    body = union(
        pen.ellipse(0.0, 0.12, 0.46, 0.32),
        pen.disc(-0.22, -0.17, 0.13),
        pen.disc(0.22, -0.17, 0.13),
        blend=0.04 * pen.size,
    )
    canvas.shadow(canvas.cover(body), reach=0.05, strength=0.4)
    mask = canvas.solid(body, green, bevel=0.28 * pen.size, gloss=0.35, texture=spots)
    pale: Colour = (0.8, 0.85, 0.55)
    canvas.solid(pen.ellipse(0.0, 0.28, 0.34, 0.15), pale, bevel=0.15 * pen.size)
    eyes(pen, dice, apart=0.22, at=-0.18, radius=0.09, colour=(0.9, 0.8, 0.3))
    mouth = pen.ellipse(0.0, 0.12, 0.32, dice.between(0.012, 0.03))
    mouth_mask = canvas.solid(mouth, DARK_MOUTH, bevel=0.02)
    return head_parts(pen, mask, mouth_at=0.12, mouth=mouth_mask)


def bird(pen: Pen, dice: Dice) -> Drawn:
    """A chicken's head and breast, the beak at the right."""
    canvas = pen.canvas
    feathers = dice.colour((0.03, 0.13), (0.0, 0.7), (0.5, 0.98))
    red: Colour = (0.8, 0.1, 0.1)
    body = union(
        pen.ellipse(-0.1, 0.5, 0.36, 0.36), pen.rod((-0.08, 0.3), (0.0, -0.1), 0.2, 0.15), blend=0.1 * pen.size
    )
    comb = union(pen.disc(-0.09, -0.29, 0.07), pen.disc(0.0, -0.33, 0.08), pen.disc(0.1, -0.29, 0.06))
    canvas.solid(comb, red, bevel=0.06 * pen.size, gloss=0.2)
    head = union(body, pen.disc(0.02, -0.13, 0.18), blend=0.05 * pen.size)
    canvas.shadow(canvas.cover(head), reach=0.04, strength=0.35)
    mask = canvas.solid(head, feathers, bevel=0.25 * pen.size, texture=fur(pen, dice, amount=0.2))
    canvas.solid(pen.ellipse(0.14, 0.1, 0.05, 0.1), red, bevel=0.05 * pen.size)
    upper = pen.polygon([(0.16, -0.18), (0.42, -0.07), (0.16, -0.06)], rounding=0.01)
    lower = pen.polygon([(0.16, -0.05), (0.36, -0.04), (0.16, 0.03)], rounding=0.01)
    beak: Colour = (0.9, 0.65, 0.2)
    lower_mask = canvas.solid(lower, beak, bevel=0.04 * pen.size)
    canvas.solid(upper, beak, bevel=0.04 * pen.size, gloss=0.2)
    mouth_mask = canvas.cover(pen.rod((0.16, -0.055), (0.36, -0.05), 0.015))
    canvas.solid(pen.disc(0.07, -0.16, 0.035), (0.95, 0.7, 0.2), bevel=0.02)
    canvas.solid(pen.disc(0.075, -0.16, 0.018), (0.03, 0.03, 0.04), bevel=0.01)
    whole = np.maximum(np.maximum(mask, canvas.cover(union(comb, upper))), lower_mask)
    drawn = head_parts(pen, whole, mouth_at=-0.05, mouth=mouth_mask)
    throat = mask * np.exp(-(((pen.u - 0.08) / 0.2) ** 2) - ((pen.v - 0.08) / 0.16) ** 2)
    drawn.parts["jaw"] = np.maximum(lower_mask, throat)
    return drawn


def figure(pen: Pen, dice: Dice) -> Drawn:
    """A standing person who dances."""
    canvas = pen.canvas
    skin, shirt, trousers = dice.colour(*SKIN), dice.colour(), dice.colour(value=(0.15, 0.6))
    pose = dice.between(-0.1, 0.1)
    legs = union(
        pen.rod((-0.05, 0.12), (-0.12, 0.5), 0.06, 0.04), pen.rod((0.05, 0.12), (0.13 + pose, 0.5), 0.06, 0.04)
    )
    torso = union(
        pen.box(0.0, -0.03, 0.13, 0.19, corner=0.06),
        pen.rod((-0.12, -0.18), (-0.3, 0.02 + pose), 0.045, 0.035),
        pen.rod((0.12, -0.18), (0.3, -0.2 - pose), 0.045, 0.035),
        blend=0.02 * pen.size,
    )
    head = pen.ellipse(0.0, -0.36, 0.09, 0.11)
    outline = union(legs, torso, head)
    canvas.shadow(canvas.cover(outline), reach=0.04, strength=0.4)
    canvas.solid(legs, trousers, bevel=0.05 * pen.size)
    canvas.solid(pen.rod((0.0, -0.28), (0.0, -0.2), 0.04), skin, bevel=0.04 * pen.size)
    canvas.solid(torso, shirt, bevel=0.1 * pen.size, texture=1.0 + 0.1 * canvas.noise(dice.fork(), cells=8))
    for hand in ((-0.3, 0.03 + pose), (0.3, -0.21 - pose)):
        canvas.solid(pen.disc(*hand, 0.04), skin, bevel=0.04 * pen.size)
    canvas.solid(head, skin, bevel=0.09 * pen.size)
    canvas.solid(
        without(pen.ellipse(0.0, -0.39, 0.1, 0.1), pen.ellipse(0.0, -0.33, 0.09, 0.08)),
        dice.colour(*FUR),
        bevel=0.04 * pen.size,
    )
    return Drawn(
        canvas.cover(outline), pen.size, pen.angle, points={"centre": pen.point(0.0, 0.05), "root": pen.point(0.0, 0.5)}
    )
