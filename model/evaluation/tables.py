"""The tables of the model card, from what was read in every scene."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from model.evaluation.bootstrap import (
    Estimate,
    FloatArray,
    bootstrap,
    mean_difference,
    mean_estimate,
    ratio,
)
from model.evaluation.localization import LOCALIZER, KeypointScore, score_hearing
from model.evaluation.report import ReportTable
from model.evaluation.rows import DENSE, DRAFT, GENERATED, SPLINE_LOCALIZED, SPLINE_ROWS, SPLINE_UNIFORM, UNIFORM
from model.training.procedural.clip import IMPULSIVE_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from model.evaluation.localization import HeardClip
    from model.evaluation.motion import MotionScore
    from model.evaluation.reading import SceneReading, VideoReading
    from model.evaluation.report import Cell
    from model.evaluation.sync import SyncScore

INTERVALS = "In brackets: 95 % bootstrap intervals over the clips."
_HEARING: Mapping[str, Callable[[KeypointScore], float]] = {
    "AP@3": lambda score: score.recall_at_3,
    "AP@5": lambda score: score.recall_at_5,
    "precision@3": lambda score: score.precision_at_3,
    "F1": lambda score: score.f1,
}
_SYNC_COLUMNS = ("F1 +-2", "F1 +-1", "precision", "recall", "median lag / of its length", "r of MP4", "r of motion")
_SYNC_NOTE = (
    "F1 of the MP4's prominent motion peaks against the events, one to one; *r of MP4* is the correlation of its "
    "motion energy with the true motion curve, *r of motion* that of the drawn motion."
)
_SUDDEN_TITLE = "Sync of decoded MP4s, impulsive kinds at up to six events a second"
_SHORTEST_GAP_S = 0.15  # a sixth of a second, played by hand: machine guns are faster than frames can tell
_MOTION_NOTE = (
    "*Placement*: correlation of time-averaged displacement. *End-point error*: mean distance of drawn and true "
    "displacement, over that of a still video."
)
_LEVELS = ("subtle", "moderate", "intensive")  # of motion, as the paper calls its three


def hearing_table(clips: Sequence[HeardClip]) -> ReportTable:
    """The localizer on held-out clips, kind by kind, beside guesses that hear nothing."""
    rows = []
    for name, scores in score_hearing(clips).items():
        rows.append((name, tuple(_hearing(scores, column) for column in _HEARING.values())))
        if name == LOCALIZER:
            for kind in sorted({clip.kind for clip in clips}):
                own = [score for score, clip in zip(scores, clips, strict=True) if clip.kind == kind]
                rows.append((f"- {kind}", tuple(_hearing(own, column) for column in _HEARING.values())))
    return ReportTable(
        "localization",
        f"Keyframe localization on {len(clips)} held-out procedural clips.",
        ("heard by", *_HEARING),
        tuple(rows),
        f"AP@t is a recall, as in the paper's Appendix D; precision tells hearing from guessing. {INTERVALS}",
    )


def sync_table(readings: Sequence[SceneReading], *, name: str, title: str) -> ReportTable:
    """Sync of decoded MP4s with events and, where it is known, with the true motion curve; one row a kind of video."""
    return ReportTable(
        name,
        f"{title}: {len(readings)} clips, {_count_events(readings)} events.",
        ("videos", *_SYNC_COLUMNS),
        tuple((row, _sync_cells(readings, row)) for row in _encoded(readings)),
        f"{_SYNC_NOTE} {INTERVALS}",
    )


def sync_groups_table(groups: Mapping[str, Sequence[SceneReading]], *, name: str, title: str) -> ReportTable:
    """The generated videos' sync, one row a group of scenes."""
    return ReportTable(
        name,
        title,
        ("clips", *_SYNC_COLUMNS),
        tuple((f"{group} ({len(own)})", _sync_cells(own, GENERATED)) for group, own in groups.items()),
        f"{_SYNC_NOTE} {INTERVALS}",
    )


def sync_tables(readings: Sequence[SceneReading]) -> list[ReportTable]:
    """Sync of impulsive kinds, then of all, then of the generated videos kind by kind."""
    sudden = [reading for reading in readings if is_countable(reading)]
    tables = [sync_table(readings, name="sync", title="Sync of decoded MP4s, all kinds")]
    if sudden:
        tables.insert(0, sync_table(sudden, name="sync-impulsive", title=_SUDDEN_TITLE))
    if GENERATED in _encoded(readings):
        title = "Sync of the generated MP4s, kind by kind (clips)."
        tables.append(sync_groups_table(by_kind(readings), name="sync-kinds", title=title))
    return tables


def is_countable(reading: SceneReading) -> bool:
    """Whether single events can be told apart: an impulsive kind, at six events a second at the most."""
    gaps = np.diff(reading.event_times_s)
    return reading.kind in IMPULSIVE_KINDS and (not len(gaps) or float(gaps.min()) >= _SHORTEST_GAP_S)


def by_kind(readings: Sequence[SceneReading]) -> dict[str, list[SceneReading]]:
    """The scenes of each law of motion, in the order of their names."""
    kinds = sorted({reading.kind for reading in readings})
    return {kind: [reading for reading in readings if reading.kind == kind] for kind in kinds}


def motion_table(readings: Sequence[SceneReading]) -> ReportTable:
    """What moves, and how, against the scene's own law."""
    return ReportTable(
        "motion",
        f"Motion against the scene's law on {len(readings)} held-out clips.",
        ("videos", "placement", "end-point error", "end-point error, px", "r of motion", "amplitude", "background, px"),
        tuple((row, _motion_cells([_motion(reading, row) for reading in readings])) for row in _scored(readings)),
        f"{_MOTION_NOTE} *Background*: mean flow from frame to frame where the law moves nothing. {INTERVALS}",
    )


def kinds_table(readings: Sequence[SceneReading]) -> ReportTable:
    """The model beside its draft, kind by kind."""
    figures: Mapping[str, Callable[[Sequence[MotionScore]], Estimate]] = {
        "placement": lambda scores: mean_estimate([score.placement for score in scores]),
        "end-point error": endpoint_estimate,
        "r of motion": lambda scores: mean_estimate([score.timing for score in scores]),
    }
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for kind, own in by_kind(readings).items():
        scores = {row: [_motion(reading, row) for reading in own] for row in (GENERATED, DRAFT)}
        cells = [figure(scores[row]) for figure in figures.values() for row in scores]
        rows.append((f"{kind} ({len(own)})", tuple(cells)))
    return ReportTable(
        "kinds",
        f"Motion against the scene's law, kind by kind (clips), {len(readings)} held-out clips.",
        ("kind", *(heading for figure in figures for heading in (figure, f"{figure}, draft"))),
        tuple(rows),
        f"{_MOTION_NOTE} {INTERVALS}",
    )


def ablation_tables(readings: Sequence[SceneReading]) -> list[ReportTable]:
    """The paper's Table 3 in small: keyframe choices by level of motion, and without an interpolator that hears."""
    tables = []
    if all(row in _scored(readings) for row in (GENERATED, UNIFORM, DENSE)):
        tables.append(_levels_table(readings))
    splines = [row for row in SPLINE_ROWS if row in _scored(readings)]
    if SPLINE_LOCALIZED in splines and SPLINE_UNIFORM in splines:
        tables.append(_spline_table(readings, splines))
    return tables


def gain_table(readings: Sequence[SceneReading]) -> ReportTable:
    """What diffusion adds to its draft, clip by clip."""
    pairs = [(_motion(reading, GENERATED), _motion(reading, DRAFT)) for reading in readings]
    figures: Mapping[str, Callable[[MotionScore], float]] = {
        "r of motion": lambda score: score.timing,
        "placement": lambda score: score.placement,
        "end-point error, px": lambda score: score.endpoint_px,
        "squared error": lambda score: score.error,
        "amplitude": lambda score: score.amplitude,
    }
    rows = tuple(
        (
            name,
            (
                mean_estimate([figure(own) for own, _ in pairs]),
                mean_estimate([figure(draft) for _, draft in pairs]),
                mean_difference([figure(own) for own, _ in pairs], [figure(draft) for _, draft in pairs]),
            ),
        )
        for name, figure in figures.items()
    )
    return ReportTable(
        "diffusion",
        f"Diffusion against its draft alone, on {len(readings)} held-out clips.",
        ("figure", "generated", "draft", "difference"),
        rows,
        "Differences are paired: clip by clip. " + INTERVALS,
    )


def endpoint_estimate(scores: Sequence[MotionScore]) -> Estimate:
    """End-point error of a set of clips over that of still videos."""
    return bootstrap(_sums([(score.endpoint_px, score.still_endpoint_px) for score in scores]), ratio)


def f1_estimate(scores: Sequence[SyncScore]) -> Estimate:
    """F1 over all events of a set of clips."""
    return bootstrap(_sums([(2 * score.matched, score.num_peaks + score.num_events) for score in scores]), ratio)


def motion_levels(readings: Sequence[SceneReading]) -> dict[str, list[SceneReading]]:
    """Thirds of the scenes by how much truly moves, by level; levels without scenes are left out."""
    ranked = sorted(readings, key=lambda reading: reading.true_motion_px)
    parts = [ranked[len(ranked) * part // 3 : len(ranked) * (part + 1) // 3] for part in range(3)]
    return {level: part for level, part in zip(_LEVELS, parts, strict=True) if part}


def _levels_table(readings: Sequence[SceneReading]) -> ReportTable:
    rows = []
    for level, scenes in {**motion_levels(readings), "all": list(readings)}.items():
        for label, figure in _ABLATED.items():
            values = {row: [figure(scene.videos[row]) for scene in scenes] for row in (GENERATED, UNIFORM, DENSE)}
            cells: list[Cell] = [mean_estimate(values[row]) for row in values]
            cells += [mean_difference(values[GENERATED], values[row]) for row in (UNIFORM, DENSE)]
            rows.append((f"{level}, {label}", tuple(cells)))
    return ReportTable(
        "keyframes",
        f"Keyframes where motion is heard, evenly spaced, and none (all frames at once): {len(readings)} held-out "
        "clips, the same seeds. All frames at once take the least whole number of steps that denoises no fewer frames.",
        ("motion, figure", "localized 12", "uniform 12", "dense 48", "localized - uniform", "localized - dense"),
        tuple(rows),
        f"Levels are thirds of the clips by true motion. Differences are paired: clip by clip. {INTERVALS}",
    )


def _spline_table(readings: Sequence[SceneReading], splines: Sequence[str]) -> ReportTable:
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for row in splines:
        videos = [reading.videos[row] for reading in readings]
        figures = [mean_estimate([figure(video) for video in videos]) for figure in _DEAF.values()]
        rows.append((row, tuple(figures)))
    first, second = ([reading.videos[row] for reading in readings] for row in (SPLINE_LOCALIZED, SPLINE_UNIFORM))
    gains = [
        mean_difference([figure(video) for video in first], [figure(video) for video in second])
        for figure in _DEAF.values()
    ]
    rows.append(("localized - uniform", tuple(gains)))
    return ReportTable(
        "splines",
        f"Keyframes joined by a monotone spline, an interpolator that cannot hear: {len(readings)} held-out clips.",
        ("videos", *_DEAF),
        tuple(rows),
        f"*Onset* is the correlation of the motion curve with the rise of the sound's spectrogram. {INTERVALS}",
    )


def _timing(video: VideoReading) -> float:
    return 0.0 if video.motion is None else video.motion.timing


def _endpoint(video: VideoReading) -> float:
    return 0.0 if video.motion is None else video.motion.endpoint_px


_ABLATED: Mapping[str, Callable[[VideoReading], float]] = {
    "r of motion": _timing,
    "onset": lambda video: video.onset,
    "end-point error, px": _endpoint,
}
_DEAF: Mapping[str, Callable[[VideoReading], float]] = {"r of motion": _timing, "onset": lambda video: video.onset}


def _sync_cells(readings: Sequence[SceneReading], row: str) -> tuple[Cell, ...]:
    played = [playback for reading in readings if (playback := reading.videos[row].playback) is not None]
    motions = [motion for reading in readings if (motion := reading.videos[row].motion) is not None]
    two = [score.within_two for score in played]
    timings = [score.timing for score in played if score.timing is not None]
    lags = [lag for score in two for lag in score.lags]
    return (
        f1_estimate(two),
        f1_estimate([score.within_one for score in played]),
        bootstrap(_sums([(score.matched, score.num_peaks) for score in two]), ratio),
        bootstrap(_sums([(score.matched, score.num_events) for score in two]), ratio),
        f"{median(lags):+.0f} / {median(map(abs, lags)):.0f}" if lags else None,
        mean_estimate(timings) if timings else None,
        mean_estimate([motion.timing for motion in motions]) if motions else None,
    )


def _hearing(scores: Sequence[KeypointScore], figure: Callable[[KeypointScore], float]) -> Estimate:
    return mean_estimate([figure(score) for score in scores])


def _motion_cells(scores: Sequence[MotionScore]) -> tuple[Cell, ...]:
    still = [score.background_px for score in scores if score.background_px is not None]
    return (
        mean_estimate([score.placement for score in scores]),
        endpoint_estimate(scores),
        mean_estimate([score.endpoint_px for score in scores]),
        mean_estimate([score.timing for score in scores]),
        mean_estimate([score.amplitude for score in scores]),
        mean_estimate(still) if still else None,
    )


def _motion(reading: SceneReading, row: str) -> MotionScore:
    motion = reading.videos[row].motion
    if motion is None:
        raise ValueError(f"nobody knows how {reading.name} moves")
    return motion


def _scored(readings: Sequence[SceneReading]) -> list[str]:
    """Rows that were compared with the law of every scene, in order."""
    return [
        row
        for row in readings[0].videos
        if all(row in reading.videos and reading.videos[row].motion is not None for reading in readings)
    ]


def _encoded(readings: Sequence[SceneReading]) -> list[str]:
    """Rows whose MP4s were scored, in order."""
    return [row for row, video in readings[0].videos.items() if video.playback is not None]


def _count_events(readings: Sequence[SceneReading]) -> int:
    video = next(iter(readings[0].videos))
    played = [reading.videos[video].playback for reading in readings]
    return sum(score.within_two.num_events for score in played if score is not None)


def _sums(pairs: Sequence[tuple[float, float]]) -> FloatArray:
    return np.array(pairs, dtype=np.float64)
