"""What training minimises: pure functions of predictions and targets, one value per clip unless said otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_VELOCITY_SHARE = 0.25  # white errors, which cost most as velocities, then cost about twice what they do as positions
_STILL_ENERGY = 0.02  # latents squared; keeps nearly still clips from outweighing all others


def normalized_curve(motion: Tensor) -> Tensor:
    """Motion scores `[B, T]` stretched to [0, 1] clip by clip; clips without motion become zeros.

    Source: KeyVID sec. 3.2 (labels of the localizer).
    """
    low, high = motion.amin(dim=1, keepdim=True), motion.amax(dim=1, keepdim=True)
    return (motion - low) / (high - low).clamp(min=1e-4)


def curve_loss(scores: Tensor, motion: Tensor) -> Tensor:
    """L1 between localizer scores `[B, T]` and the normalised motion curve: a scalar (KeyVID, Appendix A)."""
    return functional.l1_loss(scores, normalized_curve(motion))


def relative_error(latents: Tensor, target: Tensor, *, floor: float = _STILL_ENERGY) -> Tensor:
    """Squared error of latents `[B, C, T, h, w]` over the target's energy `[B]`; 1 is what no motion scores."""
    error = (latents - target).square().mean(dim=(1, 2, 3, 4))
    energy = target.square().mean(dim=(1, 2, 3, 4))
    return error / (energy + floor)


def motion_error(latents: Tensor, target: Tensor) -> Tensor:
    """Position and velocity errors of a clip's latents, each over the target's own energy: `[B]`.

    The velocity term is what timing depends on: a position error of a tenth of a stroke matters little, a stroke that
    lands one frame late matters much.
    """
    velocity = latents.diff(dim=2)
    target_velocity = target.diff(dim=2)
    return relative_error(latents, target) + relative_error(velocity, target_velocity, floor=_STILL_ENERGY / 4)


def denoising_error(
    prediction: Tensor,
    target: Tensor,
    *,
    clip_energy: Tensor,
    velocity_energy: Tensor | None = None,
    cap: float = 10.0,
) -> Tensor:
    """Squared error of a v-prediction `[B, C, T, h, w]`, weighted towards clips with little motion: `[B]`.

    `clip_energy` `[B]` is the mean square of the clip's latents; weights are at most `cap`. Where T are neighbouring
    frames, `velocity_energy` `[B]` is that of their differences, and the error's own differences count too.
    """
    error = prediction - target
    position = error.square().mean(dim=(1, 2, 3, 4)) * (0.4 / (clip_energy + 0.04)).clamp(max=cap)
    if velocity_energy is None:
        return position
    weight = (_VELOCITY_SHARE * 0.4 / (velocity_energy + 0.01)).clamp(max=_VELOCITY_SHARE * 4 * cap)
    return position + weight * error.diff(dim=2).square().mean(dim=(1, 2, 3, 4))
