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

_FACE_CHANNELS = 2

# OpenCLIP's pixel statistics, RGB in [0, 1].
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


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
        has_face_map: whether it is also shown where a face was found.
    """

    input: tuple[int, int] = (80, 128)
    channels: tuple[int, ...] = (32, 64, 96)
    dim: int = 96
    has_face_map: bool = False

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
    """Features on a coarse grid, from the picture, its saliency map, its face, and the coordinates of each pixel."""

    def __init__(self, config: ConvImageConfig) -> None:
        super().__init__()
        self.config = config
        widths = (3 + 1 + 2 + (_FACE_CHANNELS if config.has_face_map else 0), *config.channels)
        self.stages = nn.ModuleList(ConvStage(a, b) for a, b in pairwise(widths))
        self.norm = nn.GroupNorm(1, widths[-1])
        self.output = nn.Conv2d(widths[-1], config.dim, 1)

    def features(self, image: Tensor, faces: Tensor | None = None) -> Tensor:
        """Encode pictures on their grid.

        Args:
            image: [B, 3, H, W] in [-1, 1], any size.
            faces: [B, 4], as `face_map` takes them; none by default.
        Returns: [B, dim, rows, columns].
        """
        small = functional.interpolate(image, size=self.config.input, mode="area")
        place = _coordinates(small).expand(small.shape[0], -1, -1, -1)
        seen = [small, saliency_map(small), place]
        if self.config.has_face_map:
            seen.append(face_map(image.new_zeros(len(image), 4) if faces is None else faces, self.config.input))
        h = torch.cat(seen, dim=1)
        for stage in self.stages:
            h = stage(h)
        out: Tensor = self.output(functional.silu(self.norm(h)))
        return out

    def forward(self, image: Tensor) -> Tensor:
        """Same as `features`."""
        return self.features(image)

    def encode(self, image: Tensor) -> Tensor:
        """Features of pictures without faces as tokens [B, rows * columns, dim], row-major."""
        return self.as_tokens(self.features(image))

    @staticmethod
    def as_tokens(features: Tensor) -> Tensor:
        """Features [B, dim, rows, columns] as tokens [B, rows * columns, dim], row-major."""
        return features.flatten(2).transpose(1, 2)


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


def face_map(faces: Tensor, size: tuple[int, int]) -> Tensor:
    """Show where a face is, and what of it is up and down.

    Args:
        faces: [B, 4] left, top, right, bottom as shares of the picture's width and height; all zeros for no face.
        size: rows and columns of the result.
    Returns: [B, 2, *size]; an oval that is 1 in the face's middle, and the same times the height above (-1) or below
        (1) that middle. Without a face, zeros.
    """
    rows, columns = ((torch.arange(count, dtype=faces.dtype, device=faces.device) + 0.5) / count for count in size)
    left, top, right, bottom = (edge.view(-1, 1, 1) for edge in faces.unbind(dim=1))
    is_there = ((right > left) & (bottom > top)).to(faces)
    across = (2 * columns.view(1, 1, -1) - left - right) / (right - left).clamp(min=1e-3)
    down = (2 * rows.view(1, -1, 1) - top - bottom) / (bottom - top).clamp(min=1e-3)
    oval = is_there * (-(across.square() + down.square())).exp()
    return torch.stack((oval, oval * down.clamp(-1, 1)), dim=1)


@dataclass(frozen=True, slots=True)
class ClipImageConfig:
    """Size of a `ClipImageEncoder`; the defaults are OpenCLIP ViT-H's. `input_px` is the side of its square input."""

    dim: int = 1280
    depth: int = 32
    heads: int = 16
    patch_px: int = 14
    input_px: int = 224


class ClipImageEncoder(nn.Module):
    """OpenCLIP's vision tower: all tokens of the last layer, class token first, without the final norm.

    Source: KeyVID sec. 3.3; the picture condition of DynamiCrafter.
    """

    def __init__(self, config: ClipImageConfig) -> None:
        super().__init__()
        # Importing transformers takes seconds that keyvid-mini need not spend.
        from transformers import CLIPVisionConfig, CLIPVisionModel  # noqa: PLC0415

        self.config = config
        self.network = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=config.dim,
                intermediate_size=4 * config.dim,
                num_hidden_layers=config.depth,
                num_attention_heads=config.heads,
                image_size=config.input_px,
                patch_size=config.patch_px,
                hidden_act="gelu",
            )
        )

    def preprocess(self, image: Tensor) -> Tensor:
        """Squeeze pictures [B, 3, H, W] in [-1, 1] to the square input and normalise their colours; no clamping."""
        square = _squeeze_antialiased(image, self.config.input_px)
        mean, std = (square.new_tensor(values).view(1, 3, 1, 1) for values in (_CLIP_MEAN, _CLIP_STD))
        return ((square + 1) / 2 - mean) / std

    def encode(self, image: Tensor) -> Tensor:
        """Encode pictures [B, 3, H, W] in [-1, 1], any size, as [B, 1 + patches, dim]."""
        tokens: Tensor = self.network(pixel_values=self.preprocess(image)).last_hidden_state
        return tokens


def _squeeze_antialiased(image: Tensor, side_px: int) -> Tensor:
    """Resize [B, 3, H, W] to a square: Gaussian blur where it shrinks, then bicubic with aligned corners.

    Source: released behaviour (kornia's antialiased resize); the blur is weaker than a proper antialiasing filter.
    """
    factors = [size / side_px for size in image.shape[2:]]
    if max(factors) > 1:
        image = _blur(image, [max((factor - 1) / 2, 0.001) for factor in factors])
    return functional.interpolate(image, size=(side_px, side_px), mode="bicubic", align_corners=True)


def _blur(image: Tensor, sigmas: list[float]) -> Tensor:
    """Blur height and width with Gaussians of `sigmas` pixels, reflecting at the borders."""
    for axis, sigma in zip((2, 3), sigmas, strict=True):
        size = int(max(4 * sigma, 3))
        size += 1 - size % 2
        offsets = torch.arange(size, dtype=image.dtype, device=image.device) - size // 2
        kernel = torch.exp(-offsets.square() / (2 * sigma**2))
        shape, padding = [1, 1, 1, 1], [0, 0, 0, 0]
        shape[axis] = size
        padding[6 - 2 * axis : 8 - 2 * axis] = [size // 2] * 2
        weight = (kernel / kernel.sum()).view(shape).expand(image.shape[1], -1, -1, -1)
        image = functional.conv2d(functional.pad(image, padding, mode="reflect"), weight, groups=image.shape[1])
    return image
