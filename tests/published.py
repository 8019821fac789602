"""Small files with the published tensors' names: made backwards through the key maps."""

from __future__ import annotations

import json
import string
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from model.checkpoints import keymap
from model.checkpoints.assembly import expected_tensors
from model.checkpoints.published_names import published_shapes
from model.codecs.vae import VaeConfig
from model.config import ModelConfig, keyvid_512
from model.encoders.audio import AudioTrunkConfig
from model.encoders.image import ClipImageConfig
from model.encoders.text import ClipTextConfig
from model.localization.network import LocalizerConfig
from model.networks.resampler import ResamplerConfig
from model.networks.unet import UNetConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from model.checkpoints.keymap import KeyMap

LETTERS = [letter + end for letter in string.ascii_lowercase for end in ("", "</w>")]
VOCABULARY = {token: index for index, token in enumerate([*LETTERS, "<|startoftext|>", "<|endoftext|>"])}
ENCODERS = {
    "text_encoder": keymap.CLIP_TEXT,
    "image_encoder": keymap.CLIP_IMAGE,
    "codec": keymap.VAE,
    "audio_encoder": keymap.AUDIO_TRUNK,
}
KEYFRAMES = {"keyframes_unet": keymap.UNET, "resampler": keymap.RESAMPLER}
INTERPOLATION = {"interpolation_unet": keymap.UNET, "interpolation_resampler": keymap.RESAMPLER}


def scaled_config(*, model_channels: int = 16) -> ModelConfig:
    """keyvid-512 with every network of its kind, at a width of 16 to 32; the UNets may be wider."""
    trunk = AudioTrunkConfig(dim=32, depth=1, heads=2)
    unet = UNetConfig(
        model_channels=model_channels, head_width=8, init_attention_heads=2, num_groups=8, context_dim=32, audio_dim=32
    )
    resampler = ResamplerConfig(dim=32, depth=1, head_width=8, heads=2, num_queries=2, embedding_dim=32, output_dim=32)
    published = keyvid_512()
    return replace(
        published,
        name="scaled",
        video=replace(published.video, height=64, width=64),
        text_encoder=ClipTextConfig(dim=32, depth=1, heads=2, vocabulary=len(VOCABULARY)),
        image_encoder=ClipImageConfig(dim=32, depth=1, heads=2, input_px=28),
        resampler=resampler,
        interpolation_resampler=resampler,
        audio_encoder=trunk,
        localizer=LocalizerConfig(replace(trunk, stride=(4, 4), mel_frames=198, has_class_token=False)),
        keyframes_unet=unet,
        interpolation_unet=replace(unet, has_frame_index=False),
        codec=VaeConfig(channels=8, num_groups=4),
    )


def drawn(label: str, *shape: int) -> Tensor:
    """Normal values, the same for the same label."""
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(label.encode())))


def stage_tensors(stage: str, *, config: ModelConfig | None = None) -> dict[str, Tensor]:
    """Every tensor of a stage's published checkpoint, `keyframes` or `interpolation`, at the scaled sizes."""
    own = KEYFRAMES if stage == "keyframes" else INTERPOLATION
    names = published_shapes("keyframe")
    if stage == "interpolation":
        names = {name: shape for name, shape in names.items() if ".frame_idx_embedding." not in name}
    labels = {rules.prefix: stage for rules in own.values()}
    return scaled_tensors(names, {**own, **ENCODERS}, labels, config=config)


def localizer_tensors() -> dict[str, Tensor]:
    """Every tensor of the published localizer at the scaled sizes."""
    return scaled_tensors(published_shapes("localizer"), {"localizer": keymap.LOCALIZER}, {})


def scaled_tensors(
    names: Mapping[str, tuple[int, ...]],
    parts: Mapping[str, KeyMap],
    labels: Mapping[str, str],
    *,
    config: ModelConfig | None = None,
) -> dict[str, Tensor]:
    """Tensors of published names at the scaled sizes; what conversion leaves out is a single number each.

    Args: labels: for prefixes whose values are a file's own, what to draw them from besides their name.
    """
    expected = expected_tensors(config or scaled_config())
    tensors = {}
    for name, published in names.items():
        owners = [(part, rules) for part, rules in parts.items() if name.startswith(rules.prefix)]
        targets = [(part, rules.target(name.removeprefix(rules.prefix))) for part, rules in owners]
        part, target = next(((part, target) for part, target in targets if target is not None), ("", None))
        if target is None:
            tensors[name] = torch.full([1] * len(published), 0.5)
        elif target.names[0] in expected[part]:
            ours = list(expected[part][target.names[0]].shape)
            shape = [*[size * len(target.names) for size in ours[:1]], *ours[1:], *[1] * target.squeezed_axes]
            label = next((label for prefix, label in labels.items() if name.startswith(prefix)), "")
            tensors[name] = drawn(label + name, *shape)
    return tensors


def write_vocabulary(folder: Path) -> None:
    """A vocabulary of letters in the form of OpenCLIP's repository."""
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    (folder / "merges.txt").write_text("#version: 0.2\n")
