"""Numbers (diffusion time, frame rate, frame index) as vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.networks.precision import Linear

_MAX_PERIOD = 10_000.0


def sinusoidal_embedding(values: Tensor, dim: int) -> Tensor:
    """Embed numbers as cosines, then sines, of geometrically spaced frequencies.

    Args: values: any shape and number type. dim: even width.
    Returns: float32, the shape of `values` with `dim` appended.
    """
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=values.device)
    frequencies = torch.exp(-math.log(_MAX_PERIOD) * steps / half)
    angles = values[..., None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class NumberEmbedding(nn.Module):
    """A sinusoidal embedding through a two-layer network; starts at zero when `zero_initialized`."""

    def __init__(self, dim: int, out_dim: int, *, zero_initialized: bool) -> None:
        super().__init__()
        self.dim = dim
        self.expand = Linear(dim, out_dim)
        self.contract = Linear(out_dim, out_dim)
        if zero_initialized:
            nn.init.zeros_(self.contract.weight)
            nn.init.zeros_(self.contract.bias)

    def forward(self, values: Tensor) -> Tensor:
        """Embed numbers of any shape; the result has `out_dim` appended."""
        embedding = sinusoidal_embedding(values, self.dim)
        out: Tensor = self.contract(functional.silu(self.expand(embedding)))
        return out
