"""Pictures to tokens: OpenCLIP's vision tower, and a small convolutional encoder that keeps the layout."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

# Saliency: border strips of 5 % of the picture, colours in [-1, 1], prior width relative to the half size.
_BORDER_SHARE = 0.05
_COLOUR_FLOOR = 0.1
_PRIOR_WIDTH = 0.6
_SMOOTHING_PX = 5


class ImageEncoder(Protocol):
    """Anything that encodes pictures."""

    def encode(self, image: Tensor) -> Tensor:
        """Encode pictures [B, 3, H, W] in [-1, 1] as [B, N, E]."""
        ...


@dataclass(frozen=True, slots=True)
class ConvImageConfig:
    """Size of a `ConvImageEncoder`.

    Args:
        input: height and width that pictures are resized to; each of `channels` halves it.
        channels: width of each strided stage.
        dim: features per cell of the result.
    """

    input: tuple[int, int] = (80, 128)
    channels: tuple[int, ...] = (32, 64, 96)
    dim: int = 96

    def __post_init__(self) -> None:
        step = 2 ** len(self.channels)
        if self.input[0] % step or self.input[1] % step:
            raise ValueError(f"{self.input[0]}x{self.input[1]} cannot be halved {len(self.channels)} times")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of feature cells."""
        step = 2 ** len(self.channels)
        return self.input[0] // step, self.input[1] // step


class ConvStage(nn.Module):
    """Halve the picture, then refine it with one residual convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(1, out_channels)
        self.refine = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C', H/2, W/2]."""
        h: Tensor = self.down(x)
        refined: Tensor = self.refine(functional.silu(self.norm(h)))
        return h + refined


class ConvImageEncoder(nn.Module):
    """Features on a coarse grid, from the picture, its saliency map and the coordinates of each pixel."""

    def __init__(self, config: ConvImageConfig) -> None:
        super().__init__()
        self.config = config
        widths = (3 + 1 + 2, *config.channels)
        self.stages = nn.ModuleList(ConvStage(a, b) for a, b in pairwise(widths))
        self.norm = nn.GroupNorm(1, widths[-1])
        self.output = nn.Conv2d(widths[-1], config.dim, 1)

    def features(self, image: Tensor) -> Tensor:
        """Features [B, dim, rows, columns] of pictures [B, 3, H, W] in [-1, 1], any size."""
        small = functional.interpolate(image, size=self.config.input, mode="area")
        place = _coordinates(small).expand(small.shape[0], -1, -1, -1)
        h = torch.cat([small, saliency_map(small), place], dim=1)
        for stage in self.stages:
            h = stage(h)
        out: Tensor = self.output(functional.silu(self.norm(h)))
        return out

    def forward(self, image: Tensor) -> Tensor:
        """Same as `features`."""
        return self.features(image)

    def encode(self, image: Tensor) -> Tensor:
        """Features as tokens [B, rows * columns, dim], row-major."""
        return self.features(image).flatten(2).transpose(1, 2)


def _coordinates(image: Tensor) -> Tensor:
    """Vertical and horizontal position of each pixel in [-1, 1]: [1, 2, H, W]."""
    rows, columns = (torch.linspace(-1, 1, n, dtype=image.dtype, device=image.device) for n in image.shape[2:])
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]


def saliency_map(image: Tensor) -> Tensor:
    """Guess where the subject is: colours unlike the borders, preferably near the centre.

    Each border strip has a mean colour and a spread; a pixel's distance is measured in that spread, averaged over the
    four borders, smoothed, weighted with a Gaussian centre prior and scaled to a maximum of 1. There are no weights.

    Args: image: [B, 3, H, W] in [-1, 1], some hundred pixels wide at most.
    Returns: [B, 1, H, W] in [0, 1]; all zeros for a picture of one colour.
    """
    height, width = image.shape[2:]
    rows, columns = max(1, round(_BORDER_SHARE * height)), max(1, round(_BORDER_SHARE * width))
    borders = (image[:, :, :rows], image[:, :, -rows:], image[..., :columns], image[..., -columns:])
    distance = image.new_zeros(image.shape[0], 1, height, width)
    for border in borders:
        colour = border.mean(dim=(2, 3), keepdim=True)
        spread = (border - colour).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        unlike = (image - colour).square().mean(dim=1, keepdim=True).sqrt()
        distance = distance + unlike / (spread + _COLOUR_FLOOR)
    smooth = functional.avg_pool2d(
        distance, _SMOOTHING_PX, stride=1, padding=_SMOOTHING_PX // 2, count_include_pad=False
    )
    place = _coordinates(image)
    prior = (-place.square().sum(dim=1, keepdim=True) / (2 * _PRIOR_WIDTH**2)).exp()
    weighted = smooth * prior
    return weighted / weighted.amax(dim=(2, 3), keepdim=True).clamp(min=1e-3)
