"""DPM-Solver++ of second order: fewer steps than DDIM for the same distance from the exact solution.

The solver is diffusers'. It knows only schedules whose signal and noise have squares that sum to 1, and dynamic rescale
shrinks the signal alone; so latents are brought to such a schedule and back: `y = x / sqrt(signal^2 + spread^2)`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from model.diffusion.ddim import DDIMStep, ddim_steps, predicted_clean

if TYPE_CHECKING:
    from torch import Tensor

    from model.diffusion.schedule import NoiseSchedule

_LEAST_SIGNAL = 2.0**-24  # of the last timestep, which has none: the solver counts in logarithms


class MultistepSolver:
    """DPM-Solver++(2M) over the timesteps of `ddim_steps`; its stochastic form where `eta` is not 0.

    It remembers the clean latents of the step before: one solver for one run.
    Source: DPM-Solver++ (Lu et al. 2022), Algorithm 2.
    """

    def __init__(self, schedule: NoiseSchedule, num_inference_steps: int, *, eta: float) -> None:
        # Importing diffusers takes a second that most generations need not spend.
        from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler  # noqa: PLC0415

        self._schedule = schedule
        signal = schedule.sqrt_alpha_prod.double() * schedule.clean_scale.double()
        spread = schedule.sqrt_one_minus_alpha_prod.double()
        self._length = (signal.square() + spread.square()).sqrt()
        alpha_prod = (signal / self._length).square().clamp(min=_LEAST_SIGNAL)
        ratios = alpha_prod / torch.cat([alpha_prod.new_ones(1), alpha_prod[:-1]])
        self._scheduler = DPMSolverMultistepScheduler(
            trained_betas=(1 - ratios).tolist(),
            algorithm_type="sde-dpmsolver++" if eta else "dpmsolver++",
            prediction_type="sample",
            final_sigmas_type="zero",
        )
        self.steps = ddim_steps(schedule, num_inference_steps, eta=eta)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # diffusers' way from torch to numpy
            # Given, since diffusers' own trailing spacing has one timestep too many for 61, 103, 121 and 122.
            self._scheduler.set_timesteps(timesteps=[step.timestep for step in self.steps])

    def advance(self, step: DDIMStep, x: Tensor, v: Tensor, noise: Tensor | None) -> Tensor:
        """Go on from `x` `[B, C, T, h, w]` with its predicted velocity; the last step ends at clean latents."""
        here = step.timestep
        # At the scale of this timestep; the solver wants the latents themselves.
        clean = predicted_clean(self._schedule, step, x, v) / step.rescale / float(self._schedule.clean_scale[here])
        moved: Tensor = self._scheduler.step(
            clean, here, x / float(self._length[here]), variance_noise=noise, return_dict=False
        )[0]
        index = self.steps.index(step) + 1
        return moved if index == len(self.steps) else moved * float(self._length[self.steps[index].timestep])

    @property
    def memory(self) -> Tensor | None:
        """Clean latents that the last step predicted, `[B, C, T, h, w]`."""
        memory: Tensor | None = self._scheduler.model_outputs[-1]
        return memory

    def recall(self, step: int, memory: Tensor | None) -> None:
        """Be as it was after `step` steps, when it remembered `memory`."""
        self._scheduler.set_begin_index(step)
        self._scheduler.model_outputs = [None, memory]
        self._scheduler.lower_order_nums = min(step, self._scheduler.config.solver_order)
