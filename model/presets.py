"""Named trades of time against fidelity: how each kind of model is sampled under a preset.

`exact` is the model's own sampling. What the others cost and lose is measured: docs/performance.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model.config import ModelConfig
    from model.diffusion.denoise import Sampling, SolverName
    from model.generation import GenerationParams, Preset

DiffusionStage = Literal["keyframes", "interpolation"]


@dataclass(frozen=True, slots=True)
class StagePreset:
    """Sampling of one stage.

    Args:
        num_inference_steps: denoising steps; 0 leaves the motion draft as it is.
        solver: what takes them.
        guided: from which share of the steps on, and up to which, there is guidance; elsewhere only the fully
            conditioned branch is evaluated.
    """

    num_inference_steps: int
    solver: SolverName = "ddim"
    guided: tuple[float, float] = (0.0, 1.0)


# Around a draft a step is worth little and none is a video too: the draft alone.
_AROUND_A_DRAFT: Mapping[Preset, Mapping[DiffusionStage, StagePreset]] = {
    "balanced": {"keyframes": StagePreset(1), "interpolation": StagePreset(1)},
    "fast": {"keyframes": StagePreset(0), "interpolation": StagePreset(0)},
}
_FROM_NOISE: Mapping[Preset, Mapping[DiffusionStage, StagePreset]] = {
    "balanced": {
        "keyframes": StagePreset(30, solver="dpm++"),
        "interpolation": StagePreset(30, solver="dpm++"),
    },
    "fast": {
        "keyframes": StagePreset(12, solver="dpm++", guided=(0.0, 0.8)),
        "interpolation": StagePreset(10, solver="dpm++", guided=(0.0, 0.6)),
    },
}


def stage_sampling(config: ModelConfig, stage: DiffusionStage, params: GenerationParams) -> Sampling:
    """How a request has a stage of this model sampled; a number of steps in the request goes before the preset's."""
    own = (config.keyframes if stage == "keyframes" else config.interpolation).sampling(params)
    if params.preset == "exact":
        return own
    presets = _FROM_NOISE if config.draft is None else _AROUND_A_DRAFT
    chosen = presets[params.preset][stage]
    return replace(
        own,
        num_inference_steps=params.num_inference_steps or chosen.num_inference_steps,
        solver=chosen.solver,
        guided=chosen.guided,
    )
