"""The audio transformer: ImageBind's audio branch, and the same at small widths.

A mel spectrogram is cut into patches (rows are frequency, columns are time); tokens run frequency-major, so that
token `1 + row * n_time + column` is one patch and token 0 the class token, where there is one.
Legend: B batch, L tokens, N heads, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# ImageBind trains its blocks and heads with 1e-6, but the norm after the patch stem with torch's default.
_NORM_EPS = 1e-6
_STEM_NORM_EPS = 1e-5
_FEED_FORWARD_RATIO = 4
_MAX_LOGIT_SCALE = 100.0


@dataclass(frozen=True, slots=True)
class AudioTrunkConfig:
    """Size of an audio transformer; the defaults are ImageBind's at the time stride of the published diffusion models.

    Args:
        kernel, stride: patch size and step, (mel bins, mel frames).
        drop_path: stochastic depth of the last block while training; earlier blocks have proportionally less.
    """

    dim: int = 768
    depth: int = 12
    heads: int = 12
    kernel: tuple[int, int] = (16, 16)
    stride: tuple[int, int] = (10, 4)
    mel_bins: int = 128
    mel_frames: int = 204
    has_class_token: bool = True
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.dim}")
        if self.mel_bins < self.kernel[0] or self.mel_frames < self.kernel[1]:
            raise ValueError(f"a {self.mel_bins}x{self.mel_frames} mel holds no patch of {self.kernel}")

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along frequency and along time."""
        rows = (self.mel_bins - self.kernel[0]) // self.stride[0] + 1
        columns = (self.mel_frames - self.kernel[1]) // self.stride[1] + 1
        return rows, columns

    @property
    def num_tokens(self) -> int:
        """Tokens that the trunk returns, the class token included."""
        rows, columns = self.grid
        return rows * columns + int(self.has_class_token)


class StochasticDepth(nn.Module):
    """Drop a residual branch for whole samples while training, with probability `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Return `branch` [B, ...] with dropped samples zeroed and the others scaled up."""
        if not self.training or self.rate == 0.0:
            return branch
        keep = 1.0 - self.rate
        mask = branch.new_empty(branch.shape[0], *([1] * (branch.ndim - 1))).bernoulli_(keep)
        return branch * mask / keep


class AudioAttention(nn.Module):
    """Self-attention with one learned key and value appended to the projected sequence."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.extra_key = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.extra_value = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.output = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.output.bias)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Attend over all L tokens and the learned one."""
        batch = x_BLD.shape[0]
        q_BLD, k_BLD, v_BLD = self.qkv(x_BLD).chunk(3, dim=-1)
        k_BLD = torch.cat([k_BLD, self.extra_key.expand(batch, -1, -1)], dim=1)
        v_BLD = torch.cat([v_BLD, self.extra_value.expand(batch, -1, -1)], dim=1)
        q_BNLD, k_BNLD, v_BNLD = (self._split(t) for t in (q_BLD, k_BLD, v_BLD))
        attended = functional.scaled_dot_product_attention(q_BNLD, k_BNLD, v_BNLD)
        out: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return out

    def _split(self, x_BLD: Tensor) -> Tensor:
        batch, length, dim = x_BLD.shape
        return x_BLD.view(batch, length, self.heads, dim // self.heads).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers around an exact GELU."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, _FEED_FORWARD_RATIO * dim)
        self.contract = nn.Linear(_FEED_FORWARD_RATIO * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis, width to width."""
        out: Tensor = self.contract(functional.gelu(self.expand(x)))
        return out


class AudioBlock(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, *, drop_path: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.attention = AudioAttention(dim, heads)
        self.feed_forward_norm = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.feed_forward = FeedForward(dim)
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, L, D] to tokens."""
        x = x + self.drop_path(self.attention(self.attention_norm(x)))
        out: Tensor = x + self.drop_path(self.feed_forward(self.feed_forward_norm(x)))
        return out


class AudioTrunk(nn.Module):
    """ImageBind's audio stem and transformer, without its head.

    Source: KeyVID sec. 3.3; ImageBind (Girdhar et al. 2023), audio branch.
    """

    def __init__(self, config: AudioTrunkConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = nn.Conv2d(1, config.dim, config.kernel, stride=config.stride, bias=False)
        self.patch_norm = nn.LayerNorm(config.dim, eps=_STEM_NORM_EPS)
        if config.has_class_token:
            self.class_token = nn.Parameter(torch.randn(1, 1, config.dim) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, config.num_tokens, config.dim) * 0.02)
        last = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(
            AudioBlock(config.dim, config.heads, drop_path=config.drop_path * i / last) for i in range(config.depth)
        )

    def embed(self, mel: Tensor) -> Tensor:
        """Return what enters the first block: patches, class token and positions, [B, L, D]."""
        config = self.config
        if mel.ndim != 4 or mel.shape[1:] != (1, config.mel_bins, config.mel_frames):
            raise ValueError(f"expected a mel of [B, 1, {config.mel_bins}, {config.mel_frames}], not {list(mel.shape)}")
        tokens: Tensor = self.patch_norm(self.patches(mel).flatten(2).transpose(1, 2))
        if config.has_class_token:
            tokens = torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        return tokens + self.positions

    def forward(self, mel: Tensor) -> Tensor:
        """Encode sound.

        Args: mel: normalised log-mel [B, 1, mel_bins, mel_frames].
        Returns: raw tokens [B, has_class_token + n_freq * n_time, dim]; no final norm.
        Raises: ValueError for another mel size.
        """
        tokens = self.embed(mel)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class AudioHead(nn.Module):
    """ImageBind's audio embedding, which the evaluation compares with pictures and text.

    Args: dim: width of the trunk. embedding_dim: width of the shared space.
    """

    log_logit_scale: Tensor

    def __init__(self, dim: int = 768, embedding_dim: int = 1024) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.projection = nn.Linear(dim, embedding_dim, bias=False)
        self.register_buffer("log_logit_scale", torch.tensor(math.log(20.0)))

    def project(self, tokens: Tensor) -> Tensor:
        """Project the class token of trunk tokens [B, L, dim] to [B, embedding_dim], not normalised."""
        out: Tensor = self.projection(self.norm(tokens[:, 0]))
        return out

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed trunk tokens [B, L, dim] as [B, embedding_dim] of length `exp(log_logit_scale)`, at most 100."""
        embedding = functional.normalize(self.project(tokens), dim=-1)
        return embedding * self.log_logit_scale.exp().clamp(max=_MAX_LOGIT_SCALE)


def resize_time_positions(positions: Tensor, *, grid: tuple[int, int], num_steps: int) -> Tensor:
    """Stretch position embeddings along time, as the published diffusion models do with ImageBind's 12x19 ones.

    Args:
        positions: [1, 1 + n_freq * n_time, D], class position first.
        grid: (n_freq, n_time) of `positions`.
        num_steps: time columns wanted.
    Returns: [1, 1 + n_freq * num_steps, D].
    Raises: ValueError when `positions` do not have that grid.
    """
    rows, columns = grid
    if positions.shape[1] != 1 + rows * columns:
        raise ValueError(f"{positions.shape[1]} positions are not a class token and a {rows}x{columns} grid")
    class_position, patches = positions[:, :1], positions[:, 1:]
    image = patches.transpose(1, 2).reshape(1, -1, rows, columns)
    stretched = functional.interpolate(image, size=(rows, num_steps), mode="bilinear", align_corners=False)
    return torch.cat([class_position, stretched.flatten(2).transpose(1, 2)], dim=1)
