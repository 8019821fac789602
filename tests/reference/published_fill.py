"""Deterministic weights for reference tests, drawn per tensor from its published name."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from model.checkpoints.conversion import convert, load_converted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from model.checkpoints.keymap import KeyMap

DATA = Path(__file__).parent / "data"


def published_shapes(file: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a published checkpoint."""
    shapes = {}
    for line in (DATA / file).read_text().splitlines():
        name, shape = line.split("\t")[:2]
        axes = shape.strip("[]").replace("x", ",").split(",") if shape not in ("scalar", "[]") else []
        shapes[name] = tuple(int(axis) for axis in axes)
    return shapes


def seeded_normal(label: str, *shape: int) -> Tensor:
    """Standard normal values seeded with the CRC of `label`."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(label.encode())))
    return torch.from_numpy(np.asarray(generator.standard_normal(shape, dtype=np.float32)))


def filled(name: str, shape: Sequence[int]) -> Tensor:
    """The value that every reference case gave to the published tensor `name`."""
    value = seeded_normal(name, *shape)
    if len(shape) >= 2:
        return value * np.float32(math.prod(shape[1:]) ** -0.5)
    if len(shape) == 1 and name.endswith(".weight"):
        return 1 + np.float32(0.1) * value
    return np.float32(0.1) * value


def fill_as_published(
    module: nn.Module, keymap: KeyMap, *, names: str = "published_keyframe_names.txt", **replaced: Tensor
) -> None:
    """Give `module`, of any size, the weights of the reference cases; `replaced` overrides some of ours by name."""
    ours = module.state_dict()
    parameters = dict(module.named_parameters())
    tensors = {}
    for name in published_shapes(names):
        relative = name.removeprefix(keymap.prefix)
        target = keymap.target(relative) if name.startswith(keymap.prefix) else None
        if target is None or target.names[0] not in parameters:
            continue
        rows, *columns = ours[target.names[0]].shape or (1,)
        shape = (rows * len(target.names), *columns, *[1] * target.squeezed_axes)
        tensors[name] = filled(relative, shape if ours[target.names[0]].ndim else ())
    buffers = {name: value for name, value in ours.items() if name not in parameters}
    load_converted(module, {**convert(tensors, keymap), **buffers, **replaced})
    module.eval()
