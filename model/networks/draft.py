"""keyvid-mini's motion draft: a deterministic first guess of the motion, which diffusion then corrects.

What moves when is heard, and what moves where is seen, so the draft is a sum of products: time curves from the sound
times spatial bases from the picture. Both are steered by what the whole clip sounds like and by the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_VELOCITY_UNIT = 0.2  # per frame; brings sums over a few frames to the spread of the other curves


@dataclass(frozen=True, slots=True)
class DraftConfig:
    """Size of the motion draft.

    Args:
        num_frames: frames of a clip; the audio tokens are one class token and one token per frame.
        audio_dim, text_dim, feature_dim: widths of audio tokens, text tokens and picture features.
        width, basis_width: widths of the half that listens and of the half that looks.
        num_products: products of a curve and a basis that are summed.
        num_integrated: how many of the curves are predicted as velocities and summed over time: a bow's travel.
        latent_channels: channels of the codec's latents.
        grid: rows and columns of the picture features and of the latents.
        basis_stride: cells of the latents per cell of a basis, each way. Coarse bases say when and roughly where; what
            exactly moves is left to diffusion.
        num_groups: groups of the group norms.
    """

    num_frames: int = 48
    audio_dim: int = 128
    text_dim: int = 128
    feature_dim: int = 96
    width: int = 128
    basis_width: int = 96
    num_products: int = 12
    num_integrated: int = 0
    latent_channels: int = 4
    grid: tuple[int, int] = (10, 16)
    num_groups: int = 8
    basis_stride: int = 1


class MotionDraft(nn.Module):
    """Latents = sum over k of (curve_k(frame) - curve_k(0)) * basis_k(cell); frame 0 is exactly still."""

    def __init__(self, config: DraftConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.clip_embedding = nn.Sequential(
            nn.Linear(2 * config.audio_dim + config.text_dim, width), nn.GELU(), nn.Linear(width, width)
        )
        self.curves = CurveNetwork(config)
        self.bases = BasisNetwork(config)

    def forward(self, audio_tokens: Tensor, text: Tensor, features: Tensor) -> Tensor:
        """Draft a clip's motion.

        Args:
            audio_tokens: `[B, 1 + num_frames, audio_dim]`, the class token first.
            text: `[B, N, text_dim]`.
            features: `[B, feature_dim, rows, columns]`.

        Returns: latents `[B, latent_channels, num_frames, rows, columns]` in the codec's units.
        """
        frames = audio_tokens[:, 1:]
        heard = torch.cat((audio_tokens[:, 0], frames.mean(dim=1), text.mean(dim=1)), dim=-1)
        clip = self.clip_embedding(heard)
        curves = self.curves(frames, clip)
        bases = self.bases(features, clip)
        return torch.einsum("btk,bkchw->bcthw", curves - curves[:, :1], bases)


class CurveNetwork(nn.Module):
    """Time curves from the tokens of the frames: convolutions align, a recurrence keeps phase, decay and parity."""

    def __init__(self, config: DraftConfig) -> None:
        super().__init__()
        width = config.width
        self.num_integrated = config.num_integrated
        self.project = nn.Linear(config.audio_dim, width)
        self.frame_embedding = nn.Parameter(torch.randn(config.num_frames, width) * 0.02)
        self.blocks = nn.ModuleList(
            ModulatedBlock(
                nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation),
                nn.Conv1d(width, width, 1),
                width=width,
                num_groups=config.num_groups,
                clip_width=width,
            )
            for dilation in (1, 2, 1)
        )
        self.recurrence = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * width, config.num_products)

    def forward(self, frames: Tensor, clip: Tensor) -> Tensor:
        """Tokens `[B, T, audio_dim]` and clip embedding `[B, width]` to curves `[B, T, num_products]`."""
        x = (self.project(frames) + self.frame_embedding).transpose(1, 2)
        for block in self.blocks:
            x = block(x, clip)
        x = x.transpose(1, 2)
        remembered, _ = self.recurrence(x)
        curves: Tensor = self.out(torch.cat((x, remembered), dim=-1))
        if not self.num_integrated:
            return curves
        direct, velocity = curves[..., : -self.num_integrated], curves[..., -self.num_integrated :]
        return torch.cat((direct, _VELOCITY_UNIT * velocity.cumsum(dim=1)), dim=-1)


class BasisNetwork(nn.Module):
    """Spatial bases from the picture's features: where things can move, given what the clip is about."""

    def __init__(self, config: DraftConfig) -> None:
        super().__init__()
        self.config = config
        width, stride = config.basis_width, config.basis_stride
        kernel = 2 * stride - 1
        self.project = nn.Conv2d(config.feature_dim, width, kernel, stride=stride, padding=kernel // 2)
        rows, columns = (-(-cells // stride) for cells in config.grid)
        self.cell_embedding = nn.Parameter(torch.randn(width, rows, columns) * 0.02)
        self.blocks = nn.ModuleList(
            ModulatedBlock(
                nn.Conv2d(width, width // 2, 3, padding=dilation, dilation=dilation),
                nn.Conv2d(width // 2, width, 3, padding=1),
                width=width,
                num_groups=config.num_groups,
                clip_width=config.width,
            )
            for dilation in (1, 2, 1, 3, 1)
        )
        self.overview = GlobalContext(width, clip_width=config.width)
        self.out = nn.Conv2d(width, config.num_products * config.latent_channels, 3, padding=1)

    def forward(self, features: Tensor, clip: Tensor) -> Tensor:
        """Features `[B, feature_dim, h, w]` and clip embedding `[B, clip_width]` to `[B, num_products, C, h, w]`."""
        size = features.shape[2:]
        x = self.project(features) + self.cell_embedding
        for index, block in enumerate(self.blocks):
            x = block(x, clip)
            if index == len(self.blocks) // 2:
                x = self.overview(x, clip)
        bases: Tensor = self.out(x)
        if bases.shape[2:] != size:
            bases = functional.interpolate(bases, size=size, mode="bilinear")
        return bases.view(len(x), self.config.num_products, self.config.latent_channels, *size)


class ModulatedBlock(nn.Module):
    """Residual pair of convolutions whose normalised input is scaled and shifted by the clip embedding."""

    def __init__(self, first: nn.Module, second: nn.Module, *, width: int, num_groups: int, clip_width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(num_groups, width)
        self.modulation = nn.Linear(clip_width, 2 * width)
        self.first = first
        self.second = second

    def forward(self, x: Tensor, clip: Tensor) -> Tensor:
        """`[B, width, ...]` to the same shape."""
        spread = (..., *(None,) * (x.dim() - 2))
        scale, shift = self.modulation(clip)[spread].chunk(2, dim=1)
        hidden = self.norm(x) * (1 + scale) + shift
        change: Tensor = self.second(functional.gelu(self.first(functional.gelu(hidden))))
        return x + change


class GlobalContext(nn.Module):
    """Lets every cell know the attended summary of the picture: one query, made from the clip embedding, per head."""

    def __init__(self, width: int, *, clip_width: int, num_heads: int = 4) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(clip_width, width)
        self.key = nn.Conv2d(width, width, 1)
        self.value = nn.Conv2d(width, width, 1)
        self.out = nn.Linear(width, width)
        self.match = nn.Conv2d(width + num_heads, width, 1)

    def forward(self, x: Tensor, clip: Tensor) -> Tensor:
        """`[B, width, h, w]` to the same shape; each cell also learns how strongly each head attends to it."""
        height, width = x.shape[-2:]
        query = self.query(clip).unflatten(1, (self.num_heads, -1))
        key = self.key(x).unflatten(1, (self.num_heads, -1)).flatten(3)
        value = self.value(x).unflatten(1, (self.num_heads, -1)).flatten(3)
        attention = (torch.einsum("bnd,bndl->bnl", query, key) / query.shape[-1] ** 0.5).softmax(dim=-1)
        summary = self.out(torch.einsum("bnl,bndl->bnd", attention, value).flatten(1))
        # An average cell gets 1; the map is what tells "this object" from "that one" to the following convolutions.
        maps = (attention * attention.shape[-1]).unflatten(2, (height, width))
        change: Tensor = self.match(torch.cat((x + summary[..., None, None], maps), dim=1))
        return x + change
