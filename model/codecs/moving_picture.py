"""A picture that is drawn again and again, moved and lit by coarse fields."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional


class MovingPicture:
    """Draws one picture, or some planes of it.

    Args:
        planes: `[1, c, H, W]`.
    """

    def __init__(self, planes: Tensor) -> None:
        self._planes = planes
        self._still = _still_grid(*planes.shape[-2:]).to(planes.device)

    def draw(self, *, shift: Tensor, log_gain: Tensor, light: Tensor) -> Tensor:
        """Draw a frame: every pixel reads the picture somewhere else, is multiplied, and has light added.

        Args:
            shift: `[2, h, w]`, how far right and down of itself a pixel reads; 2 is the whole width or height.
            log_gain: `[1, h, w]`.
            light: `[c, h, w]`, in the units of the planes.
        Returns: `[c, H, W]`, not clamped.
        """
        height, width = self._still.shape[-2:]
        rows = _bicubic_matrix(shift.shape[-2], height).to(shift.device)
        columns = _bicubic_matrix(shift.shape[-1], width).to(shift.device).T
        grid = torch.baddbmm(self._still, rows @ shift, columns.expand(2, -1, -1))
        drawn = functional.grid_sample(
            self._planes,
            grid.permute(1, 2, 0)[None],
            mode="bilinear",
            padding_mode="reflection",
            align_corners=False,
        )[0]
        gain = enlarge(log_gain, height=height, width=width).exp_()
        return torch.addcmul(enlarge(light, height=height, width=width), drawn, gain, out=drawn)


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


@lru_cache(maxsize=4)
def _still_grid(height: int, width: int) -> Tensor:
    """Where each output pixel reads itself, in grid_sample's [-1, 1] coordinates, (right, down): `[2, H, W]`.

    Backward warp: output(x) = input(x + d).
    """
    y = torch.arange(height).view(1, height, 1).expand(1, height, width)
    x = torch.arange(width).view(1, 1, width).expand(1, height, width)
    return (torch.cat((x, y)) + 0.5) * 2 / torch.tensor([width, height]).view(2, 1, 1) - 1
