"""What a generation is asked for, what it reports, and what it leaves between stages."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import safetensors.torch
import torch
from safetensors import SafetensorError

from model.clips import KeyframePlan, MotionCurve, PeakRule
from model.errors import InvalidParams

if TYPE_CHECKING:
    from torch import Tensor

    from model.clips import VideoClip

Stage = Literal["localization", "keyframes", "interpolation"]
_DENOISED: tuple[Stage, ...] = ("keyframes", "interpolation")
_PEAK_RULES: tuple[PeakRule, ...] = get_args(PeakRule)
InterpolationMode = Literal["released", "freenoise"]
Preset = Literal["exact", "balanced", "fast"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

MAX_SEED = 2**32 - 1
MAX_INFERENCE_STEPS = 200
MAX_GUIDANCE = 30.0
MOTION_STRENGTHS = (0.25, 3.0)


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """Knobs of one generation; None means the model's own default.

    Args:
        seed: 0 to 2**32 - 1; every random draw derives from it.
        num_inference_steps: denoising steps of the keyframe stage and of the interpolation stage, 1 to 200.
        guidance_text, guidance_image, guidance_audio: scales of paper Appendix H, 0 to 30; 1 is no extra guidance.
        interpolation_mode: `released` (what the published numbers were made with) or `freenoise` (the paper's windows).
        motion_strength: how far things move, as a multiple of what the model drafts, 0.25 to 3; models of latent flow.
        keyframes: frames to paint, ascending from 0, instead of those that the localizer hears.
        preset: how much time may go into fidelity: `exact` is the model's own sampling; see `model.presets`.
        reference_compat: whether to repeat two defects of the published evaluation: stereo sound is heard interleaved,
            and keyframes pass through a lossy video before they are interpolated.

    Raises: InvalidParams.
    """

    seed: int
    num_inference_steps: int | None = None
    guidance_text: float | None = None
    guidance_image: float | None = None
    guidance_audio: float | None = None
    interpolation_mode: InterpolationMode | None = None
    motion_strength: float = 1.0
    keyframes: tuple[int, ...] | None = None
    reference_compat: bool = False
    preset: Preset = "exact"

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InvalidParams(f"preset must be one of {', '.join(PRESETS)}, not {self.preset}")
        if not 0 <= self.seed <= MAX_SEED:
            raise InvalidParams(f"seed must be 0 to {MAX_SEED}, not {self.seed}")
        steps = self.num_inference_steps
        if steps is not None and not 1 <= steps <= MAX_INFERENCE_STEPS:
            raise InvalidParams(f"num_inference_steps must be 1 to {MAX_INFERENCE_STEPS}, not {steps}")
        for name in ("guidance_text", "guidance_image", "guidance_audio"):
            scale = getattr(self, name)
            if scale is not None and not (math.isfinite(scale) and 0 <= scale <= MAX_GUIDANCE):
                raise InvalidParams(f"{name} must be 0 to {MAX_GUIDANCE:g}, not {scale}")
        low, high = MOTION_STRENGTHS
        if not low <= self.motion_strength <= high:
            raise InvalidParams(f"motion_strength must be {low:g} to {high:g}, not {self.motion_strength}")
        frames = self.keyframes
        if frames is not None and (frames[:1] != (0,) or any(a >= b for a, b in itertools.pairwise(frames))):
            raise InvalidParams(f"keyframes must ascend from 0, not {', '.join(map(str, frames))}")


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` of `total` steps of `stage` are done; step 0 says that the stage has begun."""

    stage: Stage
    step: int
    total: int


@dataclass(frozen=True, slots=True)
class Denoising:
    """A diffusion stage that was left between two steps.

    Args:
        stage: `keyframes` or `interpolation`.
        step: how many of its `total` steps are done.
        latents: what the next step takes, float32 `[1, C, T, h, w]`, on the CPU.
        noise: state of the stage's random generator, uint8.
        memory: what the solver remembers, as the latents; None where it remembers nothing.
    """

    stage: Stage
    step: int
    total: int
    latents: Tensor
    noise: Tensor
    memory: Tensor | None = None


@dataclass(frozen=True, slots=True)
class GenerationState:
    """What finished stages leave for the next one; a generation resumes from it with the same result.

    `keyframe_latents` is float32 `[1, C, num_keyframes, h, w]`, absent until the keyframe stage is done.
    `keyframe_source` names the model whose localizer heard the keyframes; `request` if the caller chose them.
    `denoising` is what a stage leaves that is not finished.
    """

    curve: MotionCurve
    plan: KeyframePlan
    keyframe_latents: Tensor | None = None
    keyframe_source: str | None = None
    denoising: Denoising | None = None

    def to_bytes(self) -> bytes:
        """Serialise to safetensors."""
        tensors = {
            "curve.values": torch.tensor(self.curve.values, dtype=torch.float64),
            "curve.peaks": torch.tensor(self.curve.peaks, dtype=torch.int64),
            "curve.valleys": torch.tensor(self.curve.valleys, dtype=torch.int64),
            "curve.rule": torch.tensor([_PEAK_RULES.index(self.curve.rule)]),
            "plan.indices": torch.tensor(self.plan.indices, dtype=torch.int64),
            "plan.num_frames": torch.tensor([self.plan.num_frames]),
        }
        if self.keyframe_latents is not None:
            tensors["keyframe_latents"] = self.keyframe_latents.contiguous()
        if self.keyframe_source is not None:
            tensors["keyframe_source"] = torch.tensor(list(self.keyframe_source.encode()), dtype=torch.uint8)
        left = self.denoising
        if left is not None:
            tensors["denoising.latents"] = left.latents.contiguous()
            tensors["denoising.noise"] = left.noise
            if left.memory is not None:
                tensors["denoising.memory"] = left.memory.contiguous()
            tensors["denoising.stage_step_total"] = torch.tensor([_DENOISED.index(left.stage), left.step, left.total])
        return safetensors.torch.save(tensors)

    @classmethod
    def from_bytes(cls, data: bytes) -> GenerationState:
        """Read what `to_bytes` wrote. Raises: ValueError for anything else."""
        try:
            tensors = safetensors.torch.load(data)
            curve = MotionCurve(
                values=tuple(tensors["curve.values"].tolist()),
                peaks=tuple(tensors["curve.peaks"].tolist()),
                valleys=tuple(tensors["curve.valleys"].tolist()),
                rule=_PEAK_RULES[int(tensors.get("curve.rule", 0))],  # older workers know the paper's only
            )
            plan = KeyframePlan(tuple(tensors["plan.indices"].tolist()), int(tensors["plan.num_frames"]))
            denoising = None
            if "denoising.latents" in tensors:
                stage, step, total = tensors["denoising.stage_step_total"].tolist()
                latents, noise = tensors["denoising.latents"], tensors["denoising.noise"]
                denoising = Denoising(_DENOISED[stage], step, total, latents, noise, tensors.get("denoising.memory"))
        except (SafetensorError, KeyError) as error:
            raise ValueError("not a generation state") from error
        source = tensors.get("keyframe_source")
        return cls(
            curve,
            plan,
            tensors.get("keyframe_latents"),
            None if source is None else bytes(source.tolist()).decode(),
            denoising,
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished generation: frames without sound, what was heard, and by whom."""

    video: VideoClip
    curve: MotionCurve
    plan: KeyframePlan
    seconds: dict[Stage, float]
    keyframe_source: str | None = None


OnStep = Callable[[Progress], None]
OnState = Callable[[GenerationState], None]
