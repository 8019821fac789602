"""Does the localizer put its peaks where the motion has them (KeyVID, Appendix D).

As in the paper's AP@t (`model.evaluation.metrics.average_precision`), but with one prominence of 0.1 for the peaks of
both curves: without one, any ripple of the prediction counts as a hit.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from model.clips import AudioClip
from model.errors import CheckpointMissing
from model.evaluation.survey import use_one_thread
from model.media.mel import SAMPLE_RATE_HZ
from model.pipeline import KeyVIDPipeline
from model.training.procedural.clip import make_clip
from model.training.recipes import HELD_OUT_SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Frames = npt.NDArray[np.int_]

LOCALIZER = "localizer"
OTHER_SOUND = "other sound"
GRID = "every fifth frame"

_SMOOTHING_SIGMA = 1.5
_MIN_DISTANCE_FRAMES = 5
_MIN_PROMINENCE = 0.1
_CLIPS_PER_TASK = 25


@dataclass(frozen=True, slots=True)
class KeypointScore:
    """Shares within three and five frames, of one clip.

    Args:
        recall_at_3, recall_at_5: true peaks with a predicted one near: the paper's AP@t, but of prominent peaks.
        precision_at_3: predicted peaks with a true one near. A grid of points has full recall, and no precision.
    """

    recall_at_3: float
    recall_at_5: float
    precision_at_3: float

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision within three frames."""
        total = self.recall_at_3 + self.precision_at_3
        return 2 * self.recall_at_3 * self.precision_at_3 / total if total else 0.0


@dataclass(frozen=True, slots=True)
class HeardClip:
    """One held-out clip: its kind, the motion curve that was heard in its sound, and the true one."""

    kind: str
    heard: tuple[float, ...]
    truth: tuple[float, ...]


def hear_clips(
    model: str, count: int, *, workers: int = 1, on_clips: Callable[[int], None] | None = None
) -> list[HeardClip]:
    """Let a model's localizer hear the first `count` held-out procedural clips.

    Args:
        model: packaged model or weights folder, with a localizer.
        count: clips.
        workers: processes, of one thread each; with one, this process hears.
        on_clips: told how many clips have been heard.
    Raises: CheckpointError when the model cannot be loaded or has no localizer.
    """
    starts = range(0, count, _CLIPS_PER_TASK)
    tasks = [range(start, min(start + _CLIPS_PER_TASK, count)) for start in starts]
    if workers == 1:
        return _gather((_hear(model, task) for task in tasks), on_clips)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=use_one_thread) as pool:
        return _gather(pool.map(_hear, [model] * len(tasks), tasks), on_clips)


def score_hearing(clips: Sequence[HeardClip]) -> dict[str, list[KeypointScore]]:
    """Scores of every clip: of the localizer, of what it hears in another clip's sound, and of blind guesses."""
    count = len(clips)
    points = [keypoints(clip.heard) for clip in clips]
    peaks = [keypoints(clip.truth) for clip in clips]
    others = [points[(index + count // 2) % count] for index in range(count)]
    grid = np.arange(2, len(clips[0].truth), 5)
    guesses = {LOCALIZER: points, OTHER_SOUND: others, GRID: [grid] * count}
    return {
        row: [score_frames(guess, true) for guess, true in zip(guessed, peaks, strict=True)]
        for row, guessed in guesses.items()
    }


def score_frames(guesses: Frames, peaks: Frames) -> KeypointScore:
    """Compare guessed frames with those of the true peaks.

    A clip without true peaks scores one half, as the published measure has it.
    """
    if not len(peaks):
        return KeypointScore(0.5, 0.5, 0.5)
    if not len(guesses):
        return KeypointScore(0.0, 0.0, 0.0)
    distance = np.abs(guesses[:, None] - peaks[None])
    return KeypointScore(
        recall_at_3=float((distance.min(axis=0) <= 3).mean()),
        recall_at_5=float((distance.min(axis=0) <= 5).mean()),
        precision_at_3=float((distance.min(axis=1) <= 3).mean()),
    )


def keypoints(curve: Sequence[float]) -> Frames:
    """Frames of the peaks of a curve, smoothed and stretched to [0, 1]."""
    smoothed = gaussian_filter1d(np.asarray(curve, dtype=float), _SMOOTHING_SIGMA, mode="reflect")
    low, high = float(smoothed.min()), float(smoothed.max())
    if high - low < 1e-6:
        return np.zeros(0, dtype=np.int_)
    peaks, _ = find_peaks((smoothed - low) / (high - low), distance=_MIN_DISTANCE_FRAMES, prominence=_MIN_PROMINENCE)
    return np.asarray(peaks, dtype=np.int_)


def _hear(model: str, numbers: range) -> list[HeardClip]:
    pipeline = _pipeline(model)
    heard = []
    for number in numbers:
        clip = make_clip(HELD_OUT_SEED + number)
        curve = pipeline.localize(AudioClip(torch.from_numpy(clip.samples)[None], SAMPLE_RATE_HZ))
        heard.append(HeardClip(clip.kind, curve.values, tuple(clip.motion_score().tolist())))
    return heard


def _gather(parts: Iterable[list[HeardClip]], on_clips: Callable[[int], None] | None) -> list[HeardClip]:
    clips: list[HeardClip] = []
    for part in parts:
        clips += part
        if on_clips is not None:
            on_clips(len(clips))
    return clips


@lru_cache(maxsize=1)
def _pipeline(model: str) -> KeyVIDPipeline:
    """The model with no other localizer than its own, loaded once per process."""
    pipeline = KeyVIDPipeline.from_pretrained(model, localizer="own")
    if pipeline.listener is None:
        raise CheckpointMissing(f"{pipeline.config.name} has no localizer to measure")
    return pipeline
