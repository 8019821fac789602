"""Presets beside each other: what each takes, and what it loses to `exact`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from model.evaluation.bootstrap import mean_difference, mean_estimate
from model.evaluation.motion import MotionTruth
from model.evaluation.reading import Reader, SceneReading
from model.evaluation.report import ReportTable
from model.evaluation.tables import INTERVALS, endpoint_estimate, f1_estimate, is_countable
from model.generation import PRESETS, GenerationParams, Preset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from model.evaluation.motion import MotionScore
    from model.evaluation.reading import VideoReading
    from model.evaluation.report import Cell
    from model.evaluation.scenes import Scene
    from model.pipeline import KeyVIDPipeline

MOST_SYNC_LOST = 1.0  # points of F1 that a preset called balanced may lose
MOST_DISTANCE_LOST = 2.0  # per cent of end-point error that it may add


@dataclass(frozen=True, slots=True)
class PresetReadings:
    """Scenes whose videos are named by preset, and the seconds that each video took up to its MP4, by preset."""

    scenes: Sequence[SceneReading]
    seconds: Mapping[Preset, Sequence[float]]


def read_presets(
    pipeline: KeyVIDPipeline, scenes: Sequence[Scene], *, on_video: Callable[[], None] | None = None
) -> PresetReadings:
    """Make every scene's video under every preset, one at a time and in turn, so that the seconds compare.

    Raises: CheckpointMismatch for a model without latent flow; ValueError for scenes without truth.
    """
    reader = Reader(pipeline, ())
    readings = []
    seconds: dict[Preset, list[float]] = {preset: [] for preset in PRESETS}
    for seed, scene in enumerate(scenes):
        if scene.truth is None:
            raise ValueError(f"nobody knows how {scene.name} moves")
        truth = MotionTruth.of(scene.truth, reader.codec)
        videos: dict[str, VideoReading] = {}
        for preset in PRESETS:
            params = GenerationParams(seed=seed, preset=preset)
            started = time.monotonic()
            latents = pipeline.generate_latents(scene.image, scene.audio, scene.prompt, params).latents
            for _ in pipeline.decode_for_video(latents, scene.image):
                pass
            seconds[preset].append(time.monotonic() - started)
            videos[preset] = reader.read_video(latents, scene, is_encoded=True, truth=truth)
            if on_video is not None:
                on_video()
        readings.append(SceneReading(scene.name, scene.kind, scene.event_times_s, float(truth.curve.mean()), videos))
    return PresetReadings(readings, seconds)


def sync_lost(readings: PresetReadings, preset: Preset) -> float:
    """Points of F1 that a preset loses to `exact` where single events can be told apart."""
    exact, own = (_f1(readings, name) for name in ("exact", preset))
    return 100 * (exact - own)


def distance_lost(readings: PresetReadings, preset: Preset) -> float:
    """Per cent by which a preset's end-point error is above that of `exact`."""
    exact, own = (endpoint_estimate(_motions(readings, name)).value for name in ("exact", preset))
    return 100 * (own / exact - 1) if exact else 0.0


def presets_table(readings: PresetReadings) -> ReportTable:
    """One preset a row: its time, its quality, and whether it may be called balanced."""
    exact_s = median(readings.seconds["exact"])
    rows = []
    for preset in PRESETS:
        lost = sync_lost(readings, preset), distance_lost(readings, preset)
        holds = lost[0] <= MOST_SYNC_LOST and lost[1] <= MOST_DISTANCE_LOST
        own_s = median(readings.seconds[preset])
        motions, exact = _motions(readings, preset), _motions(readings, "exact")
        cells: tuple[Cell, ...] = (
            exact_s / own_s,
            own_s,
            _f1(readings, preset),
            lost[0],
            endpoint_estimate(motions),
            lost[1],
            mean_estimate([motion.timing for motion in motions]),
            mean_difference([motion.timing for motion in motions], [motion.timing for motion in exact]),
            "yes" if holds else "no",
        )
        rows.append((preset, cells))
    return ReportTable(
        "presets",
        f"Presets on {len(readings.scenes)} held-out clips, {len(_countable(readings))} of them with countable events.",
        (
            "preset",
            "times as fast",
            "s per clip",
            "F1 +-2",
            "points lost",
            "end-point error",
            "% more",
            "r of motion",
            "r, difference",
            "within 1 point and 2 %",
        ),
        tuple(rows),
        "Median seconds until the frames are drawn, H.264 not included, the presets in turn. F1 of the MP4's motion "
        f"peaks where single events can be told apart; end-point error over that of a still video. {INTERVALS}",
    )


def _f1(readings: PresetReadings, preset: Preset) -> float:
    played = [playback for scene in _countable(readings) if (playback := scene.videos[preset].playback) is not None]
    return f1_estimate([score.within_two for score in played]).value if played else 0.0


def _countable(readings: PresetReadings) -> list[SceneReading]:
    return [scene for scene in readings.scenes if is_countable(scene)]


def _motions(readings: PresetReadings, preset: Preset) -> list[MotionScore]:
    return [motion for scene in readings.scenes if (motion := scene.videos[preset].motion) is not None]
