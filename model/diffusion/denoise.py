"""The one denoising loop, shared by both diffusion stages and by every model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor

from model.diffusion.ddim import DDIMStep, ddim_step, ddim_steps, predicted_clean
from model.diffusion.guidance import BRANCHES, Branch, Guidance
from model.diffusion.multistep import MultistepSolver
from model.errors import NonFiniteLatents

if TYPE_CHECKING:
    from model.diffusion.noise import Noise
    from model.diffusion.schedule import NoiseSchedule
    from model.previews import Clean

SolverName = Literal["ddim", "dpm++"]

_UNGUIDED = Guidance(text=1.0, image=1.0, audio=1.0)

Predict = Callable[[Sequence[Branch], Tensor, int], Sequence[Tensor]]
"""Velocity `[B, C, T, h, w]` of each of some guidance branches, for a latent and its timestep."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a stage is sampled.

    Args:
        num_inference_steps: steps, of whatever solver; with 0 nothing is added to the base (`model.residual`).
        eta: how much noise each of them adds: 0 none, 1 as much as DDPM.
        guidance: scales of Appendix H.
        solver: `ddim`, or `dpm++`, which needs fewer steps and knows `eta` as 0 or not 0.
        guided: from which share of the steps on there is guidance, and up to which; the fully conditioned prediction
            alone serves elsewhere.
    """

    num_inference_steps: int
    eta: float
    guidance: Guidance
    solver: SolverName = "ddim"
    guided: tuple[float, float] = (0.0, 1.0)

    def guidance_at(self, index: int) -> Guidance:
        """Guidance of step `index`."""
        begin, end = self.guided
        return self.guidance if begin <= index / self.num_inference_steps < end else _UNGUIDED


class Solver(Protocol):
    """Takes the steps of one run."""

    @property
    def steps(self) -> Sequence[DDIMStep]:
        """Steps in the order of execution; those whose `sigma` is not 0 need noise."""
        ...

    def advance(self, step: DDIMStep, x: Tensor, v: Tensor, noise: Tensor | None) -> Tensor:
        """From latents `[B, C, T, h, w]` and their velocity to the latents of the next timestep."""
        ...

    @property
    def memory(self) -> Tensor | None:
        """What it remembers of the step that it took last."""
        ...

    def recall(self, step: int, memory: Tensor | None) -> None:
        """Be as it was after `step` steps, when it remembered `memory`."""
        ...


@dataclass(frozen=True, slots=True)
class DDIMSolver:
    """DDIM, which remembers nothing."""

    schedule: NoiseSchedule
    steps: tuple[DDIMStep, ...]

    def advance(self, step: DDIMStep, x: Tensor, v: Tensor, noise: Tensor | None) -> Tensor:
        """One step of `ddim_step`."""
        return ddim_step(self.schedule, step, x, v, noise)

    @property
    def memory(self) -> None:
        """Nothing."""

    def recall(self, step: int, memory: Tensor | None) -> None:
        """Stay as it is."""


@dataclass(frozen=True, slots=True)
class PinnedFrames:
    """Known frames, clean `latents` `[B, C, K, h, w]` at `indices`, put back with fresh noise after the first step."""

    latents: Tensor
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Midway:
    """A run after `step` of `total` steps: its `latents` `[B, C, T, h, w]`, and what its solver remembers."""

    step: int
    total: int
    latents: Tensor
    memory: Tensor | None


@dataclass(frozen=True, slots=True)
class DenoiseHooks:
    """Calls to whoever waits.

    Args:
        on_step: told (steps done, steps in all) before each step; may raise to stop.
        check: called before each evaluation; may raise to stop.
        on_clean: given, after each step, what works out the clean latents that it predicts.
        on_midway: told where the run is after each step; may raise to stop.
        resume: asked once the initial noise is drawn where to go on, with the noise brought to what it was there.
    """

    on_step: Callable[[int, int], None] | None = None
    check: Callable[[], None] | None = None
    on_clean: Callable[[Clean], None] | None = None
    on_midway: Callable[[Midway], None] | None = None
    resume: Callable[[], Midway | None] | None = None

    def through(self, finish: Callable[[Tensor], Tensor]) -> DenoiseHooks:
        """The same hooks, given `finish` of what is predicted."""
        on_clean = self.on_clean
        if on_clean is None:
            return self
        return replace(self, on_clean=lambda clean: on_clean(lambda: finish(clean())))


def denoise(
    predict: Predict,
    x: Tensor,
    *,
    schedule: NoiseSchedule,
    sampling: Sampling,
    noise: Noise,
    pinned: PinnedFrames | None = None,
    hooks: DenoiseHooks | None = None,
    guidance_batch: int = len(BRANCHES),
) -> Tensor:
    """Denoise `x` float32 `[B, C, T, h, w]` from pure noise to a clean latent.

    At most `guidance_batch` guidance branches are evaluated at once.
    Fresh noise is drawn at every step, also at the last, unless `eta` is 0.
    Raises: NonFiniteLatents; ValueError when what is resumed had another number of steps; whatever the hooks raise.
    Source: DDIM, DPM-Solver++; KeyVID, Appendix H; pinning is released behaviour of the interpolation stage.
    """
    hooks = hooks or DenoiseHooks()
    if not sampling.num_inference_steps:
        return _undenoised(x, hooks)
    solver = _solver(schedule, sampling)
    steps = solver.steps
    begin, x = _begin(hooks, x, solver)
    for index, step in enumerate(steps[begin:], begin):
        if hooks.on_step is not None:
            hooks.on_step(index, len(steps))
        guidance = sampling.guidance_at(index)
        predictions: dict[Branch, Tensor] = {}
        for group in _groups(guidance.branches(), guidance_batch):
            predictions |= _evaluate(predict, group, x, step.timestep, check=hooks.check)
        velocity = guidance.combine(predictions)
        if hooks.on_clean is not None:
            hooks.on_clean(partial(predicted_clean, schedule, step, x, velocity))
        pins = pinned if index == 0 else None
        fresh = noise.normal(x.shape).to(x.device) if step.sigma or pins else None
        x = solver.advance(step, x, velocity, fresh if step.sigma else None)
        if pins is not None and fresh is not None:
            x = _put_back(pins, step, x, fresh)
        if not torch.isfinite(x).all():
            raise NonFiniteLatents
        if hooks.on_midway is not None:
            hooks.on_midway(Midway(index + 1, len(steps), x, solver.memory))
    if hooks.on_step is not None:
        hooks.on_step(len(steps), len(steps))
    return x


def _evaluate(
    predict: Predict, branches: Sequence[Branch], x: Tensor, timestep: int, *, check: Callable[[], None] | None
) -> dict[Branch, Tensor]:
    """Velocities float32 of some branches."""
    if check is not None:
        check()
    return {branch: v.float() for branch, v in zip(branches, predict(branches, x, timestep), strict=True)}


def _undenoised(x: Tensor, hooks: DenoiseHooks) -> Tensor:
    if hooks.on_step is not None:
        hooks.on_step(0, 1)
        hooks.on_step(1, 1)
    return torch.zeros_like(x)


def _solver(schedule: NoiseSchedule, sampling: Sampling) -> Solver:
    if sampling.solver == "dpm++":
        return MultistepSolver(schedule, sampling.num_inference_steps, eta=sampling.eta)
    return DDIMSolver(schedule, ddim_steps(schedule, sampling.num_inference_steps, eta=sampling.eta))


def _begin(hooks: DenoiseHooks, x: Tensor, solver: Solver) -> tuple[int, Tensor]:
    """Steps that are done already, and the latents after them."""
    midway = None if hooks.resume is None else hooks.resume()
    if midway is None:
        return 0, x
    total = len(solver.steps)
    if midway.total != total or midway.latents.shape != x.shape:
        raise ValueError(f"{midway.total} steps of {list(midway.latents.shape)} were begun, not {total}")
    solver.recall(midway.step, None if midway.memory is None else midway.memory.to(x))
    return midway.step, midway.latents.to(x)


def _groups(branches: Sequence[Branch], size: int) -> list[Sequence[Branch]]:
    return [branches[start : start + size] for start in range(0, len(branches), size)]


def _put_back(pinned: PinnedFrames, step: DDIMStep, x: Tensor, noise: Tensor) -> Tensor:
    """Replace the pinned frames by their clean latents at the noise level that `step` ends on."""
    frames = torch.tensor(pinned.indices, device=x.device)
    alpha = step.alpha_prod_previous
    replaced = alpha**0.5 * pinned.latents + (1.0 - alpha) ** 0.5 * noise[:, :, frames]
    return x.index_copy(2, frames, replaced.to(x.dtype))
