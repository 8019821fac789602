"""Attention and feed-forward layers of the video UNet.

Legend: B batch, T frames, L query tokens, S key tokens, D width, W windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.networks.precision import Linear

# CUDA's fused kernels put the batch on a grid axis of at most 65,535; temporal attention has one sequence per pixel.
_MAX_SEQUENCES = 32_768


@dataclass(frozen=True, slots=True)
class TemporalWindows:
    """Overlapping windows of frames within which temporal attention runs, and how their results fuse.

    Args:
        length, stride: in frames.
        shares: [W, length, 1]; how much of a frame's result comes from each window that holds it, 1 in all.
    """

    length: int
    stride: int
    shares: Tensor

    @staticmethod
    def build(
        num_frames: int, *, length: int, stride: int, dtype: torch.dtype, device: torch.device
    ) -> TemporalWindows:
        """Windows over `num_frames`, weighted 1, 2, ... towards their middle.

        Raises: ValueError when the windows do not cover all frames.
        Source: FreeNoise (Qiu et al. 2024), sec. 3.2; KeyVID sec. 3.5.
        """
        if stride < 1 or not stride <= length <= num_frames or (num_frames - length) % stride:
            raise ValueError(f"windows of {length} frames every {stride} do not cover {num_frames} frames")
        starts = range(0, num_frames - length + 1, stride)
        weights = [min(position + 1, length - position) for position in range(length)]
        totals = [0] * num_frames
        for start in starts:
            for position, weight in enumerate(weights):
                totals[start + position] += weight
        shares = [[[weight / totals[start + position]] for position, weight in enumerate(weights)] for start in starts]
        return TemporalWindows(length, stride, torch.tensor(shares, dtype=dtype, device=device))

    def split(self, x_BTD: Tensor) -> Tensor:
        """Cut sequences [B, T, D] into windows [B * W, length, D]."""
        return x_BTD.unfold(1, self.length, self.stride).transpose(2, 3).flatten(0, 1)

    def fuse(self, windows: Tensor) -> Tensor:
        """Average windows [B * W, length, D] into sequences [B, T, D]."""
        num_windows, length = self.shares.shape[:2]
        weighted = windows.view(-1, num_windows, length, windows.shape[-1]) * self.shares
        fused = weighted.new_zeros(len(weighted), (num_windows - 1) * self.stride + length, windows.shape[-1])
        for window in range(num_windows):
            start = window * self.stride
            fused[:, start : start + length] += weighted[:, window]
        return fused


@dataclass(frozen=True, slots=True)
class ContextTokens:
    """What cross-attention reads: `text` [B, N, D] of each video, `image` and `audio` [B * T, N, D] of each frame."""

    text: Tensor
    image: Tensor
    audio: Tensor


@dataclass(frozen=True, slots=True)
class ContextKeys:
    """Keys and values that one cross-attention makes of its context: once for all denoising steps."""

    text: tuple[Tensor, Tensor]
    image: tuple[Tensor, Tensor]
    audio: tuple[Tensor, Tensor]


def attend(q_BLD: Tensor, k_BSD: Tensor, v_BSD: Tensor, *, heads: int) -> Tensor:
    """Softmax attention with heads split from, and merged into, the last axis: [B, L, D]."""
    if q_BLD.shape[0] > _MAX_SEQUENCES:
        parts = zip(*(torch.split(t, _MAX_SEQUENCES) for t in (q_BLD, k_BSD, v_BSD)), strict=True)
        return torch.cat([attend(q, k, v, heads=heads) for q, k, v in parts])
    q, k, v = (t.view(*t.shape[:2], heads, -1).transpose(1, 2) for t in (q_BLD, k_BSD, v_BSD))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Self-attention; along time it may run in overlapping windows."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(dim, dim, bias=False)
        self.key = Linear(dim, dim, bias=False)
        self.value = Linear(dim, dim, bias=False)
        self.output = Linear(dim, dim)

    def forward(self, x_BLD: Tensor, *, windows: TemporalWindows | None = None) -> Tensor:
        """Map tokens [B, L, D] to tokens."""
        q, k, v = self.query(x_BLD), self.key(x_BLD), self.value(x_BLD)
        if windows is None:
            attended = attend(q, k, v, heads=self.heads)
        else:
            attended = windows.fuse(attend(*map(windows.split, (q, k, v)), heads=self.heads))
        out: Tensor = self.output(attended)
        return out


class CrossAttention(nn.Module):
    """One query, three attentions: to the prompt, to the picture, and, gated, to the sound.

    The audio gate is 1 + tanh(beta); the picture's is the constant 1, as in the published weights.
    Source: KeyVID sec. 3.3, eq. 4 (whose lambda_2 the released network fixes at 1).
    """

    def __init__(self, dim: int, *, context_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(dim, dim, bias=False)
        self.text_key = Linear(context_dim, dim, bias=False)
        self.text_value = Linear(context_dim, dim, bias=False)
        self.image_key = Linear(context_dim, dim, bias=False)
        self.image_value = Linear(context_dim, dim, bias=False)
        self.audio_key = Linear(context_dim, dim, bias=False)
        self.audio_value = Linear(context_dim, dim, bias=False)
        self.audio_gate = nn.Parameter(torch.zeros(()))
        self.output = Linear(dim, dim)
        # A network that does not hear yet: fine-tuning starts from the silent one.
        nn.init.zeros_(self.audio_key.weight)
        nn.init.zeros_(self.audio_value.weight)

    def read(self, context: ContextTokens) -> ContextKeys:
        """Make keys and values of the context's tokens."""
        text, image, audio = context.text, context.image, context.audio
        return ContextKeys(
            text=(self.text_key(text), self.text_value(text)),
            image=(self.image_key(image), self.image_value(image)),
            audio=(self.audio_key(audio), self.audio_value(audio)),
        )

    def forward(self, x_BLD: Tensor, context: ContextKeys) -> Tensor:
        """Map frame tokens [B * T, L, D] to tokens; `context.text` may hold one row per T of them."""
        query: Tensor = self.query(x_BLD)
        # All frames of a video read the same prompt: fold them into one sequence instead of repeating the prompt.
        folded = query.reshape(context.text[0].shape[0], -1, query.shape[-1])
        reads = attend(folded, *context.text, heads=self.heads).view_as(query)
        sees = attend(query, *context.image, heads=self.heads)
        hears = attend(query, *context.audio, heads=self.heads)
        out: Tensor = self.output(reads + sees + (1 + self.audio_gate.tanh()) * hears)
        return out


class GatedFeedForward(nn.Module):
    """Two linear layers around a GELU gate (GEGLU, exact GELU)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.expand = Linear(dim, 8 * dim)
        self.contract = Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis, width to width."""
        content, gate = self.expand(x).chunk(2, dim=-1)
        out: Tensor = self.contract(content * functional.gelu(gate))
        return out
