"""What a model needs of a device's memory, planned from its configuration: no weights and no GPU are needed.

Weights are counted; what the networks hold while they work is measured on the meta device, operation by operation.
What a driver, its libraries and a divided memory take on top is an allowance.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from accelerate import init_empty_weights
from torch import nn

from model.codecs.vae import VaeCodec
from model.conditioning import AudioTokens, Conditioning
from model.config import keyvid_512
from model.diffusion.guidance import BRANCHES
from model.encoders.text import ClipTextEncoder
from model.errors import CheckpointMissing
from model.interpolation.freenoise import STRIDE_FRAMES, WINDOW_FRAMES
from model.live_memory import live_memory
from model.networks.unet import UNet
from model.placement import visitors
from model.pretrained import build_components, natural_unet_dtype, read_config, weights_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from torch import Tensor

    from model.config import ModelConfig
    from model.pretrained import Components

PUBLISHED = {"keyvid-512": keyvid_512}
CARDS_GIB = (8, 12, 16, 24)

_GIB = 2**30
_CONTEXT_BYTES = _GIB * 6 // 10  # the driver's context, and the libraries' kernels and workspaces
_FRAGMENTATION = 1.1  # memory that is divided into pieces of the wrong size

# Who works in which phase, those together that are on the device together.
_PHASES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "localization": (("localizer",),),
    "encoding": (
        ("text_encoder",),
        ("image_encoder",),
        ("resampler", "interpolation_resampler"),
        ("audio_encoder",),
        ("draft",),
    ),
    "keyframes": (("keyframes_unet",),),
    "interpolation": (("interpolation_unet",),),
    "decoding": (("codec",),),
}
_GPU = torch.device("cuda")
_CPU = torch.device("cpu")
_GUIDED = ("keyframes", "interpolation")  # what they hold grows with the guidance branches that are evaluated at once


@dataclass(frozen=True, slots=True)
class ComponentWeights:
    """Weights of one component: number of values, their type, bytes."""

    parameters: int
    dtype: str
    bytes: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Memory of one model in bytes: `weights` by component, and what each phase holds beside them (`working`)."""

    model: str
    unet_dtype: str
    weights: Mapping[str, ComponentWeights]
    working: Mapping[str, int]

    def peak_bytes(self, phase: str, *, offload: bool, device: torch.device = _GPU, guidance_batch: int = 1) -> int:
        """Most that a phase needs on a device of that type, the allowances included."""
        away = visitors(self.weights, device, offload=offload)
        resident = self.weights.keys() - away
        held = max(self._bytes_of(resident.union(names)) for names in _PHASES[phase])
        working = self.working[phase] * (guidance_batch if phase in _GUIDED else 1)
        return _CONTEXT_BYTES + int(_FRAGMENTATION * (held + working))

    def _bytes_of(self, names: Collection[str]) -> int:
        return sum(self.weights[name].bytes for name in names if name in self.weights)

    def needed_bytes(self, *, offload: bool, device: torch.device = _GPU, guidance_batch: int = 1) -> int:
        """Most that any phase needs, with so many guidance branches at once."""
        return max(
            self.peak_bytes(phase, offload=offload, device=device, guidance_batch=guidance_batch)
            for phase in self.working
        )

    def guidance_batch(self, memory_bytes: int, *, offload: bool) -> int:
        """How many guidance branches a GPU of that memory has room for at once: all of them, half, or one."""
        sizes = (len(BRANCHES), len(BRANCHES) // 2)
        fitting = (size for size in sizes if self.needed_bytes(offload=offload, guidance_batch=size) <= memory_bytes)
        return next(fitting, 1)

    def verdict(self, memory_bytes: int) -> str:
        """Whether a card of that memory is enough, and with what setting."""
        if self.needed_bytes(offload=False) <= memory_bytes:
            return "fits"
        return "fits with offload" if self.needed_bytes(offload=True) <= memory_bytes else "does not fit"

    def as_json(self) -> dict[str, object]:
        """Everything, as plain values."""
        return {
            "model": self.model,
            "unet_dtype": self.unet_dtype,
            "weights": {
                name: {"parameters": part.parameters, "dtype": part.dtype, "bytes": part.bytes}
                for name, part in self.weights.items()
            },
            "phases": {
                phase: {
                    "working_bytes": working,
                    "peak_bytes": self.peak_bytes(phase, offload=False),
                    "peak_bytes_offload": self.peak_bytes(phase, offload=True),
                }
                for phase, working in self.working.items()
            },
            "needed_bytes": self.needed_bytes(offload=False),
            "needed_bytes_offload": self.needed_bytes(offload=True),
            "cards": {f"{gib} GB": self.verdict(gib * _GIB) for gib in CARDS_GIB},
        }


def planned_config(name: str) -> ModelConfig:
    """Configuration of a weights folder, of a packaged model or of a published one.

    Raises: CheckpointMissing, CheckpointMismatch.
    """
    try:
        return read_config(weights_folder(name))
    except CheckpointMissing:
        if name in PUBLISHED:
            return PUBLISHED[name]()
        raise


def plan_memory(config: ModelConfig, *, unet_dtype: torch.dtype = torch.float16) -> MemoryPlan:
    """Plan the memory of a model whose UNets run in `unet_dtype` and everything else in float32."""
    with init_empty_weights(include_buffers=True):
        components = build_components(config)
    weights = {}
    for name, module in components.modules().items():
        dtype = unet_dtype if isinstance(module, UNet) else torch.float32
        module.to(dtype)
        parameters = sum(parameter.numel() for parameter in module.parameters())
        weights[name] = ComponentWeights(parameters, str(dtype).removeprefix("torch."), parameters * dtype.itemsize)
    working = {
        "localization": _working_of_localization(components),
        "encoding": _working_of_encoding(components, config),
        **_working_of_stages(components, config),
        "decoding": _working_of_codec(components, config),
    }
    return MemoryPlan(config.name, str(unet_dtype).removeprefix("torch."), weights, working)


def _working(compute: Callable[[], object]) -> int:
    with live_memory() as memory:
        compute()
    return memory.peak_bytes


def _empty(*shape: int) -> Tensor:
    return torch.empty(*shape, device="meta")


def _working_of_localization(parts: Components) -> int:
    localizer = parts.localizer
    if localizer is None:
        return 0
    trunk = localizer.config.trunk
    return _working(lambda: localizer(_empty(1, 1, 128, trunk.mel_frames)))


def _working_of_encoding(parts: Components, config: ModelConfig) -> int:
    """Of the most demanding encoder: a condition and its null are encoded one after the other."""
    picture = _empty(1, 3, config.video.height, config.video.width)
    text = parts.text_encoder

    def encode_text() -> object:
        ids = torch.empty(1, config.text_encoder.num_tokens, device="meta", dtype=torch.long)
        if isinstance(text, ClipTextEncoder):
            return text.encode_tokens(ids)
        return text(ids) if isinstance(text, nn.Module) else None

    def encode_picture() -> object:
        tokens = parts.image_encoder.encode(picture)
        return [part(tokens) for part in (parts.resampler, parts.interpolation_resampler) if part is not None]

    def encode_sound() -> object:
        return parts.audio_encoder(_empty(1, 1, 128, config.audio_encoder.mel_frames))

    return max(_working(encode_text), _working(encode_picture), _working(encode_sound))


def _working_of_stages(parts: Components, config: ModelConfig) -> dict[str, int]:
    """Of one guidance branch of each diffusion stage."""
    shape = config.video.to_latent(channels=parts.codec.latent_channels, cell_px=parts.codec.cell_px)
    conditioning = _conditioning(parts, config)
    plan = list(range(config.num_keyframes))

    def latents(frames: int) -> Tensor:
        return _empty(1, shape.channels, frames, shape.height, shape.width)

    def paint() -> object:
        stage = config.keyframes
        seen = conditioning.at_keyframes(
            [plan], concat=latents(len(plan)), fps=stage.fps, residual_scale=stage.residual_scale
        )
        return seen.predictor(parts.keyframes_unet)(["full"], latents(len(plan)), 999)

    def fill_in(window: tuple[int, int] | None) -> object:
        stage = config.interpolation
        seen = conditioning.at_all_frames(
            concat=latents(shape.frames), fps=stage.fps, residual_scale=stage.residual_scale
        )
        return seen.predictor(parts.interpolation_unet, temporal_window=window)(["full"], latents(shape.frames), 999)

    windows = (None, (WINDOW_FRAMES, STRIDE_FRAMES))
    return {
        "keyframes": _working(paint),
        "interpolation": max(_working(partial(fill_in, window)) for window in windows),
    }


def _conditioning(parts: Components, config: ModelConfig) -> Conditioning:
    """Conditions of the right shapes."""
    width = config.keyframes_unet.context_dim
    resampler = parts.resampler
    with torch.inference_mode():
        picture = _empty(1, 3, config.video.height, config.video.width)
        tokens = parts.image_encoder.encode(picture).shape[1] if resampler is None else resampler.config.num_queries
    trunk = config.audio_encoder
    audio = AudioTokens(_empty(1, trunk.num_tokens, trunk.dim), trunk.grid, config.audio_layout, config.video.frames)
    text = _empty(1, config.text_encoder.num_tokens, width)
    image = _empty(1, config.video.frames, tokens, width)
    draft = features = None
    if config.draft is not None:
        shape = config.video.to_latent(channels=parts.codec.latent_channels, cell_px=parts.codec.cell_px)
        draft = _empty(1, shape.channels, shape.frames, shape.height, shape.width)
        features = _empty(1, config.draft.feature_dim, shape.height, shape.width)
    return Conditioning(text, text, image, image, audio, audio, draft, features)


def _working_of_codec(parts: Components, config: ModelConfig) -> int:
    """Of what is encoded or drawn at a time."""
    codec, shape = parts.codec, config.video
    picture = _empty(1, 3, shape.height, shape.width)
    latents = _empty(
        1, codec.latent_channels, shape.frames, shape.height // codec.cell_px, shape.width // codec.cell_px
    )
    drawing = _working(lambda: next(codec.decode(latents, picture)))
    return max(drawing, _working(partial(codec.posterior, picture))) if isinstance(codec, VaeCodec) else drawing


def _planned_unet_dtype(name: str) -> torch.dtype:
    """Type of the UNets on a card; a published model whose weights are not here is planned in float16."""
    try:
        return natural_unet_dtype(weights_folder(name), _GPU)
    except CheckpointMissing:
        return torch.float16


def describe(name: str, dtype: str) -> str:
    """Plan of a model on a card, and on the machine that this runs on, as JSON for `keyvid doctor`.

    Args:
        name: as for `planned_config`.
        dtype: type of the UNets on a card; `auto` is that of `natural_unet_dtype`. A CPU runs them in float32.
    Raises: CheckpointMissing, CheckpointMismatch.
    """
    config = planned_config(name)
    plan = plan_memory(config, unet_dtype=_planned_unet_dtype(name) if dtype == "auto" else getattr(torch, dtype))
    machine: dict[str, object]
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        machine = {"device": torch.cuda.get_device_name(0), "needed_bytes": plan.needed_bytes(offload=False)}
        verdict = plan.verdict(memory)
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        needed = plan_memory(config, unet_dtype=torch.float32).needed_bytes(offload=False, device=_CPU)
        machine = {"device": "cpu", "needed_bytes": needed}
        verdict = "fits" if needed <= memory else "does not fit"
    return json.dumps({**plan.as_json(), "machine": {**machine, "memory_bytes": memory, "verdict": verdict}})
