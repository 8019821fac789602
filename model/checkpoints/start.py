"""Start weights of keyvid-512's training: DynamiCrafter's network with the parts that it does not have.

The two stages' checkpoints are written as KeyVID would publish them before the first step, and then converted.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from model.checkpoints.assembly import Conversion, ConversionRequest, convert_checkpoints, expected_tensors
from model.checkpoints.keymap import RESAMPLER, UNET
from model.checkpoints.published_names import published_shapes
from model.checkpoints.shard import write_shard
from model.checkpoints.sources import DYNAMICRAFTER, open_source
from model.errors import CheckpointMismatch, CheckpointMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from model.config import ModelConfig

# What KeyVID adds to DynamiCrafter's UNet; the frame index only to the keyframe stage's.
_NEW = re.compile(r".*\.attn2\.(to_k_ap\.|to_v_ap\.|beta$)|audio_proj_2\.|frame_idx_embedding\.")
_FRAME_INDEX = "frame_idx_embedding."
# New layers that begin as they are drawn; all others begin at zero, so that the network begins as DynamiCrafter.
_DRAWN = re.compile(r"audio_proj_2\.|frame_idx_embedding\.0\.")
_QUERIES = f"{RESAMPLER.prefix}latents"
_SEED = 0


def write_start(
    request: ConversionRequest, out: Path, *, on_component: Callable[[str, str], None] | None = None
) -> Conversion:
    """Write the weights folder that training begins from.

    Args: request: its sources are DynamiCrafter's checkpoint, ImageBind's, and what else `convert_checkpoints` needs.
    Raises: CheckpointMissing without DynamiCrafter's checkpoint; what `convert_checkpoints` raises.
    """
    path = next((path for path in request.sources if open_source(path).kind is DYNAMICRAFTER), None)
    if path is None:
        raise CheckpointMissing("training starts from DynamiCrafter's checkpoint, and none of the files is that")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        files = (Path(folder, "start-keyframes.safetensors"), Path(folder, "start-interpolation.safetensors"))
        for file, has_frame_index in zip(files, (True, False), strict=True):
            _write_stage(path, file, request.config, has_frame_index=has_frame_index)
        sources = (*files, *request.sources)
        return convert_checkpoints(replace(request, sources=sources), out, on_component=on_component)


def _write_stage(dynamicrafter: Path, file: Path, config: ModelConfig, *, has_frame_index: bool) -> None:
    source = open_source(dynamicrafter)
    names = [name for name in source.shapes if name.startswith((UNET.prefix, RESAMPLER.prefix))]
    if _QUERIES not in names:
        raise CheckpointMismatch(f"{source.label} has no resampler: get the checkpoint of 512 pixels")
    whole = replace(source, members={"stage": {name: name for name in names}})
    with whole.tensors("stage") as known:
        tensors = {**known, **_new_tensors(config, has_frame_index=has_frame_index)}
        tensors[_QUERIES] = stretched_queries(known[_QUERIES], config)
        write_shard(file, tensors, dtype=torch.float32)


def _new_tensors(config: ModelConfig, *, has_frame_index: bool) -> Mapping[str, Tensor]:
    """What DynamiCrafter lacks, by published names."""
    expected = expected_tensors(config)["keyframes_unet"]
    generator = torch.Generator().manual_seed(_SEED)
    tensors: dict[str, Tensor] = {}
    for name in published_shapes("keyframe"):
        known = name.removeprefix(UNET.prefix)
        if not name.startswith(UNET.prefix) or not _NEW.match(known):
            continue
        target = UNET.target(known)
        if target is None or (known.startswith(_FRAME_INDEX) and not has_frame_index):
            continue
        shape = expected[target.names[0]].shape
        tensors[name] = torch.zeros(shape)
        if _DRAWN.match(known):
            fan_in = (
                config.keyframes_unet.audio_dim if known.startswith("audio") else config.keyframes_unet.model_channels
            )
            tensors[name].uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
    return tensors


def stretched_queries(queries: Tensor, config: ModelConfig) -> Tensor:
    """Queries `[1, frames * n, D]` of the resampler, stretched from DynamiCrafter's 16 frames to KeyVID's.

    Raises: CheckpointMismatch when they are not whole frames.
    Source: released behaviour (linear over frames, half-pixel centres).
    """
    resampler = config.resampler
    if resampler is None or queries.ndim != 3 or queries.shape[1] % resampler.num_queries:
        raise CheckpointMismatch(f"{list(queries.shape)} are not the resampler's queries of whole frames")
    per_frame = queries.float().view(1, -1, resampler.num_queries * queries.shape[2]).transpose(1, 2)
    stretched = functional.interpolate(per_frame, size=resampler.num_frames, mode="linear", align_corners=False)
    return stretched.transpose(1, 2).reshape(1, -1, queries.shape[2])
