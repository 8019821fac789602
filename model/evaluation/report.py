"""Sync of a whole model on a set of clips with known events, beside rows that show what the numbers mean."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Protocol

import numpy as np

from model.clips import AudioClip, KeyframePlan
from model.evaluation.sync import SyncScore, match_events, motion_energy, prominent_peaks
from model.generation import GenerationParams, GenerationState
from model.localization.plan import plan_keyframes
from model.media.video import read_video, write_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt
    import torch

    from model.clips import ImageFrame
    from model.pipeline import KeyVIDPipeline

    Frames = npt.NDArray[np.uint8]


class TimedClip(Protocol):
    """A picture and a sound whose events are known."""

    @property
    def image(self) -> ImageFrame:
        """The first frame."""
        ...

    @property
    def audio(self) -> AudioClip:
        """The sound."""
        ...

    @property
    def prompt(self) -> str:
        """What is to be seen."""
        ...

    @property
    def event_times_s(self) -> tuple[float, ...]:
        """When something is heard to happen."""
        ...


@dataclass(frozen=True, slots=True)
class SyncRow:
    """One row of the report: a kind of video, scored within +-2 and within +-1 frames over all clips."""

    name: str
    within_two: SyncScore
    within_one: SyncScore

    @property
    def median_lag(self) -> float | None:
        """Frames by which a matched peak comes after its event, or None without matches."""
        return median(self.within_two.lags) if self.within_two.lags else None


def sync_report(
    pipeline: KeyVIDPipeline, clips: Sequence[TimedClip], *, on_clip: Callable[[int], None] | None = None
) -> tuple[SyncRow, ...]:
    """Generate every clip, encode it to MP4, decode that, and score its motion peaks.

    Rows: the model; its videos against the events of every other clip (chance, given their rhythm); the model with
    12 evenly spaced keyframes; videos of noise; still videos.
    """
    events = [clip.event_times_s for clip in clips]
    own, uniform = [], []
    for index, clip in enumerate(clips):
        own.append(peaks_of_generation(pipeline, clip, seed=index))
        uniform.append(peaks_of_generation(pipeline, clip, seed=index, plan=evenly_spaced(pipeline)))
        if on_clip is not None:
            on_clip(index + 1)
    noise = [
        prominent_peaks(motion_energy(_noise_video(index, pipeline.config.video.frames))) for index in range(len(clips))
    ]
    still: list[list[int]] = [[] for _ in clips]
    return (
        _row("keyvid-mini", zip(own, events, strict=True)),
        _row("other sound's events", _every_other(own, events)),
        _row("uniform keyframes", zip(uniform, events, strict=True)),
        _row("noise video", zip(noise, events, strict=True)),
        _row("still video", zip(still, events, strict=True)),
    )


def peaks_of_generation(
    pipeline: KeyVIDPipeline, clip: TimedClip, *, seed: int, plan: KeyframePlan | None = None
) -> list[int]:
    """Motion peaks of one generated MP4; a given plan replaces the one that the localizer's curve leads to."""
    curve = pipeline.localize(clip.audio)
    state = GenerationState(curve, plan or plan_keyframes(curve, num_keyframes=pipeline.config.num_keyframes))
    generated = pipeline.generate_latents(clip.image, clip.audio, clip.prompt, GenerationParams(seed=seed), state=state)
    return prominent_peaks(motion_energy(_as_decoded(pipeline, pipeline.decode(generated.latents, clip.image), clip)))


def evenly_spaced(pipeline: KeyVIDPipeline) -> KeyframePlan:
    """Keyframes at equal distances, whatever is heard."""
    num_frames, count = pipeline.config.video.frames, pipeline.config.num_keyframes
    return KeyframePlan(tuple(num_frames * index // count for index in range(count)), num_frames)


def _as_decoded(pipeline: KeyVIDPipeline, chunks: Iterable[torch.Tensor], clip: TimedClip) -> Frames:
    """Frames as a viewer's player gets them, after H.264."""
    config = pipeline.config
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        write_video(chunks, clip.audio, path, fps=config.fps, num_frames=config.video.frames)
        return read_video(path).frames


def _noise_video(seed: int, num_frames: int) -> Frames:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (num_frames, 32, 48, 3), dtype=np.uint8)


def _every_other(
    peaks: Sequence[Sequence[int]], events: Sequence[tuple[float, ...]]
) -> Iterable[tuple[Sequence[int], tuple[float, ...]]]:
    count = len(peaks)
    return ((peaks[index], events[(index + shift) % count]) for shift in range(1, count) for index in range(count))


def _row(name: str, pairs: Iterable[tuple[Sequence[int], tuple[float, ...]]]) -> SyncRow:
    two, one = SyncScore(0, 0, 0), SyncScore(0, 0, 0)
    for peaks, events in pairs:
        two += match_events(peaks, events)
        one += match_events(peaks, events, tolerance=1.0)
    return SyncRow(name, two, one)
