"""A double of the model for tests of failures and time: it takes steps of a set length, and breaks on demand.

The prompt of a request is its script, words apart by blanks:
`step_ms=N` (20), `steps=N` (per diffusion stage; the request's own, or 6), `keep=N` (a state every N steps within a
stage), and at the third keyframe step `crash`, `crash_once`, `hang`, `memory_error`, `device_error` or `bad_input`.
Every step is one line of `paced.log` in the data folder.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe

from workers.contract import FPS, NUM_FRAMES
from workers.jobs import RUNNING_STAGES, JobStage, Keyframes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.engine import EngineHooks, EngineJob
    from workers.settings import Settings

BREAK_AT_STEP = 3
HEARD = Keyframes(indices=(0, 12, 24), curve=(0.0,) * NUM_FRAMES, peaks=(12,), valleys=(24,))


class BadInput(Exception):
    """As the model's own error of this code."""

    code = "invalid_input"


def load(settings: Settings) -> PacedEngine:
    """The factory that KEYVID_ENGINE names."""
    return PacedEngine(settings.data_dir)


@dataclass
class PacedEngine:
    """Makes the same video for every request of a size, slowly."""

    folder: Path
    digest: str = "paced-1"

    def describe(self) -> Mapping[str, str]:
        """Only what a test looks for."""
        return {"model": "paced", "device": "none"}

    def warm_up(self) -> None:
        """Forget the videos of other processes."""
        self.videos: dict[tuple[int, int], bytes] = {}

    def generate(self, job: EngineJob, hooks: EngineHooks) -> None:
        """Play the script of the prompt."""
        words = job.request.prompt.split()
        numbers = {name: int(value) for name, _, value in (word.partition("=") for word in words) if value.isdecimal()}
        pause_s = numbers.get("step_ms", 20) / 1000
        steps = numbers.get("steps", job.request.num_inference_steps or 6)
        done = (job.state or b"").decode()
        self._log(f"begin seed={job.request.seed} resumed={done or 'nothing'}")
        name, _, begun = done.partition(":")
        reached = RUNNING_STAGES.index(JobStage(name)) if name else -1
        for stage, total in ((JobStage.LOCALIZATION, 1), (JobStage.KEYFRAMES, steps), (JobStage.INTERPOLATION, steps)):
            position = RUNNING_STAGES.index(stage)
            if position < reached or (position == reached and not begun):
                continue
            for step in range(int(begun) if position == reached else 0, total):
                if step and "keep" in numbers:
                    self._keep(stage, step, numbers["keep"], hooks)
                hooks.on_step(stage, step, total)
                self._log(f"step seed={job.request.seed} {stage} {step}")
                if hooks.previews is not None and hooks.previews.is_due():
                    hooks.previews.show(stage, 4 * step % NUM_FRAMES, np.full((32, 64, 3), 40 * step % 256, np.uint8))
                if stage is JobStage.KEYFRAMES and step == BREAK_AT_STEP:
                    self._break(words)
                time.sleep(pause_s)
            if stage is not JobStage.INTERPOLATION:
                hooks.on_state(stage, stage.value.encode(), HEARD, None)
        hooks.on_step(JobStage.MUX, 0, NUM_FRAMES)
        job.output.write_bytes(self._video(job.request.width, job.request.height))
        self._log(f"end seed={job.request.seed}")

    def _video(self, width: int, height: int) -> bytes:
        if (width, height) not in self.videos:
            self.videos[width, height] = plain_video(self.folder / f"paced-{os.getpid()}.mp4", width, height)
        return self.videos[width, height]

    def _keep(self, stage: JobStage, step: int, every: int, hooks: EngineHooks) -> None:
        if step % every == 0 or (hooks.wants_state is not None and hooks.wants_state()):
            hooks.on_state(stage, f"{stage}:{step}".encode(), HEARD, step)

    def _break(self, words: list[str]) -> None:
        marker = self.folder / "crashed_once"
        if "crash" in words or ("crash_once" in words and not marker.exists()):
            marker.touch()
            os._exit(139)
        if "encoder" in words:  # one that nothing but a signal ends
            endless = ["-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc", "-f", "null", "-"]
            subprocess.run([get_ffmpeg_exe(), *endless], stdin=subprocess.DEVNULL, check=True)
        while "hang" in words:
            time.sleep(3600)
        if "memory_error" in words:
            raise MemoryError
        if "device_error" in words:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if "bad_input" in words:
            raise BadInput

    def _log(self, line: str) -> None:
        with (self.folder / "paced.log").open("a") as log:
            log.write(f"{time.time():.3f} {line}\n")


def plain_video(path: Path, width: int, height: int) -> bytes:
    """48 grey frames with two seconds of silence, as H.264 and AAC."""
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=48_000, layout="mono")
        for index in range(NUM_FRAMES):
            picture = np.full((height, width, 3), index * 5, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 96_000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48_000
        container.mux(audio.encode(silence))
        container.mux(audio.encode())
    return path.read_bytes()
