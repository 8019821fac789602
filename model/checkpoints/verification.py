"""Whether pulled or converted files are still what they were, and whether a weights folder is complete."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from model.checkpoints.assembly import UnfitWeights, expected_tensors
from model.checkpoints.shard import CHECKSUMS, digest_file
from model.encoders.text import ClipTextConfig
from model.errors import CheckpointMismatch, CheckpointMissing
from model.pretrained import INDEX, TOKENIZER, WEIGHTS, read_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

_REMEDY = "convert or pull again"


def verify(folder: Path, *, on_file: Callable[[str], None] | None = None) -> list[str]:
    """Check a pulled folder by its hashes; a weights folder by its tensors too.

    Args: on_file: told of each file before it is read.
    Returns: the files that were found whole.
    Raises: CheckpointMissing when a file, or the list of hashes of a pulled folder, is not there; CheckpointMismatch
        when a file has changed; UnfitWeights when tensors do not fit the configuration.
    """
    report = on_file or (lambda _name: None)
    hashes = _recorded_hashes(folder)
    found: list[str] = []
    if (folder / INDEX).is_file():
        found += _verify_tensors(folder, report)
    elif hashes is None:
        raise CheckpointMissing(f"{folder} has neither {INDEX} nor {CHECKSUMS}: give a pulled or converted folder")
    for name, expected in (hashes or {}).items():
        report(name)
        file = folder / name
        if not file.is_file():
            raise CheckpointMissing(f"{name} is gone: {_REMEDY}")
        actual = digest_file(file)
        if actual != expected:
            raise CheckpointMismatch(f"{name} has changed: SHA-256 {actual}, not {expected}; {_REMEDY}")
        if name not in found:
            found.append(name)
    return found


def _recorded_hashes(folder: Path) -> Mapping[str, str] | None:
    file = folder / CHECKSUMS
    if not file.is_file():
        return None
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointMismatch(f"{CHECKSUMS} is not JSON: {_REMEDY}") from error
    if not isinstance(recorded, dict) or not all(isinstance(value, str) for value in recorded.values()):
        raise CheckpointMismatch(f"{CHECKSUMS} is not a table of hashes: {_REMEDY}")
    return recorded


def _verify_tensors(folder: Path, report: Callable[[str], None]) -> list[str]:
    config = read_config(folder)
    expected = expected_tensors(config)
    names = {component: f"{component}/{WEIGHTS}" for component in expected}
    missing = [name for name in names.values() if not (folder / name).is_file()]
    if missing:
        raise CheckpointMissing(f"{', '.join(missing)} not found: {_REMEDY}")
    for component, name in names.items():
        report(name)
        problems = _misfits(folder / name, expected[component], name)
        if problems:
            raise UnfitWeights(name, problems, _REMEDY)
    if isinstance(config.text_encoder, ClipTextConfig) and not (folder / TOKENIZER).is_dir():
        raise CheckpointMissing(f"{TOKENIZER}/ not found: {_REMEDY}")
    return list(names.values())


def _misfits(file: Path, expected: Mapping[str, Tensor], name: str) -> list[str]:
    try:
        with safe_open(file, framework="pt") as tensors:
            names = list(tensors.keys())
            shapes = {key: list(tensors.get_slice(key).get_shape()) for key in names}
    except SafetensorError as error:
        raise CheckpointMismatch(f"{name} is damaged or cut short: {_REMEDY}") from error
    problems = [f"{key} is missing" for key in expected if key not in shapes]
    problems += [f"{key} is not expected" for key in shapes if key not in expected]
    problems += [
        f"{key} is {shapes[key]}, not {list(tensor.shape)}"
        for key, tensor in expected.items()
        if key in shapes and shapes[key] != list(tensor.shape)
    ]
    return problems
