"""How much memory a training step needs whatever its batch, and what to change when a step does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from model.training.recipes import Recipe

_GIB = 2**30
_ADAM_STATES = 2
_FLOAT_BYTES = 4


class TrainingOutOfMemory(Exception):
    """A step does not fit in memory; the message says what would."""


@dataclass(frozen=True, slots=True)
class StaticMemory:
    """Bytes that every step holds: weights, frozen ones included, gradients, Adam's two moments, and the average."""

    weights: int
    gradients: int
    moments: int
    average: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.moments + self.average


def static_memory(task: nn.Module, *, frozen: tuple[nn.Module, ...] = (), has_average: bool) -> StaticMemory:
    """Count what a task needs in one process, without any activation."""
    weights = sum(p.numel() * p.element_size() for module in (task, *frozen) for p in module.parameters())
    trained = sum(p.numel() for p in task.parameters() if p.requires_grad) * _FLOAT_BYTES
    return StaticMemory(weights, trained, _ADAM_STATES * trained, trained if has_average else 0)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch could not allocate, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def advice(recipe: Recipe, memory: StaticMemory, *, clips_per_part: int, available: int | None) -> str:
    """What does not fit, and settings that would, the cheapest first."""
    holds = f"weights, gradients and optimiser alone hold {memory.total / _GIB:.1f} GiB"
    if available is not None:
        holds += f" of {available / _GIB:.1f} GiB"
        if memory.total > available:
            return f"{holds}: no batch fits on one device; shard them with FSDP under `accelerate launch`"
    settings = []
    # The judge's negatives are the other sounds of its part: in smaller parts it learns another thing.
    if clips_per_part > 1 and recipe.task != "sync-judge":
        parts = recipe.accumulation * clips_per_part
        settings.append(f"--set accumulation={parts} (one clip at a time, the same result on average)")
    if not recipe.activation_checkpointing:
        settings.append("--set activation_checkpointing=true (a third slower)")
    if recipe.precision == "fp32":
        settings.append("--set precision=bf16")
    if recipe.optimisation.ema_decay and memory.average:
        settings.append(f"--set ema_decay=0 (saves {memory.average / _GIB:.1f} GiB)")
    settings.append("FSDP over several devices under `accelerate launch`")
    return f"{clips_per_part} clips at a time do not fit; {holds}. Try " + ", then ".join(settings)
