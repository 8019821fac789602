"""What a stored case is, and how a tensor of ours is compared with a stored one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    CaseCheck = Callable[["Case"], Sequence["Comparison"]]


@dataclass(frozen=True, slots=True)
class Case:
    """One stored case.

    Args:
        name: name of its file.
        kind: what was run.
        tensors: stored inputs and outputs by name.
        settings: configuration, labels and tolerance, where the folder lists them.
        metadata: texts stored beside the tensors.
    """

    name: str
    kind: str
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def tolerance(self, default: float) -> float:
        """The largest error allowed: the case's own, or that of its kind."""
        return float(self.settings.get("tolerance", default))

    def names(self, prefix: str) -> list[str]:
        """Names of tensors that begin with `prefix`, sorted."""
        return sorted(name for name in self.tensors if name.startswith(prefix))

    def groups(self, suffix: str) -> list[str]:
        """The X of all tensors named `X.suffix`, sorted."""
        return sorted(name.removesuffix(f".{suffix}") for name in self.tensors if name.endswith(f".{suffix}"))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Largest error of one tensor, and the largest allowed."""

    name: str
    error: float
    tolerance: float

    @property
    def is_within(self) -> bool:
        """Whether the error is allowed; one that is not a number is not."""
        return self.error <= self.tolerance


def absolute(name: str, actual: Tensor, expected: Tensor, *, tolerance: float) -> Comparison:
    """Compare by the largest absolute difference; another shape is an infinite error."""
    if actual.shape != expected.shape:
        return Comparison(f"{name}: {list(actual.shape)} is not {list(expected.shape)}", float("inf"), tolerance)
    if not expected.numel():
        return Comparison(name, 0.0, tolerance)
    ours, theirs = actual.double(), expected.double()
    # Infinities of one sign agree, although their difference is not a number.
    difference = torch.where(ours == theirs, 0.0, (ours - theirs).abs())
    return Comparison(name, float(difference.max()), tolerance)


def relative(name: str, actual: Tensor, expected: Tensor, *, tolerance: float) -> Comparison:
    """Compare by the largest difference over the largest stored magnitude."""
    compared = absolute(name, actual, expected, tolerance=tolerance)
    largest = float(expected.double().abs().max()) if expected.numel() else 0.0
    return Comparison(compared.name, compared.error / largest if largest else compared.error, tolerance)


def exact(name: str, actual: Sequence[float] | Tensor, expected: Tensor) -> Comparison:
    """Compare numbers that must be equal."""
    ours = actual if isinstance(actual, Tensor) else torch.tensor(actual, dtype=torch.float64).reshape(-1)
    return absolute(name, ours, expected if isinstance(actual, Tensor) else expected.flatten(), tolerance=0.0)
