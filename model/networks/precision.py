"""Layers whose weights may be in half precision while what flows between them is not.

`Linear` computes in the type of its weights; convolutions and norms compute in the type of what comes in. With weights
in float32 or float16 all is of their type. With bfloat16, whose 8 bits of mantissa guidance turns into visible errors,
the frames flow in float32 (`stream_dtype`): sums, norms and convolutions lose nothing, while matrix products and
attention stay in half precision. tests/reference holds the decoded frames to it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def stream_dtype(weights: torch.dtype) -> torch.dtype:
    """Type of the frames inside a network with weights of this type."""
    return torch.float32 if weights == torch.bfloat16 else weights


class Linear(nn.Linear):
    """A linear layer in the type of its weights, whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis; the result has the type of the weights."""
        # Left to autocast while float32 weights are trained.
        given = x if self.weight.dtype == torch.float32 else x.to(self.weight.dtype)
        return functional.linear(given, self.weight, self.bias)


class Conv2d(nn.Conv2d):
    """A convolution in the type of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [N, C, H, W]; the result has the type of `x`."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        out: Tensor = self._conv_forward(x, self.weight.to(x.dtype), bias)
        return out


class GroupNorm(nn.GroupNorm):
    """A group norm in the type of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, C, ...]; the result has the type of `x`."""
        return functional.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class LayerNorm(nn.LayerNorm):
    """A layer norm in the type of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis; the result has the type of `x`."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return functional.layer_norm(x, self.normalized_shape, weight, bias, self.eps)
