"""Prompts to tokens: OpenCLIP's text tower, and a bag of hashed words for small models."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from model.errors import CheckpointMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from transformers import CLIPTokenizer

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
        """Bucket numbers int64 [B, num_tokens] of B prompts, 0 where there is no word, on the CPU.

        Of a prompt with more words than that, words that say nothing give their place to later ones.
        """
        num_tokens = self.config.num_tokens
        buckets = torch.zeros(len(prompts), num_tokens, dtype=torch.long)
        for row, prompt in zip(buckets, prompts, strict=True):
            chosen = [self._bucket(word) for word in _WORD.findall(prompt.lower())]
            if len(chosen) > num_tokens:
                chosen = [bucket for bucket in chosen if self._says_something(bucket)][:num_tokens]
            row[: len(chosen)] = torch.tensor(chosen, dtype=torch.long)
        return buckets

    @torch.no_grad()
    def forget_all_but(self, words: Iterable[str]) -> None:
        """Let every word but these say what no word says, where it does not share one's bucket.

        Training leaves the buckets of words that it never met at random, and a caller uses such words.
        """
        known = torch.zeros(self.config.num_buckets, dtype=torch.bool)
        known[[self._bucket(word) for word in words]] = True
        self.embedding.weight[~known] = self.embedding.weight[0].clone()

    def _bucket(self, word: str) -> int:
        # crc32, since Python's own hash changes with every process.
        return 1 + zlib.crc32(word.encode()) % (self.config.num_buckets - 1)

    def _says_something(self, bucket: int) -> bool:
        """Whether a bucket differs from no word: `forget_all_but` makes those of unknown words alike."""
        return not torch.equal(self.embedding.weight[bucket], self.embedding.weight[0])

    def forward(self, buckets: Tensor) -> Tensor:
        """Embed bucket numbers [B, num_tokens] as [B, num_tokens, dim]."""
        tokens: Tensor = self.embedding(buckets)
        return tokens

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Encode B prompts as [B, num_tokens, dim]."""
        return self.forward(self.tokenize(prompts).to(self.embedding.weight.device))


@dataclass(frozen=True, slots=True)
class ClipTextConfig:
    """Size of a `ClipTextEncoder`; the defaults are OpenCLIP ViT-H's without its last layer, which is never run."""

    dim: int = 1024
    depth: int = 23
    heads: int = 16
    vocabulary: int = 49408
    num_tokens: int = 77


class ClipTextEncoder(nn.Module):
    """OpenCLIP's text tower: tokens after the last but one layer, through the final norm.

    Source: KeyVID sec. 3.3; the text condition of Stable Diffusion 2.
    """

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        # Importing transformers takes seconds that keyvid-mini need not spend.
        from transformers import CLIPTextConfig, CLIPTextModel  # noqa: PLC0415

        self.config = config
        self.network = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=config.vocabulary,
                hidden_size=config.dim,
                intermediate_size=4 * config.dim,
                num_hidden_layers=config.depth,
                num_attention_heads=config.heads,
                max_position_embeddings=config.num_tokens,
                hidden_act="gelu",
                # The ids only place the pooled embedding, which nobody reads.
                bos_token_id=config.vocabulary - 2,
                eos_token_id=config.vocabulary - 1,
            )
        )
        self._tokenizer: CLIPTokenizer | None = None

    def load_tokenizer(self, folder: Path) -> None:
        """Read the vocabulary from `folder`. Raises: CheckpointMissing when it is not there."""
        from transformers import CLIPTokenizer  # noqa: PLC0415  (as above)

        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            raise CheckpointMissing("there is no vocabulary for the text encoder")
        self._tokenizer = CLIPTokenizer.from_pretrained(folder)

    def save_tokenizer(self, folder: Path) -> None:
        """Write the vocabulary to `folder`. Raises: CheckpointMissing when none was loaded."""
        self._loaded_tokenizer().save_pretrained(folder)

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Token ids int64 [B, num_tokens] on the CPU, zeros after the end token.

        Raises: CheckpointMissing when no vocabulary was loaded.
        """
        ids = torch.zeros(len(prompts), self.config.num_tokens, dtype=torch.long)
        for row, prompt in zip(ids, prompts, strict=True):
            # Padded here: OpenCLIP was trained with zeros, tokenizer files name other padding.
            tokens = self._loaded_tokenizer()(prompt, truncation=True, max_length=self.config.num_tokens)["input_ids"]
            row[: len(tokens)] = torch.tensor(tokens)
        return ids

    def encode_tokens(self, token_ids: Tensor) -> Tensor:
        """Encode token ids int64 [B, num_tokens], zero-padded, as [B, num_tokens, dim]."""
        tokens: Tensor = self.network(input_ids=token_ids).last_hidden_state
        return tokens

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Encode B prompts as [B, num_tokens, dim]. Raises: CheckpointMissing when no vocabulary was loaded."""
        return self.encode_tokens(self.tokenize(prompts).to(self.network.device))

    def _loaded_tokenizer(self) -> CLIPTokenizer:
        if self._tokenizer is None:
            raise CheckpointMissing("there is no vocabulary for the text encoder")
        return self._tokenizer
