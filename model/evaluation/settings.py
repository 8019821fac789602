"""Quality against time: what denoising steps and audio guidance buy."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from model.codecs.latent_flow import LatentFlowCodec
from model.errors import CheckpointMismatch
from model.evaluation.bootstrap import mean_estimate
from model.evaluation.motion import MotionTruth, drawn_displacement, score_motion
from model.evaluation.report import ReportTable
from model.generation import GenerationParams
from model.pipeline import KeyVIDPipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from model.config import StageConfig
    from model.evaluation.bootstrap import Estimate
    from model.evaluation.scenes import Scene


@dataclass(frozen=True, slots=True)
class Setting:
    """How both stages are sampled; 0 steps of both stand for the draft alone."""

    keyframe_steps: int
    interpolation_steps: int
    guidance_audio: float = 1.0

    @property
    def name(self) -> str:
        """For tables and plots."""
        if not self.keyframe_steps:
            return "draft alone"
        guided = "" if self.guidance_audio == 1 else f", audio x{self.guidance_audio:g}"
        return f"{self.keyframe_steps} + {self.interpolation_steps} steps{guided}"


SETTINGS = (
    Setting(0, 0),
    Setting(1, 1),
    Setting(2, 1),
    Setting(4, 2),
    Setting(6, 4),
    Setting(12, 8),
    Setting(4, 2, 1.5),
    Setting(4, 2, 2.0),
    Setting(6, 4, 2.0),
)


@dataclass(frozen=True, slots=True)
class SettingReading:
    """One setting over all scenes: figures as in `MotionScore`, and the median seconds until the latents are there."""

    setting: Setting
    seconds: float
    timing: Estimate
    placement: Estimate
    endpoint_px: Estimate
    amplitude: Estimate


def read_settings(
    pipeline: KeyVIDPipeline,
    scenes: Sequence[Scene],
    settings: Sequence[Setting] = SETTINGS,
    *,
    on_video: Callable[[], None] | None = None,
) -> list[SettingReading]:
    """Generate every scene with every setting, one at a time, so that the seconds mean something.

    Raises: CheckpointMismatch for a model without latent flow or draft; ValueError for scenes without truth.
    """
    codec = pipeline.components.codec
    if not isinstance(codec, LatentFlowCodec) or pipeline.components.draft is None:
        raise CheckpointMismatch(f"{pipeline.config.name} has no motion draft")
    truths = [MotionTruth.of(_truth(scene), codec) for scene in scenes]
    readings = []
    for setting in settings:
        sampled = with_setting(pipeline, setting)
        scores, seconds = [], []
        for index, (scene, truth) in enumerate(zip(scenes, truths, strict=True)):
            started = time.monotonic()
            latents = _latents(sampled, scene, setting, seed=index)
            seconds.append(time.monotonic() - started)
            scores.append(score_motion(drawn_displacement(latents, codec), latents, truth))
            if on_video is not None:
                on_video()
        readings.append(
            SettingReading(
                setting,
                median(seconds),
                timing=mean_estimate([score.timing for score in scores]),
                placement=mean_estimate([score.placement for score in scores]),
                endpoint_px=mean_estimate([score.endpoint_px for score in scores]),
                amplitude=mean_estimate([score.amplitude for score in scores]),
            )
        )
    return readings


def with_setting(pipeline: KeyVIDPipeline, setting: Setting) -> KeyVIDPipeline:
    """The same networks, sampled in another way."""

    def sampled(stage: StageConfig, steps: int) -> StageConfig:
        guidance = replace(stage.guidance, audio=setting.guidance_audio)
        return replace(stage, num_inference_steps=max(steps, 1), guidance=guidance)

    config = pipeline.config
    return KeyVIDPipeline(
        replace(
            config,
            keyframes=sampled(config.keyframes, setting.keyframe_steps),
            interpolation=sampled(config.interpolation, setting.interpolation_steps),
        ),
        pipeline.components,
        device=pipeline.device,
    )


def settings_table(readings: Sequence[SettingReading], num_scenes: int) -> ReportTable:
    """One setting a row."""
    return ReportTable(
        "settings",
        f"Quality and time of sampling, {num_scenes} held-out clips.",
        ("sampling", "s per clip", "r of motion", "placement", "end-point error, px", "amplitude"),
        tuple(
            (
                reading.setting.name,
                (reading.seconds, reading.timing, reading.placement, reading.endpoint_px, reading.amplitude),
            )
            for reading in readings
        ),
        "Seconds until the latents are there, decoding and H.264 not included.",
    )


def _latents(pipeline: KeyVIDPipeline, scene: Scene, setting: Setting, *, seed: int) -> torch.Tensor:
    if setting.keyframe_steps:
        return pipeline.generate_latents(scene.image, scene.audio, scene.prompt, GenerationParams(seed=seed)).latents
    draft = pipeline.encode(scene.image, scene.audio, scene.prompt).draft
    assert draft is not None
    return draft


def _truth(scene: Scene) -> torch.Tensor:
    if scene.truth is None:
        raise ValueError(f"nobody knows how {scene.name} moves")
    return scene.truth
