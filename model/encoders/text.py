"""Prompts to tokens: OpenCLIP's text tower, and a bag of hashed words for small models."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORD = re.compile(r"\w+")


class TextEncoder(Protocol):
    """Anything that encodes prompts."""

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Encode B prompts as [B, N, D]; the empty prompt is the null condition."""
        ...


@dataclass(frozen=True, slots=True)
class WordTextConfig:
    """Size of a `WordTextEncoder`: hash buckets (0 is padding), words kept per prompt, embedding width."""

    num_buckets: int = 2048
    num_tokens: int = 8
    dim: int = 128


class WordTextEncoder(nn.Module):
    """The first words of a prompt, lower-cased and hashed into learned embeddings; order is not encoded."""

    def __init__(self, config: WordTextConfig) -> None:
        super().__init__()
        self.config = config
        # The padding row is learned too: eight of it are the null prompt that guidance starts from.
        self.embedding = nn.Embedding(config.num_buckets, config.dim)

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Bucket numbers int64 [B, num_tokens] of B prompts, 0 where there is no word, on the CPU."""
        config = self.config
        buckets = torch.zeros(len(prompts), config.num_tokens, dtype=torch.long)
        for row, prompt in zip(buckets, prompts, strict=True):
            for slot, word in enumerate(_WORD.findall(prompt.lower())[: config.num_tokens]):
                # crc32, since Python's own hash changes with every process.
                row[slot] = 1 + zlib.crc32(word.encode()) % (config.num_buckets - 1)
        return buckets

    def forward(self, buckets: Tensor) -> Tensor:
        """Embed bucket numbers [B, num_tokens] as [B, num_tokens, dim]."""
        tokens: Tensor = self.embedding(buckets)
        return tokens

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Encode B prompts as [B, num_tokens, dim]."""
        return self.forward(self.tokenize(prompts).to(self.embedding.weight.device))
