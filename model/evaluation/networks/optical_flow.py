"""Optical flow between two frames: RAFT, which the published motion scores were measured with.

Flow and coordinates are [B, 2, h, w], horizontal part first, in cells of 8 pixels until they are up-sampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_CELL_PX = 8
_NEIGHBOURS = 9  # 3 x 3


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """Size of a `FlowNetwork`; the defaults are those of the large RAFT.

    Args:
        widths: channels of the three stages of both encoders; the first is also that of their stems.
        feature_dim: channels that are correlated.
        hidden, context: parts of the context encoder's channels: the recurrent state, and what it reads.
        levels, radius: of the correlation pyramid and of the look-up around each cell.
    """

    widths: tuple[int, int, int] = (64, 96, 128)
    feature_dim: int = 256
    hidden: int = 128
    context: int = 128
    levels: int = 4
    radius: int = 4

    @property
    def lookup_channels(self) -> int:
        """Correlations that each cell reads."""
        return self.levels * (2 * self.radius + 1) ** 2


@dataclass(frozen=True, slots=True)
class Flow:
    """Displacement from the first frame to the second: `coarse` in cells at 1/8 size, `full` in pixels."""

    coarse: Tensor
    full: Tensor


def _norm(channels: int, *, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.InstanceNorm2d(channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norms, and a strided shortcut where the size changes."""

    def __init__(self, channels: int, out_channels: int, *, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.convolution_in = nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1)
        self.norm_in = _norm(out_channels, batch_norm=batch_norm)
        self.convolution_out = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm_out = _norm(out_channels, batch_norm=batch_norm)
        self.shortcut = nn.Conv2d(channels, out_channels, 1, stride=stride) if stride > 1 else None
        self.shortcut_norm = _norm(out_channels, batch_norm=batch_norm) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C', H', W']."""
        h = functional.relu(self.norm_in(self.convolution_in(x)))
        h = functional.relu(self.norm_out(self.convolution_out(h)))
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut_norm(self.shortcut(x))
        return functional.relu(x + h)


class FrameEncoder(nn.Module):
    """Frames to features at 1/8 size."""

    def __init__(self, widths: tuple[int, ...], out_channels: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 7, stride=2, padding=3)
        self.stem_norm = _norm(widths[0], batch_norm=batch_norm)
        self.stages = nn.ModuleList()
        for index, (channels, width) in enumerate(pairwise((widths[0], *widths))):
            first = ResidualBlock(channels, width, stride=2 if index else 1, batch_norm=batch_norm)
            self.stages.append(nn.Sequential(first, ResidualBlock(width, width, stride=1, batch_norm=batch_norm)))
        self.output = nn.Conv2d(widths[-1], out_channels, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames [B, 3, H, W] in [-1, 1] as [B, out_channels, H/8, W/8]."""
        h: Tensor = functional.relu(self.stem_norm(self.stem(frames)))
        for stage in self.stages:
            h = stage(h)
        out: Tensor = self.output(h)
        return out


class CorrelationPyramid:
    """Similarity of every cell of the first frame with every cell of the second, at several scales."""

    def __init__(self, first: Tensor, second: Tensor, *, levels: int, radius: int) -> None:
        batch, channels, height, width = first.shape
        similarity = torch.einsum("bchw,bcij->bhwij", first, second) / channels**0.5
        level = similarity.reshape(batch * height * width, 1, height, width)
        self._levels = [level]
        for _ in range(levels - 1):
            level = functional.avg_pool2d(level, 2, stride=2)
            self._levels.append(level)
        offsets = torch.arange(-radius, radius + 1, dtype=first.dtype, device=first.device)
        # The slow index of a window is the horizontal offset: the published weights read it so.
        self._window = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), dim=-1)

    def look_up(self, coordinates: Tensor) -> Tensor:
        """Similarities around `coordinates` [B, 2, h, w]: [B, levels * window, h, w]; zero outside of the frame."""
        batch, _, height, width = coordinates.shape
        centres = coordinates.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
        windows = []
        for index, level in enumerate(self._levels):
            places = centres / 2**index + self._window
            largest = places.new_tensor([level.shape[3] - 1, level.shape[2] - 1]).clamp(min=1)
            window = functional.grid_sample(level, 2 * places / largest - 1, align_corners=True)
            windows.append(window.view(batch, height, width, -1))
        return torch.cat(windows, dim=-1).permute(0, 3, 1, 2)


class MotionEncoder(nn.Module):
    """The looked-up similarities and the flow so far, as features."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.correlation_in = nn.Conv2d(config.lookup_channels, 256, 1)
        self.correlation_out = nn.Conv2d(256, 192, 3, padding=1)
        self.flow_in = nn.Conv2d(2, 128, 7, padding=3)
        self.flow_out = nn.Conv2d(128, 64, 3, padding=1)
        self.output = nn.Conv2d(192 + 64, config.hidden - 2, 3, padding=1)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        """Map flow [B, 2, h, w] and similarities to [B, hidden, h, w], the flow itself last."""
        seen = functional.relu(self.correlation_out(functional.relu(self.correlation_in(correlation))))
        moved = functional.relu(self.flow_out(functional.relu(self.flow_in(flow))))
        mixed = functional.relu(self.output(torch.cat([seen, moved], dim=1)))
        return torch.cat([mixed, flow], dim=1)


class GatedStep(nn.Module):
    """A convolutional GRU along one axis."""

    def __init__(self, hidden: int, inputs: int, *, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.update = nn.Conv2d(hidden + inputs, hidden, kernel, padding=padding)
        self.reset = nn.Conv2d(hidden + inputs, hidden, kernel, padding=padding)
        self.candidate = nn.Conv2d(hidden + inputs, hidden, kernel, padding=padding)

    def forward(self, state: Tensor, inputs: Tensor) -> Tensor:
        """Advance the state [B, hidden, h, w]."""
        both = torch.cat([state, inputs], dim=1)
        update, reset = self.update(both).sigmoid(), self.reset(both).sigmoid()
        candidate = self.candidate(torch.cat([reset * state, inputs], dim=1)).tanh()
        out: Tensor = (1 - update) * state + update * candidate
        return out


class UpdateBlock(nn.Module):
    """One refinement: look, remember, correct."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        inputs = config.context + config.hidden
        self.motion = MotionEncoder(config)
        self.horizontal = GatedStep(config.hidden, inputs, kernel=(1, 5))
        self.vertical = GatedStep(config.hidden, inputs, kernel=(5, 1))
        self.flow_head = nn.Sequential(
            nn.Conv2d(config.hidden, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 2, 3, padding=1)
        )
        self.mask_head = nn.Sequential(
            nn.Conv2d(config.hidden, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, _NEIGHBOURS * _CELL_PX**2, 1)
        )

    def forward(self, state: Tensor, context: Tensor, flow: Tensor, correlation: Tensor) -> tuple[Tensor, Tensor]:
        """The next state, and the correction of the flow."""
        inputs = torch.cat([context, self.motion(flow, correlation)], dim=1)
        state = self.vertical(self.horizontal(state, inputs), inputs)
        return state, self.flow_head(state)


class FlowNetwork(nn.Module):
    """Flow by repeated look-ups in a correlation pyramid. Source: "RAFT: Recurrent All-Pairs Field Transforms"."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.features = FrameEncoder(config.widths, config.feature_dim, batch_norm=False)
        self.context = FrameEncoder(config.widths, config.hidden + config.context, batch_norm=True)
        self.update_block = UpdateBlock(config)

    def encode(self, frames: Tensor) -> Tensor:
        """Features [B, feature_dim, H/8, W/8] of frames [B, 3, H, W] with values 0 to 255."""
        features: Tensor = self.features(_centred(frames))
        return features

    def forward(self, first: Tensor, second: Tensor, *, num_iterations: int = 20) -> Flow:
        """Measure the flow.

        Args:
            first: frames [B, 3, H, W] with values 0 to 255; both sides multiples of 8.
            second: the frames that follow.
            num_iterations: refinements; the published scores took 20.
        """
        config = self.config
        pyramid = CorrelationPyramid(
            self.encode(first), self.encode(second), levels=config.levels, radius=config.radius
        )
        state, context = self.context(_centred(first)).split([config.hidden, config.context], dim=1)
        state, context = state.tanh(), context.relu()
        start = _grid(state)
        coordinates = start
        for _ in range(num_iterations):
            state, correction = self.update_block(state, context, coordinates - start, pyramid.look_up(coordinates))
            coordinates = coordinates + correction
        coarse = coordinates - start
        # A quarter keeps the gradients of the mask in balance; the weights were trained so.
        return Flow(coarse, _upsample(coarse, 0.25 * self.update_block.mask_head(state)))


def _centred(frames: Tensor) -> Tensor:
    return 2 * (frames / 255) - 1


def _grid(like: Tensor) -> Tensor:
    """Coordinates of the cells of `like` [B, C, h, w]: [B, 2, h, w]."""
    rows, columns = (torch.arange(size, dtype=like.dtype, device=like.device) for size in like.shape[2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y]).expand(len(like), -1, -1, -1)


def _upsample(flow: Tensor, mask: Tensor) -> Tensor:
    """Flow in pixels [B, 2, 8h, 8w]: each one a weighted mean of nine cells."""
    batch, _, height, width = flow.shape
    weights = mask.view(batch, 1, _NEIGHBOURS, _CELL_PX, _CELL_PX, height, width).softmax(dim=2)
    cells = functional.unfold(_CELL_PX * flow, 3, padding=1).view(batch, 2, _NEIGHBOURS, 1, 1, height, width)
    pixels = (weights * cells).sum(dim=2)  # [B, 2, 8, 8, h, w]
    return pixels.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, _CELL_PX * height, _CELL_PX * width)
