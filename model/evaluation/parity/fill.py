"""Deterministic weights and inputs of the reference cases, drawn per tensor from its published name."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from model.checkpoints.conversion import convert, load_converted
from model.checkpoints.published_names import Checkpoint, published_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from model.checkpoints.keymap import KeyMap


_SPREAD = float(np.float32(0.1))


def labelled_normal(label: str, *shape: int) -> Tensor:
    """Standard normal float32 values seeded with the CRC of `label`."""
    return seeded_normal(zlib.crc32(label.encode()), *shape)


def seeded_normal(seed: int, *shape: int) -> Tensor:
    """Standard normal float32 values of one seed."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return torch.from_numpy(np.asarray(generator.standard_normal(shape, dtype=np.float32)))


def filled(name: str, shape: Sequence[int]) -> Tensor:
    """The value that every reference case gave to the published tensor `name`."""
    value = labelled_normal(name, *shape)
    if len(shape) >= 2:
        return value * float(np.float32(math.prod(shape[1:]) ** -0.5))
    if len(shape) == 1 and name.endswith(".weight"):
        return 1 + _SPREAD * value
    return _SPREAD * value


def fill_as_published(
    module: nn.Module, keymap: KeyMap, *, checkpoint: Checkpoint = "keyframe", **replaced: Tensor
) -> None:
    """Give `module`, of any size, the weights of the reference cases and put it into evaluation mode.

    Args:
        module: the network to fill.
        keymap: where the published tensors go in `module`.
        checkpoint: the published file whose names count; buffers keep their values.
        replaced: tensors that are given instead of drawn, by our names.
    Raises: CheckpointMismatch when published names do not fill the module.
    """
    ours = module.state_dict()
    parameters = dict(module.named_parameters())
    tensors = {}
    for name in published_shapes(checkpoint):
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
