"""Published files to a weights folder: find every component, check it strictly, write each once.

One component is mapped from its file at a time, and written tensor by tensor. The folder appears when it is complete.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import init_empty_weights

from model.checkpoints.conversion import convert
from model.checkpoints.shard import CHECKSUMS, UnstorableValue, digest_tensors, stored_bytes, write_shard
from model.checkpoints.sources import IMAGEBIND, Source, open_source
from model.config import keyvid_512
from model.encoders.audio import resize_time_positions
from model.encoders.text import ClipTextConfig
from model.errors import CheckpointError, CheckpointMismatch, CheckpointMissing
from model.pretrained import TOKENIZER, WEIGHTS, build_components, save_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from model.config import ModelConfig

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")

_POSITIONS = "positions"
_OPTIONAL = frozenset({"localizer", "interpolation_resampler"})
_MAX_LISTED = 5
# Who else has a component that the two KeyVID checkpoints may lack.
_REMEDIES = {
    "keyframes_unet": "KeyVID's keyframe checkpoint",
    "resampler": "KeyVID's keyframe checkpoint",
    "interpolation_unet": "KeyVID's interpolation checkpoint",
    "audio_encoder": "imagebind_huge.pth",
    "text_encoder": "DynamiCrafter's or OpenCLIP's file",
    "image_encoder": "DynamiCrafter's or OpenCLIP's file",
    "codec": "DynamiCrafter's file, or Stable Diffusion's autoencoder",
}


class UnfitWeights(CheckpointMismatch):
    """The tensors of a file do not fit the model; the message shows the first, `problems` has all."""

    def __init__(self, label: str, problems: Sequence[str], remedy: str) -> None:
        shown = "; ".join(problems[:_MAX_LISTED])
        more = f"; and {len(problems) - _MAX_LISTED} more" if len(problems) > _MAX_LISTED else ""
        super().__init__(f"{label}: {shown}{more}: {remedy}")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class ConversionRequest:
    """What to convert.

    Args:
        sources: published files, in any order.
        unet_dtype: what the two UNets are stored as; they run in it. The rest runs in float32 and is stored so.
        tokenizer: folder with CLIP's vocabulary; None looks beside the sources.
        chosen: for components that several sources hold with different values, the source to take them from.
        config: sizes to convert to.
    """

    sources: tuple[Path, ...]
    unet_dtype: torch.dtype = torch.float32
    tokenizer: Path | None = None
    chosen: Mapping[str, Path] = field(default_factory=dict)
    config: ModelConfig = field(default_factory=keyvid_512)

    def dtype_of(self, component: str) -> torch.dtype:
        """What a component is stored as."""
        return self.unet_dtype if component.endswith("unet") else torch.float32


@dataclass(frozen=True, slots=True)
class Conversion:
    """A written weights folder: the label of each component's source, and counts of what was left out, by reason."""

    folder: Path
    config: ModelConfig
    origins: Mapping[str, str]
    left_out: Mapping[str, int]


def convert_checkpoints(
    request: ConversionRequest, out: Path, *, on_component: Callable[[str, str], None] | None = None
) -> Conversion:
    """Write the weights folder `out` from published files.

    Args: on_component: told of each step and component before it begins.
    Raises: CheckpointMissing when a component is in no file; UnfitWeights, CheckpointMismatch; CheckpointError when
        `out` exists or the disk is full. No folder is left then.
    """
    report = on_component or (lambda _step, _component: None)
    if out.exists():
        raise CheckpointError(f"{out} exists already: choose another folder, or remove it")
    sources = _open_all(request.sources)
    candidates = {name: [source for source in sources if name in source.members] for name in _component_names(request)}
    config = _available(request.config, candidates)
    tokenizer = _find_tokenizer(request, config)
    candidates = {name: found for name, found in candidates.items() if getattr(config, name) is not None}
    expected = expected_tensors(config)
    for name, found in candidates.items():
        for source in found:
            report("check", name)
            _check(source, name, expected[name], config)
    origins = {name: _choose(name, found, request, config) for name, found in candidates.items()}
    if _is_shared_resampler(origins, request, config):
        config = replace(config, interpolation_resampler=None)
        del origins["interpolation_resampler"]
    needed = sum(stored_bytes(tensor, request.dtype_of(name)) for name in origins for tensor in expected[name].values())
    with _folder_in_one_piece(out, needed) as folder:
        save_config(folder, config)
        _copy_tokenizer(tokenizer, folder, config)
        checksums = {}
        for name, source in origins.items():
            report("write", name)
            try:
                with _converted(source, name, config) as tensors:
                    file = folder / name / WEIGHTS
                    checksums[f"{name}/{WEIGHTS}"] = write_shard(file, tensors, dtype=request.dtype_of(name))
            except UnstorableValue as error:
                raise CheckpointMismatch(f"{source.label}: {name}.{error}") from error
        (folder / CHECKSUMS).write_text(json.dumps(checksums, indent=2) + "\n", encoding="utf-8")
    left_out: dict[str, int] = {}
    for source in sources:
        for reason, count in source.left_out().items():
            left_out[reason] = left_out.get(reason, 0) + count
    return Conversion(out, config, {name: source.label for name, source in origins.items()}, left_out)


def expected_tensors(config: ModelConfig) -> dict[str, dict[str, Tensor]]:
    """Tensors of each component, by our names, without storage."""
    with init_empty_weights(include_buffers=True):
        modules = build_components(config).modules()
    return {name: module.state_dict() for name, module in modules.items()}


def _component_names(request: ConversionRequest) -> list[str]:
    return [*_REMEDIES, *sorted(_OPTIONAL & {name for name in _OPTIONAL if getattr(request.config, name) is not None})]


def _open_all(paths: Sequence[Path]) -> list[Source]:
    sources: list[Source] = []
    for path in paths:
        source = open_source(path)
        same = next((other for other in sources if other.kind is source.kind), None)
        if same is not None:
            raise CheckpointMismatch(f"{same.path.name} and {path.name} are both {source.kind.title}: give one of them")
        unexplained = source.unexplained()
        if unexplained:
            problems = [f"{name} is not expected" for name in unexplained]
            raise UnfitWeights(source.label, problems, "get the published file, or remove what was added to it")
        sources.append(source)
    return sources


def _available(config: ModelConfig, candidates: Mapping[str, Sequence[Source]]) -> ModelConfig:
    missing = [name for name, found in candidates.items() if not found]
    required = [name for name in missing if name not in _OPTIONAL]
    if required:
        needs = "; ".join(f"{name} (add {_REMEDIES[name]})" for name in required)
        raise CheckpointMissing(f"no given file holds {needs}")
    if "localizer" in missing:
        config = replace(config, localizer=None)
    if "interpolation_resampler" in missing:
        config = replace(config, interpolation_resampler=None)
    return config


def _check(source: Source, component: str, expected: Mapping[str, Tensor], config: ModelConfig) -> None:
    """Raises: UnfitWeights, naming every tensor that is missing, not expected or of another shape."""
    rules = source.kind.parts[component]
    published = {
        ours: name
        for known, name in source.members[component].items()
        if (target := rules.target(known.removeprefix(rules.prefix))) is not None
        for ours in target.names
    }
    tensors = _renamed(source, component, source.described(component), config)
    problems = [f"{component}.{name} is missing" for name in expected if name not in tensors]
    problems += [f"{published[name]} is not expected" for name in tensors if name not in expected]
    problems += [
        f"{published[name]} makes {component}.{name} {list(tensors[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if problems:
        raise UnfitWeights(source.label, problems, f"it does not fit {config.name}; get the published file")


@contextmanager
def _converted(source: Source, component: str, config: ModelConfig) -> Iterator[dict[str, Tensor]]:
    with source.tensors(component) as published:
        yield _renamed(source, component, published, config)


def _renamed(source: Source, component: str, published: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    try:
        tensors = convert(published, source.kind.parts[component])
    except CheckpointMismatch as error:
        raise CheckpointMismatch(f"{source.label}: {error}: get the published file") from error
    if source.kind is IMAGEBIND and _POSITIONS in tensors:
        tensors[_POSITIONS] = _stretched(tensors[_POSITIONS], config)
    return tensors


def _stretched(positions: Tensor, config: ModelConfig) -> Tensor:
    """ImageBind's positions at the time stride of the diffusion models."""
    rows, columns = config.audio_encoder.grid
    grid = (rows, (positions.shape[1] - 1) // rows)
    if positions.ndim != 3 or positions.shape[1] != 1 + grid[0] * grid[1]:
        return positions
    return resize_time_positions(positions.float(), grid=grid, num_steps=columns)


def _choose(component: str, found: Sequence[Source], request: ConversionRequest, config: ModelConfig) -> Source:
    """Take the first of equal sources. Raises: CheckpointMismatch when they differ and none was chosen."""
    path = request.chosen.get(component)
    if path is not None:
        chosen = next((source for source in found if source.path == path), None)
        if chosen is None:
            raise CheckpointMissing(f"{path.name} was chosen for {component}, but does not hold it")
        return chosen
    first, *others = found
    # Stretched positions differ in the last bit from those that were stretched on a GPU.
    ignored = {_POSITIONS} if any(source.kind is IMAGEBIND for source in found) else set[str]()
    for other in others:
        if _digest(first, component, request, config, ignored) != _digest(other, component, request, config, ignored):
            raise CheckpointMismatch(
                f"{first.path.name} and {other.path.name} hold different values of {component}: "
                f"choose one with --take {component}=FILE"
            )
    return first


def _digest(source: Source, component: str, request: ConversionRequest, config: ModelConfig, ignored: set[str]) -> str:
    with _converted(source, component, config) as tensors:
        compared = {name: tensor for name, tensor in tensors.items() if name not in ignored}
        return digest_tensors(compared, dtype=request.dtype_of(component))


def _is_shared_resampler(origins: Mapping[str, Source], request: ConversionRequest, config: ModelConfig) -> bool:
    names = ("resampler", "interpolation_resampler")
    return all(name in origins for name in names) and (
        len({_digest(origins[name], name, request, config, set()) for name in names}) == 1
    )


def _find_tokenizer(request: ConversionRequest, config: ModelConfig) -> Path | None:
    if not isinstance(config.text_encoder, ClipTextConfig):
        return None
    folders = [request.tokenizer] if request.tokenizer else [path.parent for path in request.sources]
    folders = [inner for folder in folders for inner in (folder, folder / TOKENIZER)]
    for folder in folders:
        if (folder / "tokenizer.json").is_file() or all(
            (folder / name).is_file() for name in ("vocab.json", "merges.txt")
        ):
            return folder
    raise CheckpointMissing(
        "there is no vocabulary (tokenizer.json, or vocab.json and merges.txt) beside the files: "
        "`keyvid weights pull clip-vocabulary`, then --tokenizer FOLDER"
    )


def _copy_tokenizer(tokenizer: Path | None, folder: Path, config: ModelConfig) -> None:
    if tokenizer is None or not isinstance(config.text_encoder, ClipTextConfig):
        return
    # Importing transformers takes seconds that other commands need not spend.
    from transformers import CLIPTokenizer  # noqa: PLC0415

    target = folder / TOKENIZER
    target.mkdir()
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, target / name)
    try:
        size = len(CLIPTokenizer.from_pretrained(target))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointMismatch(f"the vocabulary in {tokenizer.name} cannot be read: fetch it again") from error
    if size != config.text_encoder.vocabulary:
        raise CheckpointMismatch(
            f"the vocabulary in {tokenizer.name} has {size} tokens, not {config.text_encoder.vocabulary}: "
            "get OpenCLIP ViT-H's"
        )


@contextmanager
def _folder_in_one_piece(out: Path, needed_bytes: int) -> Iterator[Path]:
    """A folder that becomes `out` when the context ends well, and is gone otherwise."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
        if free < needed_bytes:
            raise _no_space(out, needed_bytes)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
            folder = Path(temporary) / out.name
            folder.mkdir()
            yield folder
            folder.rename(out)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(out, needed_bytes) from error
        raise CheckpointError(f"{out} cannot be written ({error.strerror}): choose another folder") from error


def _no_space(out: Path, needed_bytes: int) -> CheckpointError:
    return CheckpointError(f"{needed_bytes / 1e9:.1f} GB do not fit beside {out}: free space, or choose another folder")
