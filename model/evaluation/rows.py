"""Which videos are compared: the model's own, and those that show what its numbers mean.

A row makes latents `[1, C, 48, h, w]` for a scene. All rows of a scene share its seed; those that generate
denoise as many frames, all frames at once not fewer (`dense_steps`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator

from model.clips import KeyframePlan
from model.diffusion.noise import stage_noise
from model.evaluation.motion import drawn_displacement, motion_of
from model.generation import GenerationParams, GenerationState
from model.keyframes.generator import generate_keyframes
from model.localization.plan import motion_curve, plan_keyframes
from model.training.losses import normalized_curve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from model.clips import AudioClip
    from model.codecs.latent_flow import LatentFlowCodec
    from model.evaluation.scenes import Scene
    from model.pipeline import KeyVIDPipeline

GENERATED = "generated"
OTHER_SOUND = "other sound"
DRAFT = "draft alone"
UNIFORM = "uniform 12 keyframes"
DENSE = "dense 48 frames"
NOISE = "noise"
STILL = "still"
TRUTH = "ground truth"
SPLINE_LOCALIZED = "spline, localized keyframes"
SPLINE_UNIFORM = "spline, uniform keyframes"
SPLINE_TRUE = "spline, keyframes at true peaks"
TRUE_SPLINE_LOCALIZED = "spline of the truth, localized"
TRUE_SPLINE_UNIFORM = "spline of the truth, uniform"

_NOISE_SPREAD = 0.3  # latent units, of every cell and frame anew: about 2.4 px


@dataclass(frozen=True, slots=True)
class Subject:
    """What a row makes a video of: a scene, another scene's sound, and the seed."""

    pipeline: KeyVIDPipeline
    codec: LatentFlowCodec
    scene: Scene
    other: AudioClip
    seed: int

    @property
    def truth(self) -> torch.Tensor:
        """Latents of the scene's law. Raises: ValueError where it is not known."""
        if self.scene.truth is None:
            raise ValueError(f"nobody knows how {self.scene.name} moves")
        return self.scene.truth

    def localized(self) -> KeyframePlan:
        """Keyframes where the localizer hears motion."""
        heard = self.pipeline.localize(self.scene.audio)
        return plan_keyframes(heard, num_keyframes=self.pipeline.config.num_keyframes)

    def uniform(self) -> KeyframePlan:
        """Keyframes at equal distances."""
        return evenly_spaced(self.pipeline)

    def at_true_peaks(self) -> KeyframePlan:
        """Keyframes where the true motion curve leads to."""
        config = self.pipeline.config
        motion = motion_of(drawn_displacement(self.truth, self.codec))
        curve = normalized_curve(torch.from_numpy(motion)[None])[0].tolist()
        return plan_keyframes(motion_curve(curve, rule=config.peak_rule), num_keyframes=config.num_keyframes)


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of video.

    Args:
        name: in the tables.
        make: latents of a subject.
        is_encoded: whether its sync is measured on the MP4; other rows are compared by their latents alone.
        needs_truth: whether it can be made only of scenes whose law is known.
    """

    name: str
    make: Callable[[Subject], torch.Tensor]
    is_encoded: bool = True
    needs_truth: bool = False


def evenly_spaced(pipeline: KeyVIDPipeline) -> KeyframePlan:
    """Keyframes at equal distances, whatever is heard (KeyVID-Uniform of the paper)."""
    num_frames, count = pipeline.config.video.frames, pipeline.config.num_keyframes
    return KeyframePlan(tuple(num_frames * index // count for index in range(count)), num_frames)


def generate(subject: Subject, plan: KeyframePlan | None = None) -> torch.Tensor:
    """The three stages; a given plan replaces the one that the localizer leads to."""
    scene, pipeline = subject.scene, subject.pipeline
    state = None if plan is None else GenerationState(pipeline.localize(scene.audio), plan)
    params = GenerationParams(seed=subject.seed)
    return pipeline.generate_latents(scene.image, scene.audio, scene.prompt, params, state=state).latents


@torch.inference_mode()
def paint_frames(subject: Subject, frames: Sequence[int], *, num_inference_steps: int | None = None) -> torch.Tensor:
    """The keyframe stage alone, at any frames: latents `[1, C, len(frames), h, w]`."""
    pipeline, scene = subject.pipeline, subject.scene
    noise = stage_noise(subject.seed, "keyframes")
    picture = scene.image.pixels[None].to(pipeline.device)
    stage = pipeline.config.keyframes
    return generate_keyframes(
        pipeline.components.keyframes_unet,
        pipeline.encode(scene.image, scene.audio, scene.prompt),
        pipeline.components.codec.encode(picture, noise=noise),
        [tuple(frames)],
        stage=stage,
        sampling=stage.sampling(GenerationParams(subject.seed, num_inference_steps=num_inference_steps)),
        noise=noise,
    )


def dense_steps(pipeline: KeyVIDPipeline) -> int:
    """Least denoising steps with which all frames at once cost no less than keyframes and interpolation together."""
    config = pipeline.config
    keyframes = config.num_keyframes * config.keyframes.num_inference_steps
    budget = keyframes + config.video.frames * config.interpolation.num_inference_steps
    return max(1, -(-budget // config.video.frames))


def join_by_spline(keyframes: torch.Tensor, plan: KeyframePlan) -> torch.Tensor:
    """All frames from keyframes `[1, C, K, h, w]`, by a monotone cubic over time: an interpolator that cannot hear.

    After the last keyframe nothing moves. Returns float32 `[1, C, num_frames, h, w]`.
    """
    frames = np.minimum(np.arange(plan.num_frames), plan.indices[-1])
    spline = PchipInterpolator(np.array(plan.indices, float), keyframes.double().cpu().numpy(), axis=2)
    return torch.from_numpy(np.asarray(spline(frames.astype(float)), np.float32))


def _other_sound(subject: Subject) -> torch.Tensor:
    """The scene with the sound of another and no words: chance, given what scenes look like."""
    params = GenerationParams(seed=subject.seed)
    return subject.pipeline.generate_latents(subject.scene.image, subject.other, "", params).latents


def _draft(subject: Subject) -> torch.Tensor:
    draft = subject.pipeline.encode(subject.scene.image, subject.scene.audio, subject.scene.prompt).draft
    if draft is None:
        raise ValueError(f"{subject.pipeline.config.name} has no draft")
    return draft


def _dense(subject: Subject) -> torch.Tensor:
    """Every frame a keyframe, for no fewer denoised frames, and nothing left to interpolate."""
    frames = range(subject.pipeline.config.video.frames)
    return paint_frames(subject, frames, num_inference_steps=dense_steps(subject.pipeline))


def _noise(subject: Subject) -> torch.Tensor:
    generator = torch.Generator().manual_seed(subject.seed)
    return torch.randn(_shape(subject), generator=generator) * _NOISE_SPREAD


def _still(subject: Subject) -> torch.Tensor:
    return torch.zeros(_shape(subject))


def _shape(subject: Subject) -> tuple[int, ...]:
    video = subject.pipeline.config.video
    latent = video.to_latent(channels=subject.codec.latent_channels, cell_px=subject.codec.cell_px)
    return 1, latent.channels, latent.frames, latent.height, latent.width


def _painted_spline(plan_of: Callable[[Subject], KeyframePlan]) -> Callable[[Subject], torch.Tensor]:
    def make(subject: Subject) -> torch.Tensor:
        plan = plan_of(subject)
        return join_by_spline(paint_frames(subject, plan.indices), plan)

    return make


def _true_spline(plan_of: Callable[[Subject], KeyframePlan]) -> Callable[[Subject], torch.Tensor]:
    def make(subject: Subject) -> torch.Tensor:
        plan = plan_of(subject)
        return join_by_spline(subject.truth[:, :, list(plan.indices)], plan)

    return make


_ALL = (
    Row(GENERATED, generate),
    Row(OTHER_SOUND, _other_sound),
    Row(DRAFT, _draft),
    Row(UNIFORM, lambda subject: generate(subject, subject.uniform())),
    Row(DENSE, _dense),
    Row(NOISE, _noise),
    Row(STILL, _still),
    Row(TRUTH, lambda subject: subject.truth, needs_truth=True),
    Row(SPLINE_LOCALIZED, _painted_spline(Subject.localized), is_encoded=False),
    Row(SPLINE_UNIFORM, _painted_spline(Subject.uniform), is_encoded=False),
    Row(SPLINE_TRUE, _painted_spline(Subject.at_true_peaks), is_encoded=False, needs_truth=True),
    Row(TRUE_SPLINE_LOCALIZED, _true_spline(Subject.localized), is_encoded=False, needs_truth=True),
    Row(TRUE_SPLINE_UNIFORM, _true_spline(Subject.uniform), is_encoded=False, needs_truth=True),
)
ROWS: Mapping[str, Row] = {row.name: row for row in _ALL}
SPLINE_ROWS = (SPLINE_LOCALIZED, SPLINE_UNIFORM, SPLINE_TRUE, TRUE_SPLINE_LOCALIZED, TRUE_SPLINE_UNIFORM)
