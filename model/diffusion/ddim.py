"""DDIM: which timesteps are visited, and one step from a latent to the next.

Symbols: `alpha_prod` and `alpha_prod_previous` are alpha-bar at this and at the next visited timestep (alpha_t and
alpha_{t-1} of DDIM eq. 12); `sigma` is the standard deviation of the noise that a step adds (eq. 16).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.diffusion.schedule import NUM_TIMESTEPS, NoiseSchedule


@dataclass(frozen=True, slots=True)
class DDIMStep:
    """Coefficients of one step; `rescale` brings a clean estimate from this timestep's scale to the next one's."""

    timestep: int
    alpha_prod: float
    alpha_prod_previous: float
    sigma: float
    rescale: float


def trailing_timesteps(num_inference_steps: int) -> tuple[int, ...]:
    """Timesteps in ascending order, evenly spaced back from 999 (`trailing` spacing), halves rounded to even."""
    spacing = NUM_TIMESTEPS / num_inference_steps
    descending = np.round(NUM_TIMESTEPS - spacing * np.arange(num_inference_steps)).astype(int) - 1
    return tuple(int(t) for t in descending[::-1])


def ddim_steps(schedule: NoiseSchedule, num_inference_steps: int, *, eta: float) -> tuple[DDIMStep, ...]:
    """Steps in the order of execution, from timestep 999 down.

    The last step ends at alpha-bar_0, not at 1, and still adds noise when `eta` is not 0; the final latents keep
    the dynamic-rescale factor of the first timestep. Source: released behaviour.
    """
    timesteps = trailing_timesteps(num_inference_steps)
    alpha = schedule.alpha_prod.double().numpy()
    scale = schedule.clean_scale.double().numpy()
    steps = []
    for index, timestep in enumerate(timesteps):
        previous = alpha[timesteps[index - 1]] if index else alpha[0]
        previous_scale = scale[timesteps[index - 1]] if index else scale[timestep]
        here = alpha[timestep]
        sigma = eta * np.sqrt((1 - previous) / (1 - here) * (1 - here / previous))
        steps.append(
            DDIMStep(timestep, float(here), float(previous), float(sigma), float(previous_scale / scale[timestep]))
        )
    return tuple(reversed(steps))


def predicted_clean(schedule: NoiseSchedule, step: DDIMStep, x: Tensor, v: Tensor) -> Tensor:
    """Clean latents that `step` from `x` `[B, C, T, h, w]` with predicted velocity `v` heads for."""
    timesteps = torch.full((x.shape[0],), step.timestep)
    return schedule.clean_from_velocity(x, v, timesteps) * step.rescale


def ddim_step(schedule: NoiseSchedule, step: DDIMStep, x: Tensor, v: Tensor, noise: Tensor | None) -> Tensor:
    """One step from `x` `[B, C, T, h, w]` with predicted velocity `v`; `noise` is needed when `step.sigma` is not 0.

    Source: DDIM eq. 12.
    """
    x0 = predicted_clean(schedule, step, x, v)
    direction = schedule.noise_from_velocity(x, v, torch.full((x.shape[0],), step.timestep))
    # With eta 1 the first step leaves 1 - alpha_previous - sigma^2 = 0, which rounding may turn negative.
    towards = max(1.0 - step.alpha_prod_previous - step.sigma**2, 0.0) ** 0.5
    x = step.alpha_prod_previous**0.5 * x0 + towards * direction
    return x if noise is None else x + step.sigma * noise
