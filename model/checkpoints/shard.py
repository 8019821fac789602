"""Safetensors files written tensor by tensor, so that a component never stands in memory as a whole."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch

from model.errors import CheckpointMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

# SHA-256 of each file of a folder, by its path there.
CHECKSUMS = "checksums.json"

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
# Tensors that begin at a cache line are used where they are mapped, without a copy.
_ALIGNMENT_BYTES = 64
_READ_BYTES = 1 << 20


class UnstorableValue(CheckpointMismatch):
    """A tensor has a value that is not finite, or too large for the type that it is stored as."""


def stored_dtype(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """What a tensor is stored as: `dtype` if it is floating-point, else its own."""
    return dtype if tensor.is_floating_point() else tensor.dtype


def stored_bytes(tensor: Tensor, dtype: torch.dtype) -> int:
    """Bytes that a tensor takes when it is stored."""
    return tensor.numel() * stored_dtype(tensor, dtype).itemsize


def write_shard(file: Path, tensors: Mapping[str, Tensor], *, dtype: torch.dtype) -> str:
    """Write tensors, floating-point ones as `dtype`, one after the other.

    Returns: SHA-256 of the file, in hexadecimal.
    Raises: UnstorableValue; OSError.
    """
    order = sorted(tensors, key=lambda name: (stored_bytes(tensors[name], dtype) % _ALIGNMENT_BYTES != 0, name))
    digest = hashlib.sha256()
    with file.open("wb") as stream:
        for part in _parts(tensors, order, dtype):
            stream.write(part)
            digest.update(part)
    return digest.hexdigest()


def digest_tensors(tensors: Mapping[str, Tensor], *, dtype: torch.dtype) -> str:
    """SHA-256 of names, shapes and stored values, whatever the order. Raises: UnstorableValue."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {list(tensors[name].shape)}\n".encode())
        digest.update(_raw(name, tensors[name], dtype))
    return digest.hexdigest()


def digest_file(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while part := stream.read(_READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def _parts(tensors: Mapping[str, Tensor], order: list[str], dtype: torch.dtype) -> Iterator[bytes | memoryview]:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in order:
        begin, end = end, end + stored_bytes(tensors[name], dtype)
        kind = _DTYPES[stored_dtype(tensors[name], dtype)]
        header[name] = {"dtype": kind, "shape": list(tensors[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT_BYTES)
    yield len(text).to_bytes(8, "little") + text
    for name in order:
        yield _raw(name, tensors[name], dtype)


def _raw(name: str, tensor: Tensor, dtype: torch.dtype) -> memoryview:
    stored = tensor.detach().to(stored_dtype(tensor, dtype)).contiguous()
    if stored.is_floating_point() and not bool(torch.isfinite(stored).all()):
        if bool(torch.isfinite(tensor).all()):
            raise UnstorableValue(f"{name} has a value too large for {dtype}: choose another type")
        raise UnstorableValue(f"{name} has a value that is not finite: get the published file")
    return stored.reshape(-1).view(torch.uint8).numpy().data
