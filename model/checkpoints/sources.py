"""Published files: opening them safely, telling them apart by their names, and reading one component at a time."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.checkpoints import keymap
from model.checkpoints.keymap import Drop, KeyMap, Rename
from model.errors import CheckpointMismatch, CheckpointMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Where training frameworks put the tensors of a file.
_ROOTS = ("state_dict", "model_state_dict", "module", "model")
_FRAMEWORK_PREFIX = "_forward_module."

# What torch's unpickler trips over when bytes are wrong.
_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A family of published files.

    Args:
        title: what messages call it.
        marker: the kind of a file that has a name matching this.
        parts: components that such a file can hold, each with its rules.
        renames: from the file's own names to the names that the rules are written in.
        drops: what else is in such files, and why nobody reads it.
    """

    title: str
    marker: str
    parts: Mapping[str, KeyMap]
    renames: tuple[Rename, ...] = ()
    drops: tuple[Drop, ...] = ()

    def canonical(self, name: str) -> str:
        """Name that the rules know a tensor of the file by."""
        for rename in self.renames:
            name = rename.apply(name)
        return name


_ENCODERS = {
    "text_encoder": keymap.CLIP_TEXT,
    "image_encoder": keymap.CLIP_IMAGE,
    "codec": keymap.VAE,
}
_TRAINED_ON = Drop(
    r"(model\.diffusion_model|image_proj_model)\.", "KeyVID's training began with them and ends with its own"
)

INTERPOLATION = SourceKind(
    title="KeyVID's interpolation checkpoint",
    marker=r"model\.diffusion_model\.audio_proj_2\.",
    parts={
        "interpolation_unet": keymap.UNET,
        "interpolation_resampler": keymap.RESAMPLER,
        "audio_encoder": keymap.AUDIO_TRUNK,
        **_ENCODERS,
    },
    drops=keymap.UNUSED,
)
KEYFRAMES = SourceKind(
    title="KeyVID's keyframe checkpoint",
    marker=r"model\.diffusion_model\.frame_idx_embedding\.",
    parts={
        "keyframes_unet": keymap.UNET,
        "resampler": keymap.RESAMPLER,
        "audio_encoder": keymap.AUDIO_TRUNK,
        **_ENCODERS,
    },
    drops=keymap.UNUSED,
)
DYNAMICRAFTER = SourceKind(
    title="DynamiCrafter's checkpoint",
    marker=r"model\.diffusion_model\.",
    parts=_ENCODERS,
    drops=(*keymap.UNUSED, _TRAINED_ON),
)
LOCALIZER = SourceKind(title="KeyVID's localizer", marker=r"imagebindMoodel\.", parts={"localizer": keymap.LOCALIZER})
IMAGEBIND = SourceKind(
    title="ImageBind",
    marker=r"modality_(preprocessors|trunks)\.",
    parts={"audio_encoder": keymap.AUDIO_TRUNK},
    renames=(Rename("^", keymap.AUDIO_TRUNK.prefix),),
)
OPEN_CLIP = SourceKind(
    title="OpenCLIP ViT-H",
    marker=r"visual\.(conv1|transformer)\.",
    parts={"text_encoder": keymap.CLIP_TEXT, "image_encoder": keymap.CLIP_IMAGE},
    renames=(
        Rename(r"^visual\.", f"{keymap.CLIP_IMAGE.prefix}model.visual."),
        Rename(rf"^(?!{re.escape(keymap.CLIP_IMAGE.prefix)})", f"{keymap.CLIP_TEXT.prefix}model."),
    ),
)
VAE = SourceKind(
    title="Stable Diffusion's autoencoder",
    marker=r"(encoder\.down|decoder\.up)\.\d\.block\.",
    parts={"codec": keymap.VAE},
    renames=(Rename("^", keymap.VAE.prefix),),
    drops=(Drop(r"first_stage_model\.(loss|model_ema)\.", "only its training needed them"),),
)
DIFFUSERS_VAE = SourceKind(
    title="Stable Diffusion's autoencoder (diffusers)",
    marker=r"(encoder\.down|decoder\.up)_blocks\.",
    parts={"codec": keymap.DIFFUSERS_VAE},
)

# In this order: the keyframe checkpoint has the other stage's marker too, and both have DynamiCrafter's.
KINDS = (LOCALIZER, KEYFRAMES, INTERPOLATION, DYNAMICRAFTER, IMAGEBIND, OPEN_CLIP, VAE, DIFFUSERS_VAE)


@dataclass(frozen=True, slots=True)
class Source:
    """A published file whose kind is known.

    Args:
        shapes: its tensors without their values, by the file's names, in order.
        members: for each component that it holds, the rules' names to the file's.
    """

    path: Path
    kind: SourceKind
    shapes: Mapping[str, Tensor]
    members: Mapping[str, Mapping[str, str]]

    @property
    def label(self) -> str:
        """What messages call the file."""
        return f"{self.path.name} ({self.kind.title})"

    def described(self, component: str) -> dict[str, Tensor]:
        """Tensors of the component by the rules' names, without their values."""
        return {known: self.shapes[name] for known, name in self.members[component].items()}

    @contextmanager
    def tensors(self, component: str) -> Iterator[dict[str, Tensor]]:
        """Tensors of the component by the rules' names, mapped from the file until the context ends."""
        with _opened(self.path) as tensors:
            yield {known: tensors[name] for known, name in self.members[component].items()}

    def left_out(self) -> dict[str, int]:
        """How many tensors are left out for each stated reason."""
        rules = self.kind.parts.values()
        counts: dict[str, int] = {}
        for known in map(self.kind.canonical, self.shapes):
            drops = [(drop, known) for drop in self.kind.drops]
            for rule in rules:
                if known.startswith(rule.prefix):
                    drops += [(drop, known.removeprefix(rule.prefix)) for drop in rule.drops]
            reason = next((drop.reason for drop, name in drops if re.match(drop.pattern, name)), None)
            if reason is not None:
                counts[reason] = counts.get(reason, 0) + 1
        return counts

    def unexplained(self) -> list[str]:
        """Names that belong to no component and that no reason excuses, in order."""
        rules = tuple(self.kind.parts.values())
        unknown = []
        for name in self.shapes:
            known = self.kind.canonical(name)
            owned = any(known.startswith(rule.prefix) for rule in rules)
            if not owned and not any(re.match(drop.pattern, known) for drop in self.kind.drops):
                unknown.append(name)
        return unknown


def open_source(path: Path) -> Source:
    """Recognise a file by its tensors' names; none is read.

    Raises: CheckpointMissing; CheckpointMismatch for a damaged file, for one that holds more than tensors, and for one
        of another model.
    """
    with _opened(path) as tensors:
        shapes = {name: tensor.to("meta") for name, tensor in tensors.items()}
    for kind in KINDS:
        if any(re.match(kind.marker, name) for name in shapes):
            return Source(path, kind, shapes, _members(kind, shapes))
    shown = f"its first tensor is {next(iter(shapes))}" if shapes else "it has no tensors"
    raise CheckpointMismatch(
        f"{path.name} is none of the files that keyvid-512 is made from: {shown}. `keyvid weights list` names them"
    )


def _members(kind: SourceKind, names: Iterable[str]) -> dict[str, dict[str, str]]:
    canonical = {kind.canonical(name): name for name in names}
    members = {
        component: {
            known: name
            for known, name in canonical.items()
            if known.startswith(rules.prefix) and rules.target(known.removeprefix(rules.prefix)) is not None
        }
        for component, rules in kind.parts.items()
    }
    return {component: found for component, found in members.items() if found}


class _LazyTensors(Mapping[str, Tensor]):
    """Tensors of an open safetensors file, each mapped when it is asked for."""

    def __init__(self, file: safe_open) -> None:
        self._file = file
        self._names: list[str] = list(file.keys())  # type: ignore[no-untyped-call]  # published without types

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._file.get_tensor(name)  # type: ignore[no-untyped-call]  # as above
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, Tensor]]:
    if not path.is_file():
        raise CheckpointMissing(f"there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                yield _LazyTensors(file)
        except SafetensorError as error:
            raise CheckpointMismatch(f"{path.name} is damaged ({error}): fetch it again") from error
        return
    yield _unpickled(path)


def _unpickled(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            # Of pickle protocols: what cannot be read ends in an error anyway.
            warnings.simplefilter("ignore", UserWarning)
            # Files of the oldest format cannot be mapped; they are read whole.
            data = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise CheckpointMismatch(_refusal(path, error)) from error
    except _BROKEN as error:
        raise CheckpointMismatch(f"{path.name} is damaged or cut short: fetch it again") from error
    root = data
    while isinstance(root, Mapping):
        inner = next((root[key] for key in _ROOTS if isinstance(root.get(key), Mapping)), None)
        if inner is None:
            break
        root = inner
    if not isinstance(root, Mapping):
        raise CheckpointMismatch(f"{path.name} holds no table of tensors: give the file of a whole model's state dict")
    tensors: dict[str, Tensor] = {}
    for key, value in root.items():
        name = str(key).removeprefix(_FRAMEWORK_PREFIX)
        if not isinstance(value, Tensor):
            raise CheckpointMismatch(f"{path.name}: {name} is not a tensor; save only the state dict of the model")
        if name in tensors:
            raise CheckpointMismatch(f"{path.name}: {name} is there twice; save the model's state dict once")
        tensors[name] = value
    return tensors


def _refusal(path: Path, error: pickle.UnpicklingError) -> str:
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if refused is None:
        return f"{path.name} is damaged or not a file of weights: fetch it again"
    return (
        f"{path.name} wants to run {refused.group(1)} when it is opened, and was refused: get a file that holds only "
        "tensors, or save its state dict alone if you trust whoever made it"
    )
