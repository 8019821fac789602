"""Cases of ImageBind's audio branch and of the keyframe localizer, with deterministic weights."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.checkpoints import keymap
from model.encoders.audio import AudioHead, AudioTrunk, AudioTrunkConfig, resize_time_positions
from model.evaluation.parity.case import Case, Comparison, absolute
from model.evaluation.parity.fill import fill_as_published, filled
from model.localization.network import HeadKind, Localizer, LocalizerConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOLERANCE = 1e-4  # twelve blocks at real size
_POSITIONS = "modality_preprocessors.audio.pos_embedding_helper.pos_embed"
_UPSTREAM_STRIDE = 10


SIZES: Mapping[str, AudioTrunkConfig] = {
    "tiny": AudioTrunkConfig(dim=32, depth=2, heads=4),
    "real": AudioTrunkConfig(dim=768, depth=12, heads=12),
}

# The three variants of the published localizer: head, stride, scores.
_LOCALIZERS: Mapping[str, tuple[HeadKind, tuple[int, int], int]] = {
    "set1": ("token_mixing", (4, 4), 48),
    "set2": ("token_mixing", (10, 4), 46),
    "set3": ("per_step", (10, 4), 46),
}


def check_imagebind_audio(case: Case) -> list[Comparison]:
    """Trunk inputs, tokens, positions and embeddings, small and real, at each stored stride."""
    comparisons = []
    for prefix in sorted({name.partition(".")[0] for name in case.tensors if "." in name}):
        match = re.fullmatch(r"(\w+?)_s(\d+)(?:x(\d+))?(_zero_input)?", prefix)
        if match is None:
            raise ValueError(f"{prefix} names neither a size nor a stride")
        size, stride = SIZES[match[1]], (int(match[2]), int(match[3] or match[2]))
        mel = torch.zeros_like(case["mel"]) if match[4] else case["mel"]
        computed = _audio_tensors(size, stride, mel)
        for name in case.names(f"{prefix}."):
            what, rows = _stored_rows(name.removeprefix(f"{prefix}."))
            value = computed[what]
            comparisons.append(absolute(name, value[:, rows], case[name], tolerance=_TOLERANCE))
    return comparisons


def _stored_rows(name: str) -> tuple[str, slice]:
    """The tensor that `name` means, and which of its rows were stored (`_every4`, `_first5`)."""
    match = re.fullmatch(r"(.*)_(every|first)(\d+)", name)
    if match is None:
        return name, slice(None)
    return match[1], slice(None, None, int(match[3])) if match[2] == "every" else slice(int(match[3]))


def _audio_tensors(size: AudioTrunkConfig, stride: tuple[int, int], mel: Tensor) -> dict[str, Tensor]:
    config = replace(size, stride=stride, mel_bins=mel.shape[2], mel_frames=mel.shape[3])
    upstream = replace(config, stride=(_UPSTREAM_STRIDE, _UPSTREAM_STRIDE))
    positions = filled(_POSITIONS, (1, upstream.num_tokens, size.dim))
    if config.grid != upstream.grid:
        positions = resize_time_positions(positions, grid=upstream.grid, num_steps=config.grid[1])
    trunk, head = AudioTrunk(config), AudioHead(size.dim)
    fill_as_published(trunk, keymap.AUDIO_TRUNK, positions=positions)
    fill_as_published(head, keymap.AUDIO_HEAD)
    tokens = trunk(mel)
    return {
        "tokens_in": trunk.embed(mel),
        "tokens": tokens,
        "token_mean": tokens.mean(dim=-1),
        "token_std": tokens.std(dim=-1, correction=0),
        "pos_embed_interp": positions,
        "head": head.project(tokens),
        "embedding_scaled20": head(tokens),
    }


def check_localizer(case: Case) -> list[Comparison]:
    """Trunk tokens and motion curves of the three published variants, small and real."""
    mel = case[next(name for name in case.tensors if name.startswith("mel"))]
    comparisons = []
    for prefix in case.groups("curve"):
        size, variant = ("tiny", prefix.removeprefix("tiny_")) if prefix.startswith("tiny_") else ("real", prefix)
        head, stride, steps = _LOCALIZERS[variant]
        trunk = replace(SIZES[size], stride=stride, mel_frames=mel.shape[3], has_class_token=False)
        network = Localizer(LocalizerConfig(trunk, head=head, num_steps=steps))
        rules = keymap.LOCALIZER if head == "token_mixing" else keymap.LOCALIZER_PER_STEP
        fill_as_published(network, rules, checkpoint="localizer")
        tokens = network.trunk(mel)
        computed = {
            "curve": network.score(tokens),
            "trunk_tokens": tokens,
            "trunk_token_mean": tokens.mean(dim=-1),
        }
        for name in case.names(f"{prefix}."):
            what, rows = _stored_rows(name.removeprefix(f"{prefix}."))
            value = computed[what][:, rows]
            # A long case keeps every few tokens without saying so in its name.
            every = -(-value.shape[1] // case[name].shape[1])
            comparisons.append(absolute(name, value[:, ::every], case[name], tolerance=_TOLERANCE))
    return comparisons
