"""ImageBind's vision and text towers, which place pictures and words in one space with its sounds.

Legend: B batch, L tokens, D width. The audio branch is `model.encoders.audio`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.encoders.audio import FeedForward

_NORM_EPS = 1e-6
_MAX_LOGIT_SCALE = 100.0


@dataclass(frozen=True, slots=True)
class VisionTowerConfig:
    """Size of a `VisionTower`; the defaults are ImageBind-huge's. `kernel` is (frames, rows, columns) of a patch."""

    dim: int = 1280
    depth: int = 32
    heads: int = 16
    kernel: tuple[int, int, int] = (2, 14, 14)
    input_px: int = 224
    embedding_dim: int = 1024

    @property
    def num_patches(self) -> int:
        """Patches of one picture."""
        return (self.input_px // self.kernel[1]) * (self.input_px // self.kernel[2])


@dataclass(frozen=True, slots=True)
class TextTowerConfig:
    """Size of a `TextTower`; the defaults are ImageBind-huge's."""

    dim: int = 1024
    depth: int = 24
    heads: int = 16
    vocabulary: int = 49408
    num_tokens: int = 77
    embedding_dim: int = 1024


class Attention(nn.Module):
    """Self-attention; a causal one sees no later token."""

    def __init__(self, dim: int, heads: int, *, is_causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.is_causal = is_causal
        self.qkv = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Map tokens [B, L, D] to tokens."""
        batch, length, dim = x_BLD.shape
        q, k, v = self.qkv(x_BLD).view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=self.is_causal)
        out: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, *, is_causal: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.attention = Attention(dim, heads, is_causal=is_causal)
        self.feed_forward_norm = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.feed_forward = FeedForward(dim)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Map tokens [B, L, D] to tokens."""
        x_BLD = x_BLD + self.attention(self.attention_norm(x_BLD))
        out: Tensor = x_BLD + self.feed_forward(self.feed_forward_norm(x_BLD))
        return out


class VisionTower(nn.Module):
    """Embeds still pictures, each repeated to the frames of one patch."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = nn.Conv3d(3, config.dim, config.kernel, stride=config.kernel, bias=False)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.positions = nn.Parameter(torch.zeros(1, 1 + config.num_patches, config.dim))
        self.input_norm = nn.LayerNorm(config.dim, eps=_NORM_EPS)
        self.blocks = nn.ModuleList(Block(config.dim, config.heads, is_causal=False) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=_NORM_EPS)
        self.projection = nn.Linear(config.dim, config.embedding_dim, bias=False)

    def embed(self, image: Tensor) -> Tensor:
        """Tokens [B, 1 + patches, dim] before the first norm, class token first, patches row by row."""
        video = image[:, :, None].expand(-1, -1, self.config.kernel[0], -1, -1)
        patches = self.patches(video).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(image), -1, -1), patches], dim=1) + self.positions

    def forward(self, image: Tensor) -> Tensor:
        """Embed pictures [B, 3, 224, 224] with CLIP's colour normalisation as [B, embedding_dim] of length 1."""
        tokens: Tensor = self.input_norm(self.embed(image))
        for block in self.blocks:
            tokens = block(tokens)
        return functional.normalize(self.projection(self.norm(tokens[:, 0])), dim=-1)


class TextTower(nn.Module):
    """Embeds sentences, read at their end token."""

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.dim)
        self.positions = nn.Parameter(torch.zeros(1, config.num_tokens, config.dim))
        self.blocks = nn.ModuleList(Block(config.dim, config.heads, is_causal=True) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=_NORM_EPS)
        self.projection = nn.Linear(config.dim, config.embedding_dim, bias=False)
        self.log_logit_scale = nn.Parameter(torch.zeros(()))

    @property
    def scale(self) -> Tensor:
        """Length of the embeddings; divide by it for cosines."""
        return self.log_logit_scale.exp().clamp(max=_MAX_LOGIT_SCALE)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Embed CLIP token ids int64 [B, 77], zeros after the end token, as [B, embedding_dim] of length `scale`."""
        tokens: Tensor = self.embedding(token_ids) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        # The end token has the largest id of the vocabulary.
        ends = tokens[torch.arange(len(tokens), device=tokens.device), token_ids.argmax(dim=1)]
        return functional.normalize(self.projection(self.norm(ends)), dim=-1) * self.scale
