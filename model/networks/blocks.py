"""Blocks of the video UNet; every one maps frames [B * T, C, H, W] to frames, batch-major."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from model.networks.attention import ContextKeys, CrossAttention, GatedFeedForward, SelfAttention, TemporalWindows
from model.networks.precision import Conv2d, GroupNorm, LayerNorm, Linear

if TYPE_CHECKING:
    from collections.abc import Sequence

# The published weights were trained with torch's default in residual blocks and 1e-6 in transformers.
_BLOCK_NORM_EPS = 1e-5
_TRANSFORMER_NORM_EPS = 1e-6

_Layer = TypeVar("_Layer", nn.Linear, nn.Conv2d)


@dataclass(frozen=True, slots=True)
class BlockInputs:
    """What every block may read besides its frames.

    Args:
        embedding: activated time, fps and frame-index embedding [B * T, E].
        context: keys and values of each spatial transformer's cross-attention, by its `position`.
        num_frames: T.
        windows: windows of temporal attention, or None for all frames at once.
    """

    embedding: Tensor
    context: Sequence[ContextKeys]
    num_frames: int
    windows: TemporalWindows | None


def zero_initialized(layer: _Layer) -> _Layer:
    """Make `layer` start as a constant zero, so that its residual branch starts as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class TemporalConvStage(nn.Module):
    """Group norm, SiLU and a convolution over three frames.

    The input is [B, C, T, H * W], so that a 2-D convolution does the work: faster than a 3-D one, the same numbers.
    """

    def __init__(self, channels: int, *, groups: int, dropout: float) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, channels, eps=_BLOCK_NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        self.convolution = Conv2d(channels, channels, (3, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, T, H * W] to the same shape; statistics span all frames."""
        out: Tensor = self.convolution(self.dropout(functional.silu(self.norm(x))))
        return out


class TemporalConvolutions(nn.Module):
    """Four temporal convolutions in a row, added to their input; the last starts at zero."""

    def __init__(self, channels: int, *, groups: int, dropout: float) -> None:
        super().__init__()
        rates = (0.0, dropout, dropout, dropout)
        self.stages = nn.Sequential(*(TemporalConvStage(channels, groups=groups, dropout=rate) for rate in rates))
        last = self.stages[-1]
        assert isinstance(last, TemporalConvStage)
        zero_initialized(last.convolution)

    def forward(self, x: Tensor, *, num_frames: int) -> Tensor:
        """Map frames [B * T, C, H, W] to frames."""
        height = x.shape[2]
        video = rearrange(x, "(b t) c h w -> b c t (h w)", t=num_frames)
        video = video + self.stages(video)
        frames: Tensor = rearrange(video, "b c t (h w) -> (b t) c h w", h=height)
        return frames


class ResidualBlock(nn.Module):
    """Two convolutions with the embedding added between them, then temporal convolutions."""

    def __init__(self, channels: int, out_channels: int, *, embedding_dim: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.norm_in = GroupNorm(groups, channels, eps=_BLOCK_NORM_EPS)
        self.convolution_in = Conv2d(channels, out_channels, 3, padding=1)
        self.embedding = Linear(embedding_dim, out_channels)
        self.norm_out = GroupNorm(groups, out_channels, eps=_BLOCK_NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        self.convolution_out = zero_initialized(Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Identity() if channels == out_channels else Conv2d(channels, out_channels, 1)
        self.temporal = TemporalConvolutions(out_channels, groups=groups, dropout=dropout)

    def forward(self, x: Tensor, inputs: BlockInputs) -> Tensor:
        """Map frames [B * T, C, H, W] to [B * T, C', H, W]."""
        h = self.convolution_in(functional.silu(self.norm_in(x)))
        h = h + self.embedding(inputs.embedding)[:, :, None, None]
        h = self.convolution_out(self.dropout(functional.silu(self.norm_out(h))))
        out: Tensor = self.temporal(self.skip(x) + h, num_frames=inputs.num_frames)
        return out


class SpatialLayer(nn.Module):
    """Pre-norm transformer layer: self-attention, cross-attention, feed-forward."""

    def __init__(self, dim: int, *, context_dim: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(dim)
        self.attention = SelfAttention(dim, heads=heads)
        self.cross_attention_norm = LayerNorm(dim)
        self.cross_attention = CrossAttention(dim, context_dim=context_dim, heads=heads)
        self.feed_forward_norm = LayerNorm(dim)
        self.feed_forward = GatedFeedForward(dim)

    def forward(self, x: Tensor, context: ContextKeys) -> Tensor:
        """Map frame tokens [B * T, L, D] to tokens."""
        x = x + self.attention(self.attention_norm(x))
        x = x + self.cross_attention(self.cross_attention_norm(x), context)
        out: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return out


class TemporalLayer(nn.Module):
    """Pre-norm transformer layer: self-attention twice, feed-forward."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.first_attention_norm = LayerNorm(dim)
        self.first_attention = SelfAttention(dim, heads=heads)
        self.second_attention_norm = LayerNorm(dim)
        self.second_attention = SelfAttention(dim, heads=heads)
        self.feed_forward_norm = LayerNorm(dim)
        self.feed_forward = GatedFeedForward(dim)

    def forward(self, x: Tensor, *, windows: TemporalWindows | None) -> Tensor:
        """Map sequences of frames [B * H * W, T, D] to sequences."""
        x = x + self.first_attention(self.first_attention_norm(x), windows=windows)
        x = x + self.second_attention(self.second_attention_norm(x), windows=windows)
        out: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return out


class SpatialTransformer(nn.Module):
    """Attention among the pixels of each frame, and to the conditioning; `position` is its place in the network."""

    position: int = 0

    def __init__(self, channels: int, *, context_dim: int, heads: int, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, channels, eps=_TRANSFORMER_NORM_EPS)
        self.input = Linear(channels, channels)
        self.layer = SpatialLayer(channels, context_dim=context_dim, heads=heads)
        self.output = zero_initialized(Linear(channels, channels))

    def forward(self, x: Tensor, inputs: BlockInputs) -> Tensor:
        """Map frames [B * T, C, H, W] to frames."""
        tokens = self.input(rearrange(self.norm(x), "n c h w -> n (h w) c")).to(x.dtype)
        tokens = self.output(self.layer(tokens, inputs.context[self.position]))
        frames: Tensor = rearrange(tokens, "n (h w) c -> n c h w", h=x.shape[2])
        return x + frames


class TemporalTransformer(nn.Module):
    """Attention among the frames at each pixel; nothing tells it the order of frames."""

    def __init__(self, channels: int, *, heads: int, head_width: int, groups: int) -> None:
        super().__init__()
        dim = heads * head_width
        self.norm = GroupNorm(groups, channels, eps=_TRANSFORMER_NORM_EPS)
        self.input = Linear(channels, dim)
        self.layer = TemporalLayer(dim, heads=heads)
        self.output = zero_initialized(Linear(dim, channels))

    def forward(self, x: Tensor, inputs: BlockInputs) -> Tensor:
        """Map frames [B * T, C, H, W] to frames; the group norm's statistics span all frames."""
        height, width = x.shape[2:]
        video = self.norm(rearrange(x, "(b t) c h w -> b c t h w", t=inputs.num_frames))
        sequences = self.input(rearrange(video, "b c t h w -> (b h w) t c")).to(x.dtype)
        sequences = self.output(self.layer(sequences, windows=inputs.windows))
        frames: Tensor = rearrange(sequences, "(b h w) t c -> (b t) c h w", h=height, w=width)
        return x + frames


class Downsample(nn.Module):
    """Halve height and width with a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, _: BlockInputs) -> Tensor:
        """Map frames [N, C, H, W] to [N, C, H/2, W/2]."""
        out: Tensor = self.convolution(x)
        return out


class Upsample(nn.Module):
    """Double height and width: nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, _: BlockInputs) -> Tensor:
        """Map frames [N, C, H, W] to [N, C, 2H, 2W]."""
        out: Tensor = self.convolution(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out
