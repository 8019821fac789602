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


@dataclass(frozen=True, slots=True)
class DDIMSolver:
    """DDIM, which remembers nothing."""

    schedule: NoiseSchedule
    steps: tuple[DDIMStep, ...]

    def advance(self, step: DDIMStep, x: Tensor, v: Tensor, noise: Tensor | None) -> Tensor:
        """One step of `ddim_step`."""
        return ddim_step(self.schedule, step, x, v, noise)


@dataclass(frozen=True, slots=True)
class PinnedFrames:
    """Known frames, clean `latents` `[B, C, K, h, w]` at `indices`, put back with fresh noise after the first step."""

    latents: Tensor
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DenoiseHooks:
    """Calls to whoever waits.

    Args:
        on_step: told (steps done, steps in all) before each step; may raise to stop.
        check: called before each evaluation; may raise to stop.
        on_clean: given, after each step, what works out the clean latents that it predicts.
    """

    on_step: Callable[[int, int], None] | None = None
    check: Callable[[], None] | None = None
    on_clean: Callable[[Clean], None] | None = None

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
    Raises: NonFiniteLatents; whatever the hooks raise.
    Source: DDIM, DPM-Solver++; KeyVID, Appendix H; pinning is released behaviour of the interpolation stage.
    """
    hooks = hooks or DenoiseHooks()
    if not sampling.num_inference_steps:
        return _undenoised(x, hooks)
    solver = _solver(schedule, sampling)
    steps = solver.steps
    for index, step in enumerate(steps):
        if hooks.on_step is not None:
            hooks.on_step(index, len(steps))
        predictions: dict[Branch, Tensor] = {}
        guidance = sampling.guidance_at(index)
        for group in _groups(guidance.branches(), guidance_batch):
            if hooks.check is not None:
                hooks.check()
            evaluated = predict(group, x, step.timestep)
            predictions |= {branch: v.float() for branch, v in zip(group, evaluated, strict=True)}
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
    if hooks.on_step is not None:
        hooks.on_step(len(steps), len(steps))
    return x


def _undenoised(x: Tensor, hooks: DenoiseHooks) -> Tensor:
    if hooks.on_step is not None:
        hooks.on_step(0, 1)
        hooks.on_step(1, 1)
    return torch.zeros_like(x)


def _solver(schedule: NoiseSchedule, sampling: Sampling) -> Solver:
    if sampling.solver == "dpm++":
        return MultistepSolver(schedule, sampling.num_inference_steps, eta=sampling.eta)
    return DDIMSolver(schedule, ddim_steps(schedule, sampling.num_inference_steps, eta=sampling.eta))


def _groups(branches: Sequence[Branch], size: int) -> list[Sequence[Branch]]:
    return [branches[start : start + size] for start in range(0, len(branches), size)]


def _put_back(pinned: PinnedFrames, step: DDIMStep, x: Tensor, noise: Tensor) -> Tensor:
    """Replace the pinned frames by their clean latents at the noise level that `step` ends on."""
    frames = torch.tensor(pinned.indices, device=x.device)
    alpha = step.alpha_prod_previous
    replaced = alpha**0.5 * pinned.latents + (1.0 - alpha) ** 0.5 * noise[:, :, frames]
    return x.index_copy(2, frames, replaced.to(x.dtype))
