"""Timing of variants of one thing, in turn, so that what else the machine does meets all of them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(slots=True)
class Timing:
    """Seconds of each round: by the clock, and of processors (this process and the children that it waited for)."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median by the clock."""
        return median(self.wall)

    @property
    def processor_seconds(self) -> float:
        """Median of processor time."""
        return median(self.processor)


def in_turn(
    variants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    device: torch.device,
    on_round: Callable[[], None] | None = None,
) -> dict[str, Timing]:
    """Run every variant once untimed, then all of them one after the other, `rounds` times."""
    timings = {name: Timing() for name in variants}
    for compute in variants.values():
        compute()
    for _ in range(rounds):
        for name, compute in variants.items():
            finish(device)
            began, processor_began = time.perf_counter(), processor_time()
            compute()
            finish(device)
            timings[name].wall.append(time.perf_counter() - began)
            timings[name].processor.append(processor_time() - processor_began)
        if on_round is not None:
            on_round()
    return timings


def processor_time() -> float:
    """Processor seconds so far, of this process and of the children that it waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def finish(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
