"""Where the components stand: on the device throughout, or only while they work."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from torch import Tensor

BRIEF = (
    "localizer",
    "text_encoder",
    "image_encoder",
    "resampler",
    "interpolation_resampler",
    "audio_encoder",
    "draft",
)
"""Components that work once for each video. What they hold is worth more to the denoising that follows."""


def visitors(names: Collection[str], device: torch.device, *, offload: bool) -> frozenset[str]:
    """Components that are on the device only while they work: all with `offload`; else, on a GPU, the brief ones."""
    if offload:
        return frozenset(names)
    return frozenset(BRIEF).intersection(names) if device.type != "cpu" else frozenset()


class Placement:
    """Brings the components that are `visiting` to `device` for as long as they are used; the others are there.

    A visitor's weights stay where they were loaded, mapped from their file where nothing changed their type: what comes
    back from the device is thrown away, since nobody writes to it.
    """

    def __init__(self, modules: Mapping[str, nn.Module], device: torch.device, *, visiting: Collection[str]) -> None:
        self._modules = modules
        self._device = device
        self._resident = {name for name in modules if name not in visiting}

    @property
    def resident(self) -> frozenset[str]:
        """Names of the components that are on the device now."""
        return frozenset(self._resident)

    def send_home(self) -> None:
        """Make visitors of all components: nobody is on the device until it is used. Not while one is used."""
        for name in self._resident:
            self._modules[name].to("cpu")
        self._resident.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def using(self, *names: str) -> Iterator[None]:
        """Have these components on the device; names without weights are passed over."""
        brought = [name for name in names if name in self._modules and name not in self._resident]
        homes: list[tuple[nn.Module, str, Tensor]] = []
        try:
            for name in brought:
                homes += self._bring(self._modules[name])
                self._resident.add(name)
            yield
        finally:
            for owner, key, home in homes:
                setattr(owner, key, home)
            self._resident.difference_update(brought)
            if homes and self._device.type == "cuda":
                torch.cuda.empty_cache()  # what comes next has other sizes, and finds no room among kept blocks

    def _bring(self, module: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
        """Replace every tensor of a module by its copy on the device; returns where each one was."""
        homes: list[tuple[nn.Module, str, Tensor]] = []
        for owner in module.modules():
            for key, parameter in list(owner.named_parameters(recurse=False)):
                homes.append((owner, key, parameter))
                setattr(owner, key, nn.Parameter(parameter.detach().to(self._device), requires_grad=False))
            for key, buffer in list(owner.named_buffers(recurse=False)):
                homes.append((owner, key, buffer))
                setattr(owner, key, buffer.to(self._device))
        return homes
