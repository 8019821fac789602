"""How much memory a computation would hold, told without any: its tensors have shapes on torch's meta device only."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]  # published without types
    """Follows the tensors that come into being inside, and remembers the most bytes that lived at one time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.peak_bytes = 0
        self._living: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the operation returns)
        result = func(*args, **(kwargs or {}))
        # What was there before, such as weights of which an operation returns a view, is not followed.
        given = {reference.cdata for reference, _ in _storages((args, kwargs))}
        for reference, size in _storages(result):
            if reference.cdata not in given:
                self._living.setdefault(reference.cdata, (reference, size))
        for key, (reference, _) in list(self._living.items()):
            if reference.expired():  # type: ignore[no-untyped-call]  # as above
                del self._living[key]
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._living.values()))
        return result


def _storages(values: object) -> list[tuple[StorageWeakRef, int]]:
    """Storages of all tensors in `values`, with their bytes."""
    tensors = [value for value in tree_leaves(values) if isinstance(value, Tensor)]
    storages = [tensor.untyped_storage() for tensor in tensors]
    return [(StorageWeakRef(storage), storage.nbytes()) for storage in storages]  # type: ignore[no-untyped-call]  # as above


class _FusedAttention(TorchFunctionMode):
    """Attention as a GPU's fused kernels do it: without the matrix of weights that the meta device would count."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (as above)
        if func is functional.scaled_dot_product_attention:
            query, _, value = args[:3]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return func(*args, **(kwargs or {}))


@contextmanager
def live_memory() -> Iterator[LiveMemory]:
    """Follow what runs inside on the meta device, without gradients."""
    with torch.inference_mode(), _FusedAttention(), LiveMemory() as memory:
        yield memory
