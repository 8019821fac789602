"""Multimodal guidance: how the four conditional evaluations become one prediction (KeyVID, Appendix H)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

Branch = Literal["uncond", "image", "image_text", "full"]
BRANCHES: tuple[Branch, ...] = get_args(Branch)

_LEAST_DEVIATION = 1e-12  # an untrained network predicts nothing but zeros


@dataclass(frozen=True, slots=True)
class Guidance:
    """Scales of the three conditions; 1 is no extra guidance. `rescale` in [0, 1] restores the prediction's spread."""

    text: float
    image: float
    audio: float
    rescale: float = 0.0

    def coefficients(self) -> dict[Branch, float]:
        """Weight of each branch; they sum to 1. A branch of weight 0 has no influence and need not be evaluated.

        Source: KeyVID, Appendix H, sorted by evaluation: m_uncond + s_image (m_image - m_uncond)
        + s_text (m_image_text - m_image) + s_audio (m_full - m_image_text).
        """
        return {
            "uncond": 1.0 - self.image,
            "image": self.image - self.text,
            "image_text": self.text - self.audio,
            "full": self.audio,
        }

    def branches(self) -> tuple[Branch, ...]:
        """Branches that must be evaluated, in the order of Appendix H."""
        weights = self.coefficients()
        return tuple(branch for branch in BRANCHES if weights[branch] != 0 or (branch == "full" and self.rescale != 0))

    def combine(self, predictions: Mapping[Branch, Tensor]) -> Tensor:
        """Guided prediction from the raw ones of `branches()`, each `[B, C, T, h, w]`.

        Source: KeyVID, Appendix H; the rescale is that of "Common Diffusion Noise Schedules ..." sec. 3.4, with the
        fully conditioned prediction as the reference.
        """
        weights = self.coefficients()
        if tuple(predictions) == ("full",) and weights["full"] == 1:
            return predictions["full"]
        guided = sum((weights[branch] * prediction for branch, prediction in predictions.items() if weights[branch]))
        if not isinstance(guided, Tensor):
            raise TypeError("guidance needs at least one prediction")
        if self.rescale == 0:
            return guided
        spread = _deviation(predictions["full"]) / _deviation(guided).clamp(min=_LEAST_DEVIATION)
        return guided * (self.rescale * spread + (1.0 - self.rescale))


def _deviation(x: Tensor) -> Tensor:
    return x.std(dim=tuple(range(1, x.ndim)), keepdim=True)
