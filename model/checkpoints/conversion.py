"""Published tensors to ours, strictly: every tensor is mapped, or left out for a stated reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from model.checkpoints.keymap import UNUSED, KeyMap, Target
from model.errors import CheckpointMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

_MAX_LISTED = 5


def convert(tensors: Mapping[str, Tensor], keymap: KeyMap) -> dict[str, Tensor]:
    """Rename and reshape one component's tensors.

    Args: tensors: of the whole published file; names that do not begin with the component's prefix are ignored.
    Returns: our names to tensors, sharing storage with the published ones.
    Raises: CheckpointMismatch when two published tensors claim one of our names, or one does not have the shape of a
        stack or of a 1x1 convolution where its rule needs it.
    """
    converted: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.startswith(keymap.prefix):
            continue
        target = keymap.target(name.removeprefix(keymap.prefix))
        if target is None:
            continue
        for ours, part in zip(target.names, _parts(name, tensor, target), strict=True):
            if ours in converted:
                raise CheckpointMismatch(f"two tensors map to {ours}; one is {name}")
            converted[ours] = part
    return converted


def _parts(name: str, tensor: Tensor, target: Target) -> tuple[Tensor, ...]:
    axes = target.squeezed_axes
    if tuple(tensor.shape[tensor.ndim - axes :]) != (1,) * axes:
        raise CheckpointMismatch(f"{name} of shape {list(tensor.shape)} does not end in {axes} axes of size 1")
    squeezed = tensor.reshape(tensor.shape[: tensor.ndim - axes])
    if len(target.names) == 1:
        return (squeezed,)
    if squeezed.shape[0] % len(target.names):
        raise CheckpointMismatch(f"{name} of shape {list(tensor.shape)} is not {len(target.names)} stacked tensors")
    return squeezed.chunk(len(target.names))


def unmapped(names: Iterable[str], keymaps: Iterable[KeyMap]) -> list[str]:
    """Names of a published file that no component knows and `UNUSED` does not excuse, in order."""
    prefixes = tuple(keymap.prefix for keymap in keymaps)
    return [
        name for name in names if not name.startswith(prefixes) and not any(re.match(d.pattern, name) for d in UNUSED)
    ]


def load_converted(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill every tensor of `module`.

    Raises: CheckpointMismatch, listing the names that are missing, not expected, or of another shape.
    """
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    problems += [f"{name} is not expected" for name in tensors.keys() - expected.keys()]
    problems += [
        f"{name} is {list(tensors[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if problems:
        listed = "; ".join(sorted(problems)[:_MAX_LISTED])
        more = f"; and {len(problems) - _MAX_LISTED} more" if len(problems) > _MAX_LISTED else ""
        raise CheckpointMismatch(f"the weights do not fit {type(module).__name__}: {listed}{more}")
    module.load_state_dict(dict(tensors))
