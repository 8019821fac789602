"""Names and shapes of all tensors in the published checkpoints, as lists beside this module."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

Checkpoint = Literal["keyframe", "localizer", "imagebind", "avsync_classifier", "raft"]


@cache
def published_shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor by its published name, in the order of the file; do not change the result.

    `imagebind` is the complete model, its sound at the positions of the diffusion checkpoints.
    """
    listed = resources.files("model.checkpoints").joinpath("published", f"{checkpoint}.txt").read_text("utf-8")
    shapes = {}
    for line in listed.splitlines():
        name, shape = line.split("\t")[:2]
        axes = shape.strip("[]").replace("x", ",").split(",") if shape not in ("scalar", "[]") else []
        shapes[name] = tuple(int(axis) for axis in axes)
    return shapes
