"""The forward process: how much of a clean latent is left at each of the 1000 timesteps.

Symbols: `alpha_prod[t]` is alpha-bar_t of DDPM; `x0` a clean latent; `v` the velocity that the networks predict.
Latents enter at the scale of their codec. With dynamic rescale they are shrunk at noisy timesteps before noising.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

NUM_TIMESTEPS = 1000

_BETA_START = 0.00085
_BETA_END = 0.012
_RESCALE_END = 0.7
_RESCALE_RAMP = 400


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """Coefficients of the forward process, float32 `[1000]` each.

    `sqrt_alpha_prod` and `sqrt_one_minus_alpha_prod` are rounded from float64 separately, as the published weights
    were trained; `clean_scale` is 1 everywhere without dynamic rescale.
    """

    alpha_prod: Tensor
    sqrt_alpha_prod: Tensor
    sqrt_one_minus_alpha_prod: Tensor
    clean_scale: Tensor

    def add_noise(self, x0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noise `x0`, already rescaled by `rescale_clean`, to `timesteps` `[B]` (DDPM eq. 4)."""
        signal, spread = self._coefficients(x0, timesteps)
        return signal * x0 + spread * noise

    def velocity(self, x0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Training target v at `timesteps` `[B]` (Progressive Distillation, Appendix D)."""
        signal, spread = self._coefficients(x0, timesteps)
        return signal * noise - spread * x0

    def clean_from_velocity(self, x: Tensor, v: Tensor, timesteps: Tensor) -> Tensor:
        """Clean latent that a noisy latent and its velocity imply."""
        signal, spread = self._coefficients(x, timesteps)
        return signal * x - spread * v

    def noise_from_velocity(self, x: Tensor, v: Tensor, timesteps: Tensor) -> Tensor:
        """Noise that a noisy latent and its velocity imply."""
        signal, spread = self._coefficients(x, timesteps)
        return signal * v + spread * x

    def rescale_clean(self, x0: Tensor, timesteps: Tensor) -> Tensor:
        """Shrink clean latents as dynamic rescale does before noising to `timesteps` `[B]`."""
        return _per_sample(self.clean_scale, timesteps, x0) * x0

    def _coefficients(self, like: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        return (
            _per_sample(self.sqrt_alpha_prod, timesteps, like),
            _per_sample(self.sqrt_one_minus_alpha_prod, timesteps, like),
        )


@cache
def noise_schedule(*, dynamic_rescale: bool) -> NoiseSchedule:
    """Scaled-linear betas with zero terminal signal, as the published weights expect.

    Source: "Common Diffusion Noise Schedules and Sample Steps Are Flawed", Algorithm 1, whose betas are then
    multiplied up again; dynamic rescale as in DynamiCrafter (1 to 0.7 over the first 400 timesteps).
    """
    alpha_prod = torch.cumprod(1.0 - zero_terminal_betas(), dim=0)
    ramp = torch.linspace(1.0, _RESCALE_END, _RESCALE_RAMP, dtype=torch.float64)
    rescaled = torch.cat([ramp, ramp.new_full((NUM_TIMESTEPS - _RESCALE_RAMP,), _RESCALE_END)])
    return NoiseSchedule(
        alpha_prod=alpha_prod.float(),
        sqrt_alpha_prod=alpha_prod.sqrt().float(),
        sqrt_one_minus_alpha_prod=(1.0 - alpha_prod).sqrt().float(),
        clean_scale=(rescaled if dynamic_rescale else torch.ones_like(rescaled)).float(),
    )


def zero_terminal_betas() -> Tensor:
    """Betas float64 `[1000]` whose last one is 1, so that the last timestep is pure noise."""
    betas = torch.linspace(_BETA_START**0.5, _BETA_END**0.5, NUM_TIMESTEPS, dtype=torch.float64) ** 2
    root = torch.cumprod(1.0 - betas, dim=0).sqrt()
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    alpha_prod = root**2
    return 1.0 - torch.cat([alpha_prod[:1], alpha_prod[1:] / alpha_prod[:-1]])


def _per_sample(values: Tensor, timesteps: Tensor, like: Tensor) -> Tensor:
    picked = values.to(like.device)[timesteps.to(like.device)]
    return picked.reshape(-1, *[1] * (like.ndim - 1))
