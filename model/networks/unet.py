"""The video UNet of both diffusion stages: keyframe generation, and motion interpolation.

The two published networks differ in one embedding (`has_frame_index`); the paper's FreeNoise windows are an argument.
Latents are [B, C, T, h, w]; inside, frames are a batch [B * T, C, h, w].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from model.networks.attention import ContextKeys, ContextTokens, TemporalWindows
from model.networks.blocks import (
    BlockInputs,
    Downsample,
    ResidualBlock,
    SpatialTransformer,
    TemporalTransformer,
    Upsample,
    zero_initialized,
)
from model.networks.embeddings import NumberEmbedding
from model.networks.precision import Conv2d, GroupNorm, Linear, stream_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """Size of a video UNet; the defaults are the published ones.

    Args:
        in_channels: latent channels and everything that is concatenated to them.
        channel_mult: width of each resolution level, times `model_channels`.
        attention_downsample: down-sampling factors of the levels that have transformers; the middle always has.
        init_attention_heads: heads of the temporal transformer before the first level, 0 for none.
        context_dim: width of text and image tokens; audio tokens of width `audio_dim` are projected to it.
        has_frame_index: whether each frame's index on the video's time grid is an input.
    Raises: ValueError when heads or groups do not divide the widths.
    """

    in_channels: int = 8
    out_channels: int = 4
    model_channels: int = 320
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attention_downsample: tuple[int, ...] = (1, 2, 4)
    head_width: int = 64
    init_attention_heads: int = 8
    num_groups: int = 32
    context_dim: int = 1024
    audio_dim: int = 768
    has_frame_index: bool = True
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for width in self.widths:
            if width % self.head_width or width % self.num_groups:
                raise ValueError(
                    f"a width of {width} is not whole heads of {self.head_width} and {self.num_groups} groups"
                )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each resolution level."""
        return tuple(self.model_channels * mult for mult in self.channel_mult)

    @property
    def size_multiple(self) -> int:
        """What height and width of the latents must be multiples of."""
        return int(2 ** (len(self.channel_mult) - 1))


@dataclass(frozen=True, slots=True)
class UNetContext:
    """What B videos of T frames are told: the keys and values of each cross-attention, in the order of the network."""

    keys: tuple[ContextKeys, ...]
    batch: int
    num_frames: int


class InputBlock(nn.Module):
    """The first convolution, and a temporal transformer where there is one."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.convolution = Conv2d(config.in_channels, config.model_channels, 3, padding=1)
        self.temporal = (
            TemporalTransformer(
                config.model_channels,
                heads=config.init_attention_heads,
                head_width=config.head_width,
                groups=config.num_groups,
            )
            if config.init_attention_heads
            else None
        )

    def forward(self, x: Tensor, inputs: BlockInputs) -> Tensor:
        """Map frames [B * T, in_channels, h, w] to [B * T, model_channels, h, w]."""
        h: Tensor = self.convolution(x)
        if self.temporal is not None:
            h = self.temporal(h, inputs)
        return h


class LevelBlock(nn.Module):
    """A residual block, the transformers of its level, and up-sampling where a level of the decoder ends."""

    def __init__(
        self, config: UNetConfig, channels: int, out_channels: int, *, has_attention: bool, has_upsample: bool = False
    ) -> None:
        super().__init__()
        self.residual = _residual(config, channels, out_channels)
        self.spatial = _spatial(config, out_channels) if has_attention else None
        self.temporal = _temporal(config, out_channels) if has_attention else None
        self.upsample = Upsample(out_channels) if has_upsample else None

    def forward(self, x: Tensor, inputs: BlockInputs) -> Tensor:
        """Map frames [B * T, C, H, W] to [B * T, C', H', W']."""
        h: Tensor = self.residual(x, inputs)
        for layer in (self.spatial, self.temporal, self.upsample):
            if layer is not None:
                h = layer(h, inputs)
        return h


class MiddleBlock(nn.Module):
    """The bottom of the UNet: transformers between two residual blocks."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.residual_in = _residual(config, channels, channels)
        self.spatial = _spatial(config, channels)
        self.temporal = _temporal(config, channels)
        self.residual_out = _residual(config, channels, channels)

    def forward(self, x: Tensor, inputs: BlockInputs) -> Tensor:
        """Map frames [B * T, C, H, W] to frames."""
        for layer in (self.residual_in, self.spatial, self.temporal, self.residual_out):
            x = layer(x, inputs)
        return x


class UNet(nn.Module):
    """Predict the diffusion target of a video from noisy latents and their conditioning.

    Source: KeyVID sec. 3.3 and 3.4; DynamiCrafter (Xing et al. 2024) is the network it extends.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        # While training: each block computes its activations again in the backward pass instead of keeping them.
        self.activation_checkpointing = False
        channels, embedding_dim = config.model_channels, 4 * config.model_channels
        self.time_embedding = NumberEmbedding(channels, embedding_dim, zero_initialized=False)
        self.fps_embedding = NumberEmbedding(channels, embedding_dim, zero_initialized=True)
        if config.has_frame_index:
            self.frame_index_embedding = NumberEmbedding(channels, embedding_dim, zero_initialized=True)
        self.audio_projection = Linear(config.audio_dim, config.context_dim)
        self.encoder = nn.ModuleList([InputBlock(config), *_encoder_blocks(config)])
        self.middle = MiddleBlock(config, config.widths[-1])
        self.decoder = nn.ModuleList(_decoder_blocks(config))
        self.output_norm = GroupNorm(config.num_groups, channels)
        self.output_convolution = zero_initialized(Conv2d(channels, config.out_channels, 3, padding=1))
        for position, transformer in enumerate(self._spatial_transformers()):
            transformer.position = position

    def read(self, *, text: Tensor, image: Tensor, audio: Tensor) -> UNetContext:
        """Make keys and values of the conditions, which stay the same at every denoising step.

        Args:
            text: [B, N_text, context_dim].
            image: [B, T, N_image, context_dim].
            audio: [B, T, N_audio, audio_dim].
        Raises: ValueError when they are not of as many videos and frames.
        """
        batch, num_frames = image.shape[:2]
        if text.shape[0] != batch or audio.shape[:2] != (batch, num_frames):
            raise ValueError(f"text and audio tokens are not of {batch} videos of {num_frames} frames")
        tokens = ContextTokens(text, image.flatten(0, 1), self._project_audio(audio).flatten(0, 1))
        keys = tuple(part.layer.cross_attention.read(tokens) for part in self._spatial_transformers())
        return UNetContext(keys, batch, num_frames)

    def embed(self, timesteps: Tensor, *, fps: Tensor, frame_index: Tensor | None, num_frames: int) -> Tensor:
        """Embed diffusion time [B], frame rate [B] and frame indices [B, T] together: [B, T, E].

        Raises: ValueError when the network needs frame indices and there are none.
        """
        per_video: Tensor = self.time_embedding(timesteps) + self.fps_embedding(fps)
        embedding = per_video[:, None].expand(-1, num_frames, -1)
        if not self.config.has_frame_index:
            return embedding
        if frame_index is None:
            raise ValueError("this network needs the index of each frame")
        per_frame: Tensor = self.frame_index_embedding(frame_index)
        return embedding + per_frame

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        *,
        context: UNetContext,
        fps: Tensor,
        frame_index: Tensor | None = None,
        temporal_window: tuple[int, int] | None = None,
    ) -> Tensor:
        """Predict the target of `x`.

        Args:
            x: [B, in_channels, T, h, w] of any type; noisy latents first, then what is concatenated to them.
            timesteps: diffusion time of each video [B].
            context: what `read` made of the conditions.
            fps: frames per second of each video [B].
            frame_index: [B, T], read only by networks that have it.
            temporal_window: length and stride in frames of FreeNoise's windows; None attends to all frames at once, as
                the released interpolation does.
        Returns: [B, out_channels, T, h, w], of the type in which frames flow (`model.networks.precision`).
        Raises: ValueError for sizes that the network cannot halve, or that disagree.
        """
        batch, _, num_frames, height, width = x.shape
        multiple = self.config.size_multiple
        if height % multiple or width % multiple:
            raise ValueError(f"latents of {height}x{width} are not multiples of {multiple}")
        if (context.batch, context.num_frames) != (batch, num_frames):
            raise ValueError(f"the conditions are not of {batch} videos of {num_frames} frames")
        embedding = self.embed(timesteps, fps=fps, frame_index=frame_index, num_frames=num_frames)
        inputs = BlockInputs(
            embedding=functional.silu(embedding.flatten(0, 1)),
            context=context.keys,
            num_frames=num_frames,
            windows=_windows(x, temporal_window, dtype=self.audio_projection.weight.dtype),
        )
        h = rearrange(x, "b c t h w -> (b t) c h w").to(stream_dtype(self.audio_projection.weight.dtype))
        skips = []
        for block in self.encoder:
            h = self._run(block, h, inputs)
            skips.append(h)
        h = self._run(self.middle, h, inputs)
        for block in self.decoder:
            h = self._run(block, torch.cat([h, skips.pop()], dim=1), inputs)
        out: Tensor = self.output_convolution(functional.silu(self.output_norm(h)))
        return rearrange(out, "(b t) c h w -> b c t h w", t=num_frames)

    def _spatial_transformers(self) -> Iterator[SpatialTransformer]:
        return (part for part in self.modules() if isinstance(part, SpatialTransformer))

    def _run(self, block: nn.Module, h: Tensor, inputs: BlockInputs) -> Tensor:
        if self.activation_checkpointing and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(block, h, inputs, use_reentrant=False)
            return recomputed
        out: Tensor = block(h, inputs)
        return out

    def _project_audio(self, audio: Tensor) -> Tensor:
        projected: Tensor = self.audio_projection(audio)
        # In float32: half precision has no epsilon that small.
        return functional.normalize(projected.float(), dim=-1, eps=1e-12).to(projected.dtype)


def _windows(x: Tensor, window: tuple[int, int] | None, *, dtype: torch.dtype) -> TemporalWindows | None:
    num_frames = x.shape[2]
    if window is None or num_frames <= window[0]:
        return None
    return TemporalWindows.build(num_frames, length=window[0], stride=window[1], dtype=dtype, device=x.device)


def _residual(config: UNetConfig, channels: int, out_channels: int) -> ResidualBlock:
    return ResidualBlock(
        channels,
        out_channels,
        embedding_dim=4 * config.model_channels,
        groups=config.num_groups,
        dropout=config.dropout,
    )


def _spatial(config: UNetConfig, channels: int) -> SpatialTransformer:
    return SpatialTransformer(
        channels, context_dim=config.context_dim, heads=channels // config.head_width, groups=config.num_groups
    )


def _temporal(config: UNetConfig, channels: int) -> TemporalTransformer:
    return TemporalTransformer(
        channels, heads=channels // config.head_width, head_width=config.head_width, groups=config.num_groups
    )


def _encoder_blocks(config: UNetConfig) -> Iterator[nn.Module]:
    """Blocks after the input block, finest level first, with down-sampling between levels."""
    channels = config.model_channels
    for level, width in enumerate(config.widths):
        has_attention = 2**level in config.attention_downsample
        for _ in range(config.num_res_blocks):
            yield LevelBlock(config, channels, width, has_attention=has_attention)
            channels = width
        if level < len(config.widths) - 1:
            yield Downsample(channels)


def _skip_widths(config: UNetConfig) -> list[int]:
    """Channels that each encoder block leaves for the decoder, in encoder order."""
    skips = [config.model_channels]
    for level, width in enumerate(config.widths):
        is_last = level == len(config.widths) - 1
        skips += [width] * (config.num_res_blocks + (0 if is_last else 1))
    return skips


def _decoder_blocks(config: UNetConfig) -> Iterator[nn.Module]:
    """Blocks from the coarsest level up, one for each skip of the encoder."""
    skips = _skip_widths(config)
    channels = config.widths[-1]
    for level, width in reversed(list(enumerate(config.widths))):
        has_attention = 2**level in config.attention_downsample
        for index in range(config.num_res_blocks + 1):
            is_last = index == config.num_res_blocks
            yield LevelBlock(
                config,
                channels + skips.pop(),
                width,
                has_attention=has_attention,
                has_upsample=is_last and level > 0,
            )
            channels = width
