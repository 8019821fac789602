"""Sync of a whole model on a set of clips with known events, beside rows that show what the numbers mean."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch

from model.clips import AudioClip, ImageFrame, KeyframePlan
from model.evaluation.sync import SyncScore, match_events, motion_energy, prominent_peaks
from model.generation import GenerationParams, GenerationState
from model.localization.plan import plan_keyframes
from model.media.mel import SAMPLE_RATE_HZ
from model.media.video import read_video, write_video
from model.training.procedural.examples import SLOW_RATES_HZ, demo_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from model.pipeline import KeyVIDPipeline

    Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class TimedClip:
    """A picture of the model's size, a sound, a prompt, and when something is heard to happen."""

    image: ImageFrame
    audio: AudioClip
    prompt: str
    event_times_s: tuple[float, ...]


def timed_demo_set(count: int = 24, *, rates_hz: Sequence[float] = SLOW_RATES_HZ) -> tuple[TimedClip, ...]:
    """The demo set, whose pictures, sounds and syntheses training never saw."""
    return tuple(
        TimedClip(
            ImageFrame(torch.from_numpy(clip.picture).permute(2, 0, 1).float() / 127.5 - 1),
            AudioClip(torch.from_numpy(clip.samples)[None], SAMPLE_RATE_HZ),
            clip.prompt,
            clip.event_times_s,
        )
        for clip in demo_set(count, rates_hz=rates_hz)
    )


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
    12 evenly spaced keyframes; its motion draft without diffusion; videos of noise; still videos.
    """
    events = [clip.event_times_s for clip in clips]
    own, uniform, draft = [], [], []
    for index, clip in enumerate(clips):
        own.append(peaks_of_generation(pipeline, clip, seed=index))
        uniform.append(peaks_of_generation(pipeline, clip, seed=index, plan=evenly_spaced(pipeline)))
        draft.append(_peaks_of_draft(pipeline, clip))
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
        _row("motion draft alone", zip(draft, events, strict=True)),
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
    return _peaks_of_latents(pipeline, generated.latents, clip)


def evenly_spaced(pipeline: KeyVIDPipeline) -> KeyframePlan:
    """Keyframes at equal distances, whatever is heard."""
    num_frames, count = pipeline.config.video.frames, pipeline.config.num_keyframes
    return KeyframePlan(tuple(num_frames * index // count for index in range(count)), num_frames)


def _peaks_of_draft(pipeline: KeyVIDPipeline, clip: TimedClip) -> list[int]:
    """Motion peaks of the draft that diffusion starts from; none where a model has no draft."""
    draft = pipeline.encode(clip.image, clip.audio, clip.prompt).draft
    return [] if draft is None else _peaks_of_latents(pipeline, draft, clip)


def _peaks_of_latents(pipeline: KeyVIDPipeline, latents: torch.Tensor, clip: TimedClip) -> list[int]:
    """Motion peaks of the frames as a viewer's player gets them, after H.264."""
    config = pipeline.config
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        chunks = pipeline.decode(latents, clip.image)
        write_video(chunks, clip.audio, path, fps=config.fps, num_frames=config.video.frames)
        return prominent_peaks(motion_energy(read_video(path).frames))


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
