"""The image resampler: picture tokens to a few tokens for every frame of the video."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.networks.attention import attend


@dataclass(frozen=True, slots=True)
class ResamplerConfig:
    """Size of a resampler; the defaults are the published ones.

    Args:
        dim: inner width. head_width, heads: of its attention.
        num_queries: tokens per frame. num_frames: frames on the video's time grid.
        embedding_dim: width of picture tokens. output_dim: width of the result.
        ff_mult: width of the feed-forward layers, times `dim`.
    """

    dim: int = 1024
    depth: int = 4
    head_width: int = 64
    heads: int = 12
    num_queries: int = 16
    embedding_dim: int = 1280
    output_dim: int = 1024
    ff_mult: int = 4
    num_frames: int = 48


class ResamplerAttention(nn.Module):
    """Queries attend to the picture's tokens and to each other."""

    def __init__(self, dim: int, *, head_width: int, heads: int) -> None:
        super().__init__()
        inner = head_width * heads
        self.heads = heads
        self.token_norm = nn.LayerNorm(dim)
        self.query_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, inner, bias=False)
        self.key_value = nn.Linear(dim, 2 * inner, bias=False)
        self.output = nn.Linear(inner, dim, bias=False)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Map queries [B, Q, dim], given tokens [B, N, dim], to [B, Q, dim]."""
        queries = self.query_norm(queries)
        seen = torch.cat([self.token_norm(tokens), queries], dim=1)
        key, value = self.key_value(seen).chunk(2, dim=-1)
        out: Tensor = self.output(attend(self.query(queries), key, value, heads=self.heads))
        return out


class ResamplerFeedForward(nn.Module):
    """Norm, then two linear layers without biases around an exact GELU."""

    def __init__(self, dim: int, *, ff_mult: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, ff_mult * dim, bias=False)
        self.contract = nn.Linear(ff_mult * dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis, width to width."""
        out: Tensor = self.contract(functional.gelu(self.expand(self.norm(x))))
        return out


class ResamplerLayer(nn.Module):
    """Attention and feed-forward, each added to the queries."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.attention = ResamplerAttention(config.dim, head_width=config.head_width, heads=config.heads)
        self.feed_forward = ResamplerFeedForward(config.dim, ff_mult=config.ff_mult)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Map queries [B, Q, dim], given tokens [B, N, dim], to [B, Q, dim]."""
        queries = queries + self.attention(queries, tokens)
        out: Tensor = queries + self.feed_forward(queries)
        return out


class Resampler(nn.Module):
    """Turn the tokens of one picture into tokens for each frame, through learned queries per frame.

    Source: KeyVID sec. 3.3 (image condition); the perceiver resampler of DynamiCrafter with queries for 48 frames.
    """

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.config = config
        num_queries = config.num_frames * config.num_queries
        self.queries = nn.Parameter(torch.randn(1, num_queries, config.dim) * config.dim**-0.5)
        self.input = nn.Linear(config.embedding_dim, config.dim)
        self.layers = nn.ModuleList(ResamplerLayer(config) for _ in range(config.depth))
        self.output = nn.Linear(config.dim, config.output_dim)
        self.output_norm = nn.LayerNorm(config.output_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Resample picture tokens [B, N, embedding_dim] to [B, num_frames, num_queries, output_dim]."""
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        tokens = self.input(tokens)
        for layer in self.layers:
            queries = layer(queries, tokens)
        out: Tensor = self.output_norm(self.output(queries))
        return out.view(out.shape[0], self.config.num_frames, self.config.num_queries, -1)
