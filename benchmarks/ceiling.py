"""What the machine could do at most, measured in the run that is compared with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from benchmarks.timing import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable

_CPU_SIZES, _GPU_SIZES = (1024, 2048), (4096, 8192)
_COPY_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Fastest rate of matrix products in TFLOP/s, and of copies (read and written) in GB/s."""

    matrix_tflops: float
    copy_gb_s: float


def measure_ceiling(device: torch.device, dtype: torch.dtype, *, rounds: int = 5) -> Ceiling:
    """Multiply square matrices of the networks' type, and copy a quarter of a gibibyte."""
    sizes = _GPU_SIZES if device.type == "cuda" else _CPU_SIZES
    matrices = [torch.randn(size, size, device=device, dtype=dtype) for size in sizes]
    source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def product(matrix: torch.Tensor) -> Callable[[], object]:
        return lambda: matrix @ matrix

    timings = in_turn(
        {**{str(len(matrix)): product(matrix) for matrix in matrices}, "copy": lambda: target.copy_(source)},
        rounds=rounds,
        device=device,
    )
    rates = [2 * size**3 / min(timings[str(size)].wall) / 1e12 for size in sizes]
    return Ceiling(max(rates), 2 * _COPY_BYTES / min(timings["copy"].wall) / 1e9)
