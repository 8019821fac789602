"""What the videos of one scene show: sync of the MP4, motion against the scene's law, and what a judge makes of it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model.codecs.latent_flow import LatentFlowCodec
from model.errors import CheckpointMismatch
from model.evaluation.motion import (
    MotionScore,
    MotionTruth,
    correlation,
    drawn_displacement,
    motion_of,
    score_motion,
)
from model.evaluation.onsets import onset_envelope
from model.evaluation.rows import ROWS, Subject
from model.evaluation.sync import SyncScore, is_still, match_events, motion_energy, prominent_peaks, smooth
from model.media.video import read_video, write_video

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import torch

    from model.clips import AudioClip
    from model.evaluation.judge import JudgeReading, SyncJudge
    from model.evaluation.motion import FloatArray
    from model.evaluation.scenes import Scene
    from model.pipeline import KeyVIDPipeline

    Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PlaybackScore:
    """What a viewer of the MP4 sees.

    Args:
        within_two, within_one: motion peaks against the events, at +-2 and at +-1 frames.
        timing: correlation of the MP4's motion energy with the true motion curve; None without one.
    """

    within_two: SyncScore
    within_one: SyncScore
    timing: float | None


@dataclass(frozen=True, slots=True)
class VideoReading:
    """One video of a scene.

    Args:
        motion: against the scene's law; None where that is not known.
        onset: correlation of the video's motion curve with the onset envelope of its scene's sound.
        playback: None for videos that were not encoded.
        judged: None without a judge, or for videos that were not encoded.
    """

    motion: MotionScore | None
    onset: float
    playback: PlaybackScore | None
    judged: JudgeReading | None


@dataclass(frozen=True, slots=True)
class SceneReading:
    """All videos of one scene, by the names of their rows.

    Args:
        name, kind: of the scene.
        event_times_s: when something is heard to happen.
        true_motion_px: mean |dx| + |dy| from frame to frame by the scene's law; 0 where it is not known.
    """

    name: str
    kind: str
    event_times_s: tuple[float, ...]
    true_motion_px: float
    videos: Mapping[str, VideoReading]


class Reader:
    """Makes and reads the videos of scenes.

    Args:
        pipeline: a model with the latent-flow codec.
        rows: names out of `ROWS`; rows that need a scene's law are left out where it is not known.
        judge: scores sound and picture together.
    Raises: CheckpointMismatch for another codec.
    """

    def __init__(self, pipeline: KeyVIDPipeline, rows: Sequence[str], judge: SyncJudge | None = None) -> None:
        codec = pipeline.components.codec
        if not isinstance(codec, LatentFlowCodec):
            raise CheckpointMismatch(f"{pipeline.config.name} draws no latent flow")
        self.pipeline, self.codec, self.judge = pipeline, codec, judge
        self.rows = tuple(ROWS[name] for name in rows)

    def read(self, scene: Scene, other: AudioClip, *, seed: int) -> SceneReading:
        """Make every row's video of a scene and read it; `other` is the sound of another scene."""
        subject = Subject(self.pipeline, self.codec, scene, other, seed)
        truth = None if scene.truth is None else MotionTruth.of(scene.truth, self.codec)
        videos = {
            row.name: self.read_video(row.make(subject), scene, is_encoded=row.is_encoded, truth=truth)
            for row in self.rows
            if scene.truth is not None or not row.needs_truth
        }
        motion = 0.0 if truth is None else float(truth.curve.mean())
        return SceneReading(scene.name, scene.kind, scene.event_times_s, motion, videos)

    def read_video(
        self, latents: torch.Tensor, scene: Scene, *, is_encoded: bool, truth: MotionTruth | None
    ) -> VideoReading:
        """Read the video that latents `[1, C, 48, h, w]` make of a scene."""
        config = self.pipeline.config
        frames = play_back(self.pipeline, latents, scene) if is_encoded else None
        drawn = drawn_displacement(latents, self.codec)
        heard = onset_envelope(scene.audio, num_frames=config.video.frames, fps=config.fps)
        curve = None if truth is None else truth.curve
        return VideoReading(
            motion=None if truth is None else score_motion(drawn, latents, truth),
            onset=correlation(smooth(motion_of(drawn)), smooth(heard)),
            playback=None if frames is None else score_playback(frames, scene.event_times_s, curve),
            judged=None if frames is None or self.judge is None else self.judge.read(frames, scene.audio),
        )


def play_back(pipeline: KeyVIDPipeline, latents: torch.Tensor, scene: Scene) -> Frames:
    """The frames that a viewer's player gets: decoded, through H.264 and back, uint8 `[T, H, W, 3]`."""
    config = pipeline.config
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        chunks = pipeline.decode_for_video(latents, scene.image)
        write_video(chunks, scene.audio, path, fps=config.fps, num_frames=config.video.frames)
        return read_video(path).frames


def score_playback(frames: Frames, event_times_s: Sequence[float], curve: FloatArray | None) -> PlaybackScore:
    """Score decoded frames against the events and, where there is one, the true motion curve `[T]`."""
    energy = motion_energy(frames)
    peaks = prominent_peaks(energy)
    return PlaybackScore(
        within_two=match_events(peaks, event_times_s),
        within_one=match_events(peaks, event_times_s, tolerance=1.0),
        timing=None if curve is None else 0.0 if is_still(energy) else correlation(energy, smooth(curve)),
    )
