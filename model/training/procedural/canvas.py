"""Painting by distance fields: antialiased, shaded shapes and textures at any picture size.

A distance field holds, per pixel, how far the pixel lies outside of a shape (negative inside), in scene units.
Fields and masks are float32 `[H, W]`, colours float32 `[3, H, W]` in [0, 1].
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.training.procedural.dice import Colour

Field = npt.NDArray[np.floating[Any]]

_VISIBLE_CREASE_PX = 6.0


class Canvas:
    """A picture being painted.

    Args:
        height, width: pixels.
        light: direction towards the light, right and down; (-0.5, -0.8) is a lamp at the upper left.
    """

    def __init__(self, height: int, width: int, *, light: tuple[float, float] = (-0.5, -0.8)) -> None:
        self.height, self.width = height, width
        self.pixel = 1.0 / height
        self.aspect = width / height
        self.y, self.x = _grid(height, width)
        self.rgb: Field = np.zeros((3, height, width), np.float32)
        self.faces: list[tuple[float, float, float]] = []  # middle and half size of those in view, in scene units
        norm = math.hypot(*light)
        self.light = (light[0] / norm, light[1] / norm)

    def cover(self, distance: Field, *, softness: float = 0.0) -> Field:
        """How much of each pixel the shape covers, 0 to 1; `softness` widens the edge, in scene units."""
        covered: Field = np.clip(0.5 - distance / max(self.pixel, softness), 0.0, 1.0)
        return covered

    def wash(self, mask: Field | float, colour: Colour | Field) -> None:
        """Lay a flat colour over the picture, as opaque as the mask."""
        paint = np.asarray(colour, np.float32)
        if paint.ndim == 1:
            paint = paint[:, None, None]
        self.rgb += mask * (paint - self.rgb)

    def scale_light(self, factor: Field) -> None:
        """Brighten or darken what is already painted."""
        self.rgb *= factor

    def solid(
        self,
        distance: Field,
        colour: Colour,
        *,
        bevel: float = 0.05,
        gloss: float = 0.0,
        texture: Field | None = None,
        alpha: float = 1.0,
    ) -> Field:
        """Paint a rounded, lit solid and return its mask.

        Args:
            distance: field of its outline.
            colour: RGB.
            bevel: depth, in scene units, over which the surface turns from its rim to flat.
            gloss: strength of the highlight.
            texture: factor of the colour, around 1.
            alpha: opacity.
        """
        mask = self.cover(distance) * np.float32(alpha)
        # Distances crease along the middle of a shape; on large pictures that would show as hard edges in its shading.
        crease_px = 0.45 * bevel / self.pixel
        smooth = soften(distance, crease_px) if crease_px >= _VISIBLE_CREASE_PX else distance
        slope_y, slope_x = np.gradient(smooth, self.pixel)
        rim = np.clip(1.0 + smooth / bevel, 0.0, 1.0)
        facing = (slope_x * self.light[0] + slope_y * self.light[1]) * rim
        flat = np.sqrt(np.maximum(1.0 - rim * rim, 0.0))
        shade = 0.62 + 0.42 * facing + 0.34 * flat
        if texture is not None:
            shade *= texture
        lit = np.asarray(colour, np.float32)[:, None, None] * shade
        if gloss > 0:
            highlight = np.maximum(0.8 * facing + 0.45 * flat, 0.0) ** 6
            lit += gloss * highlight
        self.rgb += mask * (lit - self.rgb)
        return mask

    def shadow(self, mask: Field, *, reach: float = 0.03, strength: float = 0.5) -> None:
        """Darken where a body with this mask keeps the light away: its mask, shifted and softened."""
        step = max(1, round(reach / self.pixel))
        moved = ndimage.shift(
            mask, (-self.light[1] * step, -self.light[0] * step), order=1, mode="constant", prefilter=False
        )
        self.scale_light(1.0 - strength * soften(moved, reach * 1.4 / self.pixel))

    def noise(self, seed: int, *, cells: float = 4.0, octaves: int = 4, persistence: float = 0.5) -> Field:
        """Smooth 1/f noise of about unit spread, the same scene at any size.

        Args:
            seed: same seed, same noise.
            cells: bumps of the lowest octave across the height.
            octaves: each twice as fine as the last; those finer than a pixel are skipped.
            persistence: amplitude of an octave relative to the one before.
        """
        generator = np.random.default_rng(seed)
        total: Field = np.zeros((self.height, self.width), np.float32)
        amplitude, power = 1.0, 0.0
        for octave in range(octaves):
            rows = max(2, round(cells * 2**octave)) + 2
            columns = max(2, round(cells * self.aspect * 2**octave)) + 2
            knots = generator.standard_normal((rows, columns), dtype=np.float32)
            if rows - 2 <= self.height:
                total += amplitude * (_cubic(rows, self.height) @ knots @ _cubic(columns, self.width).T)
            power += amplitude**2
            amplitude *= persistence
        return total / np.float32(0.7 * math.sqrt(power))

    def grain(self, seed: int, *, angle: float = 0.0, stretch: float = 10.0, cells: float = 30.0) -> Field:
        """Wood-like streaks of unit spread along `angle` radians: noise stretched and bent."""
        along = self.x * math.cos(angle) + self.y * math.sin(angle)
        across = self.y * math.cos(angle) - self.x * math.sin(angle)
        bend = 0.25 * np.sin(along * (cells / stretch) + 2.0 * np.sin(along * 1.7 + float(seed % 7)))
        return self.streaks(seed, across * cells + bend * 2.0)

    def streaks(self, seed: int, position: Field) -> Field:
        """Smooth random values along a coordinate, one knot per unit: what shares a position shares its tone."""
        generator = np.random.default_rng(seed)
        knots = generator.standard_normal(256).astype(np.float32)
        position = position % 255.0
        low = np.minimum(position.astype(np.int32), 254)  # the remainder can round up to 255
        part = position - low
        part = part * part * (3 - 2 * part)
        tone: Field = knots[low] * (1 - part) + knots[low + 1] * part
        return tone

    def picture(self) -> npt.NDArray[np.uint8]:
        """The painting as uint8 `[H, W, 3]`."""
        levels = np.clip(self.rgb * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
        return np.ascontiguousarray(levels.transpose(1, 2, 0))


class Pen:
    """Distance fields in the frame of one object.

    Args:
        canvas: what will be painted on.
        at: scene coordinates of the frame's origin.
        size: scene units per frame unit; an object spans about -0.5 to 0.5.
        angle: radians, clockwise on the screen.
    """

    def __init__(self, canvas: Canvas, at: tuple[float, float], *, size: float, angle: float = 0.0) -> None:
        self.canvas, self.at, self.size, self.angle = canvas, at, size, angle
        cosine, sine = math.cos(angle) / size, math.sin(angle) / size
        x, y = canvas.x - at[0], canvas.y - at[1]
        self.u: Field = (x * cosine + y * sine).astype(np.float32, copy=False)
        self.v: Field = (y * cosine - x * sine).astype(np.float32, copy=False)

    def point(self, u: float, v: float) -> tuple[float, float]:
        """Scene coordinates of a point of the frame."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return (
            self.at[0] + self.size * (u * cosine - v * sine),
            self.at[1] + self.size * (u * sine + v * cosine),
        )

    def turned(self, u: float, v: float, *, angle: float, size: float = 1.0) -> Pen:
        """A frame inside this one."""
        return Pen(self.canvas, self.point(u, v), size=self.size * size, angle=self.angle + angle)

    def disc(self, u: float, v: float, radius: float) -> Field:
        """Circle."""
        distance: Field = (np.hypot(self.u - u, self.v - v) - radius) * self.size
        return distance

    def ellipse(self, u: float, v: float, width: float, height: float) -> Field:
        """Ellipse of half axes `width` and `height` (distance to first order)."""
        p, q = (self.u - u) / width, (self.v - v) / height
        length = np.hypot(p, q)
        slope = np.hypot(p / width, q / height)
        distance: Field = (length * (length - 1.0) / np.maximum(slope, 1e-6)) * self.size
        return distance

    def box(self, u: float, v: float, width: float, height: float, *, corner: float = 0.02) -> Field:
        """Rectangle of half sides `width` and `height` with rounded corners."""
        p, q = np.abs(self.u - u) - (width - corner), np.abs(self.v - v) - (height - corner)
        outside = np.hypot(np.maximum(p, 0.0), np.maximum(q, 0.0))
        distance: Field = (outside + np.minimum(np.maximum(p, q), 0.0) - corner) * self.size
        return distance

    def rod(
        self, start: tuple[float, float], stop: tuple[float, float], radius: float, end_radius: float | None = None
    ) -> Field:
        """Round bar from `start` to `stop`, tapering to `end_radius`."""
        du, dv = stop[0] - start[0], stop[1] - start[1]
        p, q = self.u - start[0], self.v - start[1]
        along = np.clip((p * du + q * dv) / (du * du + dv * dv + 1e-9), 0.0, 1.0)
        taper = radius if end_radius is None else radius + (end_radius - radius) * along
        return (np.hypot(p - along * du, q - along * dv) - taper) * self.size

    def polygon(self, corners: Sequence[tuple[float, float]], *, rounding: float = 0.0) -> Field:
        """Closed polygon."""
        nearest = np.full_like(self.u, np.inf)
        inside = np.ones_like(self.u)
        previous = corners[-1]
        for corner in corners:
            du, dv = previous[0] - corner[0], previous[1] - corner[1]
            p, q = self.u - corner[0], self.v - corner[1]
            along = np.clip((p * du + q * dv) / (du * du + dv * dv + 1e-9), 0.0, 1.0)
            nearest = np.minimum(nearest, (p - along * du) ** 2 + (q - along * dv) ** 2)
            above, below = self.v >= corner[1], self.v < previous[1]
            left = du * q > dv * p
            crossed = (above & below & left) | ~(above | below | left)
            inside = np.where(crossed, -inside, inside)
            previous = corner
        return ((inside * np.sqrt(nearest)) - rounding) * self.size


def soften(mask: Field, radius_px: float) -> Field:
    """Blur a mask over about `radius_px` pixels."""
    width = max(1, round(radius_px))
    blurred: Field = ndimage.uniform_filter(mask, size=width, mode="nearest")
    return ndimage.uniform_filter(blurred, size=width, mode="nearest") if width > 1 else blurred


def union(*distances: Field, blend: float = 0.0) -> Field:
    """Distance field of several shapes together; `blend` rounds the seams, in scene units."""
    joined = distances[0]
    for distance in distances[1:]:
        if blend > 0:
            mix = np.clip(0.5 + 0.5 * (distance - joined) / blend, 0.0, 1.0)
            joined = distance + (joined - distance) * mix - blend * mix * (1.0 - mix)
        else:
            joined = np.minimum(joined, distance)
    return joined


def without(distance: Field, *holes: Field) -> Field:
    """Distance field of a shape with others cut out."""
    for hole in holes:
        distance = np.maximum(distance, -hole)
    return distance


@lru_cache(maxsize=16)
def _grid(height: int, width: int) -> tuple[Field, Field]:
    """Scene coordinates of the pixel centres: y `[H, 1]` and x `[1, W]`, both broadcast to `[H, W]`."""
    rows = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    columns = ((np.arange(width, dtype=np.float32) + 0.5) / height)[None, :]
    shape = (height, width)
    return np.ascontiguousarray(np.broadcast_to(rows, shape)), np.ascontiguousarray(np.broadcast_to(columns, shape))


@lru_cache(maxsize=128)
def _cubic(knots: int, samples: int) -> Field:
    """Catmull-Rom weights `[samples, knots]` that spread `knots` values (two of them margin) over `samples` pixels."""
    position = (np.arange(samples) + 0.5) / samples * (knots - 3) + 1.0
    low = np.minimum(position.astype(int), knots - 3)
    part = position - low
    weights = np.zeros((samples, knots), np.float32)
    rows = np.arange(samples)
    for offset, weight in (
        (-1, -0.5 * part + part**2 - 0.5 * part**3),
        (0, 1 - 2.5 * part**2 + 1.5 * part**3),
        (1, 0.5 * part + 2 * part**2 - 1.5 * part**3),
        (2, -0.5 * part**2 + 0.5 * part**3),
    ):
        weights[rows, np.clip(low + offset, 0, knots - 1)] += weight
    return weights
