"""The AVSync classifier: does this sound belong to this video, at this moment?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_STEM_KERNEL = 7


@dataclass(frozen=True, slots=True)
class SyncClassifierConfig:
    """Size of a `SyncClassifier`; the defaults are the published ones.

    Args:
        widths: channels of the four stages of both towers; the first is also that of their stems.
        hidden: widths of the two layers between embeddings and score.
    """

    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    hidden: tuple[int, int] = (512, 256)


class ConvolutionStep(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, convolution: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.convolution = convolution
        is_flat = isinstance(convolution, nn.Conv2d)
        self.norm = nn.BatchNorm2d(convolution.out_channels) if is_flat else nn.BatchNorm3d(convolution.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, ...] to [B, C', ...]."""
        return functional.relu(self.norm(self.convolution(x)))


def _spatial(channels: int, out_channels: int, *, stride: int = 1, kernel: int = 3) -> nn.Conv3d:
    size, padding = (1, kernel, kernel), (0, kernel // 2, kernel // 2)
    return nn.Conv3d(channels, out_channels, size, stride=(1, stride, stride), padding=padding, bias=False)


def _temporal(channels: int, *, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(channels, channels, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0), bias=False)


class AudioTower(nn.Module):
    """Plain convolutions over a mel spectrogram; the last stage keeps its resolution."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        stem = nn.Conv2d(1, widths[0], _STEM_KERNEL, stride=2, padding=_STEM_KERNEL // 2, bias=False)
        self.stem = ConvolutionStep(stem)
        self.blocks = nn.ModuleList()
        for index, (channels, width) in enumerate(pairwise((widths[0], *widths))):
            stride = 1 if index == len(widths) - 1 else 2
            first = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
            second = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.blocks.append(nn.Sequential(ConvolutionStep(first), ConvolutionStep(second)))

    def forward(self, mel: Tensor) -> Tensor:
        """Embed mel spectrograms [B, 1, 128, 204] as [B, widths[-1]]."""
        h: Tensor = self.stem(mel)
        for block in self.blocks:
            h = block(h)
        return h.mean(dim=(2, 3))


class FactorizedBlock(nn.Module):
    """A residual block of spatial and temporal convolutions in turn (R(2+1)D, without its widened middle).

    The norm comes after the sum, and the shortcut has none.
    """

    def __init__(self, channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.spatial_in = ConvolutionStep(_spatial(channels, out_channels, stride=stride))
        self.temporal_in = ConvolutionStep(_temporal(out_channels, stride=stride))
        self.spatial_out = ConvolutionStep(_spatial(out_channels, out_channels))
        self.temporal_out = _temporal(out_channels)
        self.shortcut = (
            nn.Conv3d(channels, out_channels, 1, stride=stride, bias=False)
            if stride > 1 or channels != out_channels
            else None
        )
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, T, H, W] to [B, C', T', H', W']."""
        h = self.spatial_out(self.temporal_in(self.spatial_in(x)))
        kept = x if self.shortcut is None else self.shortcut(x)
        return functional.relu(self.norm(kept + self.temporal_out(h)))


class VideoTower(nn.Module):
    """Factorized residual convolutions over frames; any number of them."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        stem = nn.Conv3d(3, widths[0], (3, _STEM_KERNEL, _STEM_KERNEL), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
        self.stem = ConvolutionStep(stem)
        self.stages = nn.ModuleList()
        for index, (channels, width) in enumerate(pairwise((widths[0], *widths))):
            first = FactorizedBlock(channels, width, stride=2 if index else 1)
            self.stages.append(nn.Sequential(first, FactorizedBlock(width, width, stride=1)))

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames [B, 3, T, 224, 224] as [B, widths[-1]]."""
        h: Tensor = functional.max_pool3d(self.stem(frames), (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        for stage in self.stages:
            h = stage(h)
        return h.mean(dim=(2, 3, 4))


class SyncClassifier(nn.Module):
    """Scores how well a sound fits a video: the judge behind RelSync and AlignSync.

    Source: AVSyncD's AVSync classifier, as published.
    """

    def __init__(self, config: SyncClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = AudioTower(config.widths)
        self.video = VideoTower(config.widths)
        first, second = config.hidden
        self.head = nn.Sequential(
            nn.Linear(2 * config.widths[-1], first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, 1),
        )

    def compare(self, audio: Tensor, video: Tensor) -> Tensor:
        """Scores [B] of embeddings [B, widths[-1]] each; raw logits."""
        scores: Tensor = self.head(torch.cat([audio, video], dim=1))
        return scores.squeeze(1)

    def forward(self, mel: Tensor, frames: Tensor) -> Tensor:
        """Score B clips.

        Args:
            mel: normalised log-mel [B, 1, 128, 204].
            frames: [B, 3, T, 224, 224] with CLIP's colour normalisation.
        Returns: raw logits [B].
        """
        return self.compare(self.audio(mel), self.video(frames))
