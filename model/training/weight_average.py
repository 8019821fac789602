"""The average of a run's weights over its last steps, which is what a run delivers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a module's floating-point state.

    Parameters that are not trained are shared with the module instead of copied: of a published network those are most.
    With a decay of 0 there is no average, and everything is shared.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
        self._shared = frozen if decay else set(module.state_dict())
        self.state: dict[str, Tensor] = {}
        self._take(module.state_dict(), module)

    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's present weights; roughly the last tenth of the steps counts at most."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in module.state_dict().items():
            if name in self._shared:
                continue
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor.detach(), 1 - decay)
            else:
                self.state[name].copy_(tensor)

    def load(self, state: Mapping[str, Tensor], module: nn.Module) -> None:
        """Go on from a stored average; the module has its own stored weights already."""
        self._take(state, module)

    @contextmanager
    def swapped_in(self, module: nn.Module) -> Iterator[None]:
        """Give the module its averaged weights until the context ends."""
        own = module.state_dict()
        kept = {name: tensor.detach().clone() for name, tensor in own.items() if name not in self._shared}
        with torch.no_grad():
            for name in kept:
                own[name].copy_(self.state[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, tensor in kept.items():
                    own[name].copy_(tensor)

    def _take(self, state: Mapping[str, Tensor], module: nn.Module) -> None:
        own = module.state_dict()
        self.state = {
            name: own[name].detach() if name in self._shared else tensor.detach().clone().to(own[name].device)
            for name, tensor in state.items()
        }
