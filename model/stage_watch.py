"""What the stages of one generation report: steps, seconds, and states that another attempt can go on from."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from model.diffusion.denoise import DenoiseHooks, Midway
from model.generation import Denoising, GenerationState, Progress, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from model.diffusion.noise import GeneratorNoise
    from model.generation import OnState, OnStep
    from model.previews import PreviewTap, Sketch


@dataclass(frozen=True, slots=True)
class Keeping:
    """When a diffusion stage leaves its state between two steps.

    Args:
        every: steps from one state to the next; 0 leaves none.
        is_wanted: asked after every step whether the state is wanted now, as it is before a planned stop.
    """

    every: int = 0
    is_wanted: Callable[[], bool] | None = None

    def is_due(self, step: int) -> bool:
        """Whether the state is left after that many steps."""
        return (self.every > 0 and step % self.every == 0) or (self.is_wanted is not None and self.is_wanted())


NOTHING_KEPT = Keeping()


@dataclass(slots=True)
class StageWatch:
    """Times the stages and passes on what they report."""

    on_step: OnStep | None
    on_state: OnState | None
    check: Callable[[], None] | None = None
    previews: PreviewTap | None = None
    keeping: Keeping = NOTHING_KEPT
    seconds: dict[Stage, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time one stage."""
        started = time.monotonic()
        yield
        self.seconds[stage] = time.monotonic() - started

    def report(self, stage: Stage, step: int, total: int) -> None:
        """Pass on that `step` of `total` steps are done."""
        if self.on_step is not None:
            self.on_step(Progress(stage, step, total))

    def leave(self, state: GenerationState) -> None:
        """Pass on what another attempt could go on from."""
        if self.on_state is not None:
            self.on_state(state)

    def hooks(self, stage: Stage, state: GenerationState, noise: GeneratorNoise) -> DenoiseHooks:
        """Hooks of a diffusion stage that begins at `state`, or goes on within the stage if that was left there."""
        left = state.denoising if state.denoising is not None and state.denoising.stage == stage else None

        def keep(now: Midway) -> None:
            is_left_whole = now.step == now.total and stage == "keyframes"  # the finished stage leaves its own state
            if self.on_state is None or is_left_whole or not self.keeping.is_due(now.step):
                return
            memory = None if now.memory is None else now.memory.cpu()
            denoising = Denoising(stage, now.step, now.total, now.latents.cpu(), noise.generator.get_state(), memory)
            self.leave(replace(state, denoising=denoising))

        def resume() -> Midway | None:
            if left is None:
                return None
            noise.generator.set_state(left.noise)
            return Midway(left.step, left.total, left.latents, left.memory)

        return DenoiseHooks(
            on_step=lambda step, total: self.report(stage, step, total),
            check=self.check,
            on_midway=keep,
            resume=resume,
        )

    def previewed(
        self,
        hooks: DenoiseHooks,
        stage: Stage,
        sketcher: Callable[[], Sketch],
        frames: Sequence[int],
        *,
        positions: Sequence[int],
    ) -> DenoiseHooks:
        """The hooks of a stage, with previews where somebody wants them."""
        if self.previews is None:
            return hooks
        return replace(hooks, on_clean=self.previews.watching(stage, sketcher(), frames, positions=positions))
