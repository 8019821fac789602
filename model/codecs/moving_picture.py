"""A picture that is drawn again and again, moved and lit by coarse fields."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional

OVERSHOOT = 1.375**2  # bicubic enlargement may exceed its field by that much: sums of its weights' sizes, both ways


class MovingPicture:
    """Draws one picture, or some planes of it.

    Args:
        planes: `[1, c, H, W]`.
        reach: how far from itself a pixel may read at most, in pixels along each axis.
    """

    def __init__(self, planes: Tensor, *, reach: float) -> None:
        self.height, self.width = planes.shape[-2:]
        self._margin = margin = ceil(reach) + 1
        full = torch.tensor([self.width, self.height], device=planes.device) + 2 * margin
        self._per_pixel = 2 / full.view(2, 1, 1)  # grid_sample counts from -1 to 1 across picture and margins
        # Mirrored around the edges, so that sampling need not mirror each pixel: it takes two thirds of the time.
        rows, columns = (_mirrored(length, margin).to(planes.device) for length in (self.height, self.width))
        self._surrounded = planes[:, :, rows][:, :, :, columns]

    def draw(self, *, shift: Tensor, log_gain: Tensor, light: Tensor) -> Tensor:
        """Draw a frame: every pixel reads the picture somewhere else, is multiplied, and has light added.

        Args:
            shift: `[2, h, w]`, how far right and down of itself a pixel reads, in pixels.
            log_gain: `[1, h, w]`.
            light: `[c, h, w]`, in the units of the planes.
        Returns: `[c, H, W]`, not clamped.
        """
        drawn = functional.grid_sample(
            self._surrounded,
            self._grid(shift).permute(1, 2, 0)[None],
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )[0]
        gain, added = (enlarge(field, height=self.height, width=self.width) for field in (log_gain, light))
        return torch.addcmul(added, drawn, gain.exp_(), out=drawn)

    def _grid(self, shift: Tensor) -> Tensor:
        """Where each pixel reads, in grid_sample's coordinates, (right, down): `[2, H, W]`. Backward warp.

        One product enlarges the shift and adds each pixel's own place: that of its column, or of its row.
        """
        rows = _bicubic_matrix(shift.shape[-2], self.height).to(shift.device) @ (shift * self._per_pixel)
        own = _places_of_rows(self.height, self._margin).to(shift.device)
        return torch.cat((rows, own), dim=2) @ _columns(shift.shape[-1], self.width, self._margin).to(shift.device)


def enlarge(field: Tensor, *, height: int, width: int) -> Tensor:
    """Bicubic enlargement `[..., h, w]` to `[..., H, W]`, as two products: several times faster than interpolate."""
    rows = _bicubic_matrix(field.shape[-2], height).to(field.device)
    columns = _bicubic_matrix(field.shape[-1], width).to(field.device)
    return (rows @ field) @ columns.T


@lru_cache(maxsize=16)
def _bicubic_matrix(source: int, target: int) -> Tensor:
    """Weights `[target, source]` of one-dimensional bicubic resizing."""
    identity = torch.eye(source).view(1, source, source, 1)
    resized: Tensor = functional.interpolate(identity, size=(target, 1), mode="bicubic", align_corners=False)
    return resized[0, :, :, 0].T.contiguous()


@lru_cache(maxsize=8)
def _columns(source: int, target: int, margin: int) -> Tensor:
    """What enlarges rows, with the places of columns and ones below: `[source + 2, target]`."""
    enlarging = _bicubic_matrix(source, target).T
    return torch.cat((enlarging, _places(target, margin)[None], torch.ones(1, target)))


@lru_cache(maxsize=8)
def _places_of_rows(target: int, margin: int) -> Tensor:
    """How much of `_columns`' last two rows is added, `[2, target, 2]`: a column's place whole, or a row's place."""
    own = torch.zeros(2, target, 2)
    own[0, :, 0] = 1
    own[1, :, 1] = _places(target, margin)
    return own


def _places(length: int, margin: int) -> Tensor:
    """Where pixels of a line are, in grid_sample's [-1, 1] from one end of the line with its margins to the other."""
    return (torch.arange(length) + margin + 0.5) * 2 / (length + 2 * margin) - 1


def _mirrored(length: int, margin: int) -> Tensor:
    """Which pixel of a line each pixel of the line with mirrored margins is; the last pixel stands twice at an edge."""
    places = torch.arange(-margin, length + margin) % (2 * length)
    return torch.minimum(places, 2 * length - 1 - places)
