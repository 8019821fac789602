"""Weights on disk: a folder with `model_index.json` and, for each component, `config.json` and `model.safetensors`.

A CLIP text encoder also has its vocabulary in `tokenizer/`.
Loading is strict; parameters are created without storage and take over the file's.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from model.codecs.latent_flow import FlowCodecConfig, LatentFlowCodec
from model.codecs.vae import VaeCodec, VaeConfig
from model.config import ModelConfig
from model.encoders.audio import AudioTrunk, AudioTrunkConfig
from model.encoders.image import ClipImageConfig, ClipImageEncoder, ConvImageConfig, ConvImageEncoder
from model.encoders.text import ClipTextConfig, ClipTextEncoder, WordTextConfig, WordTextEncoder
from model.errors import CheckpointMismatch, CheckpointMissing
from model.localization.network import Localizer, LocalizerConfig
from model.networks.draft import DraftConfig, MotionDraft
from model.networks.resampler import Resampler, ResamplerConfig
from model.networks.unet import UNet, UNetConfig
from model.serialization import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from model.codecs import Codec
    from model.encoders.image import ImageEncoder
    from model.encoders.text import TextEncoder

FORMAT = "keyvid-1"
INDEX = "model_index.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer"
_REMEDY = "convert or copy the folder anew"
PACKAGED_WEIGHTS = Path(__file__).parent / "weights"

_BUILDERS: Mapping[type, Callable[..., object]] = {
    ClipTextConfig: ClipTextEncoder,
    WordTextConfig: WordTextEncoder,
    ClipImageConfig: ClipImageEncoder,
    ConvImageConfig: ConvImageEncoder,
    ResamplerConfig: Resampler,
    AudioTrunkConfig: AudioTrunk,
    LocalizerConfig: Localizer,
    UNetConfig: UNet,
    VaeConfig: VaeCodec,
    FlowCodecConfig: LatentFlowCodec,
    DraftConfig: MotionDraft,
}
_CACHE_LINE_BYTES = 64
_UNETS = ("keyframes_unet", "interpolation_unet")
_CONFIG_KINDS = {kind.__name__: kind for kind in _BUILDERS}


@dataclass(frozen=True, slots=True)
class Components:
    """The parts of a model, one for each component field of `ModelConfig`."""

    text_encoder: TextEncoder
    image_encoder: ImageEncoder
    resampler: Resampler | None
    audio_encoder: AudioTrunk
    localizer: Localizer | None
    keyframes_unet: UNet
    interpolation_unet: UNet
    codec: Codec
    draft: MotionDraft | None
    interpolation_resampler: Resampler | None

    def modules(self) -> dict[str, nn.Module]:
        """Components that have weights, by name."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}


COMPONENTS = tuple(field.name for field in dataclasses.fields(Components))


def build_components(config: ModelConfig) -> Components:
    """Build every component with fresh weights, drawn from torch's global generator, ready for inference."""
    parts = {name: _build(getattr(config, name)) for name in COMPONENTS}
    components = Components(**typing.cast("dict[str, typing.Any]", parts))
    for module in components.modules().values():
        module.eval().requires_grad_(requires_grad=False)
    return components


def weights_folder(name_or_path: str | Path) -> Path:
    """Folder of a packaged model's name, or the path itself. Raises: CheckpointMissing."""
    packaged = PACKAGED_WEIGHTS / name_or_path
    folder = packaged if (packaged / INDEX).is_file() else Path(name_or_path)
    if not (folder / INDEX).is_file():
        raise CheckpointMissing(
            f"there are no weights in {name_or_path}: "
            f"give a folder that has a {INDEX}, or {', '.join(packaged_models())}"
        )
    return folder


def packaged_models() -> list[str]:
    """Names of the models that ship inside."""
    return sorted(folder.parent.name for folder in PACKAGED_WEIGHTS.glob(f"*/{INDEX}"))


def save_components(folder: Path, config: ModelConfig, components: Components, *, dtype: torch.dtype) -> None:
    """Write a weights folder, floating-point tensors as `dtype`."""
    save_config(folder, config)
    for name, module in components.modules().items():
        tensors = {key: _stored(tensor, dtype) for key, tensor in module.state_dict().items()}
        save_file(tensors, folder / name / WEIGHTS, metadata={"format": "pt"})
    if isinstance(components.text_encoder, ClipTextEncoder):
        components.text_encoder.save_tokenizer(folder / TOKENIZER)


def save_config(folder: Path, config: ModelConfig) -> None:
    """Write all of a weights folder but the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in to_json(config).items() if name not in COMPONENTS}
    parts = {name: part for name in COMPONENTS if (part := getattr(config, name)) is not None}
    kinds = {name: type(part).__name__ for name, part in parts.items()}
    _write_json(folder / INDEX, {"format": FORMAT, "components": kinds, **settings})
    for name, part in parts.items():
        (folder / name).mkdir(exist_ok=True)
        _write_json(folder / name / "config.json", to_json(part))


def read_config(folder: Path) -> ModelConfig:
    """Configuration of a weights folder. Raises: CheckpointMissing, CheckpointMismatch."""
    index = _read_json(folder / INDEX)
    if index.pop("format", None) != FORMAT:
        raise CheckpointMismatch(f"{INDEX} is not of format {FORMAT}: {_REMEDY}")
    kinds = index.pop("components", None)
    hints = typing.get_type_hints(ModelConfig)
    settings = {field.name for field in dataclasses.fields(ModelConfig)} - set(COMPONENTS)
    if not isinstance(kinds, dict) or set(index) != settings or not set(kinds) <= set(COMPONENTS):
        raise CheckpointMismatch(f"{INDEX} does not describe a model: {_REMEDY}")
    parts: dict[str, object] = dict.fromkeys(COMPONENTS)
    for name, kind in kinds.items():
        if kind not in _CONFIG_KINDS:
            raise CheckpointMismatch(f"{INDEX}: {name} is of an unknown kind; {_REMEDY}")
        data = _read_json(folder / name / "config.json")
        try:
            parts[name] = from_json(_CONFIG_KINDS[kind], data)
        except CheckpointMismatch as error:
            raise CheckpointMismatch(f"{name}/config.json: {error}: {_REMEDY}") from error
    values = {name: from_json(hints[name], value) for name, value in index.items()}
    return ModelConfig(**typing.cast("dict[str, typing.Any]", {**values, **parts}))


def load_components(
    folder: Path,
    config: ModelConfig,
    *,
    device: torch.device,
    unet_dtype: torch.dtype,
    away: Collection[str] = (),
    has_shared_parameters: bool = False,
) -> Components:
    """Load a weights folder to `device`: UNets as `unet_dtype`, everything else as float32.

    Args:
        folder: where `save_components` wrote it.
        config: what `read_config` says of it.
        device: where the components run.
        unet_dtype: that of the two UNets.
        away: components that stay on the CPU, mapped from their files.
        has_shared_parameters: whether what is equal in both UNets is held once; to train one would change the other.
    Raises: CheckpointMissing; CheckpointMismatch when a tensor is missing, unknown or of another shape.
    """
    with init_empty_weights(include_buffers=False):
        components = build_components(config)
    for name, module in components.modules().items():
        _fill(module, folder / name / WEIGHTS, component=name)
    if has_shared_parameters:
        _share_equal_parameters(components.keyframes_unet, components.interpolation_unet)
    for name, module in components.modules().items():
        home = torch.device("cpu") if name in away else device
        module.to(device=home, dtype=unet_dtype if isinstance(module, UNet) else torch.float32)
        module.eval().requires_grad_(requires_grad=False)
    if isinstance(components.text_encoder, ClipTextEncoder):
        components.text_encoder.load_tokenizer(folder / TOKENIZER)
    return components


def natural_unet_dtype(folder: Path, device: torch.device | str) -> torch.dtype:
    """Type in which the UNets of a weights folder run on a device unless another is asked for.

    A CPU runs them in float32. A GPU runs them in float16, or in bfloat16 where they are stored so: their values may be
    too large for float16.
    Raises: CheckpointMissing, CheckpointMismatch.
    """
    if torch.device(device).type == "cpu":
        return torch.float32
    stored = {kind for name in _UNETS for kind in _stored_kinds(folder / name / WEIGHTS, component=name)}
    return torch.bfloat16 if "BF16" in stored else torch.float16


def load_localizer(folder: Path, config: ModelConfig, *, device: torch.device) -> Localizer:
    """Load only the localizer of a weights folder, as float32. Raises: CheckpointMissing, CheckpointMismatch."""
    if config.localizer is None:
        raise CheckpointMissing(f"{config.name} has no localizer to lend")
    with init_empty_weights(include_buffers=False):
        localizer = Localizer(config.localizer)
    _fill(localizer, folder / "localizer" / WEIGHTS, component="localizer")
    return localizer.to(device=device, dtype=torch.float32).eval().requires_grad_(requires_grad=False)


def _build(config: object) -> object:
    return None if config is None else _BUILDERS[type(config)](config)


@contextmanager
def _readable(file: Path, component: str) -> Iterator[None]:
    if not file.is_file():
        raise CheckpointMissing(f"there are no weights of {component}: {component}/{WEIGHTS} is missing; {_REMEDY}")
    try:
        yield
    except SafetensorError as error:
        raise CheckpointMismatch(f"{component}/{WEIGHTS} is damaged or cut short: {_REMEDY}") from error


def _stored_kinds(file: Path, *, component: str) -> set[str]:
    """Types of a file's tensors, in safetensors' words such as `BF16`; no tensor is read."""
    with _readable(file, component), safe_open(file, framework="pt") as tensors:
        return {tensors.get_slice(key).get_dtype() for key in tensors.keys()}  # noqa: SIM118  (it is no mapping)


def _fill(module: nn.Module, file: Path, *, component: str) -> None:
    with _readable(file, component):
        tensors = load_file(file)
    expected = {key: tensor.shape for key, tensor in module.state_dict().items()}
    wrong = sorted(
        [f"{key} is missing" for key in expected.keys() - tensors.keys()]
        + [f"{key} is not expected" for key in tensors.keys() - expected.keys()]
        + [
            f"{key} is {list(tensors[key].shape)}, not {list(expected[key])}"
            for key in expected.keys() & tensors.keys()
            if expected[key] != tensors[key].shape
        ]
    )
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise CheckpointMismatch(f"{component}/{WEIGHTS} does not fit its config.json: {shown}; {_REMEDY}")
    module.load_state_dict({key: _aligned(tensor) for key, tensor in tensors.items()}, assign=True)


def _share_equal_parameters(first: nn.Module, second: nn.Module) -> None:
    """Let two networks hold one copy of every parameter that is the same in both: what fine-tuning left alone."""
    of_first = dict(first.named_parameters())
    for prefix, owner in second.named_modules():
        for key, own in list(owner.named_parameters(recurse=False)):
            other = of_first.get(f"{prefix}.{key}" if prefix else key)
            if other is not None and own.dtype == other.dtype and torch.equal(own, other):
                setattr(owner, key, other)


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a mapped tensor that does not start at a cache line: kernels would round it differently."""
    return tensor.clone() if tensor.data_ptr() % _CACHE_LINE_BYTES else tensor


def _stored(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous().cpu()


def _write_json(file: Path, data: dict[str, object]) -> None:
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _read_json(file: Path) -> dict[str, object]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointMissing(f"there is no {file.parent.name}/{file.name}: {_REMEDY}") from error
    except ValueError as error:
        raise CheckpointMismatch(f"{file.parent.name}/{file.name} is not JSON: {_REMEDY}") from error
    if not isinstance(data, dict):
        raise CheckpointMismatch(f"{file.parent.name}/{file.name} is not a JSON object: {_REMEDY}")
    return data
