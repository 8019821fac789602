"""One job inside the runner: blobs to files, files to the engine, and the engine's MP4 checked and stored."""

from __future__ import annotations

import resource
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import av

from workers.checkpoints import CheckpointWriter, saved_state
from workers.contract import FPS, NUM_FRAMES
from workers.engine import EngineHooks, EngineJob, MeasuresDevice
from workers.failpoints import Failpoint, reach
from workers.jobs import JobStage, Output
from workers.patient_storage import PatientStorage
from workers.previews import Previews
from workers.runner_messages import Done, Step
from workers.stills import Stills
from workers.storage import preview_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workers.engine import Engine
    from workers.jobs import Keyframes
    from workers.runner_messages import Report, RunJob, StopJob
    from workers.storage import BlobStore

# Percent of a job at the beginning and the end of each stage, about as their times are.
PROGRESS = {
    JobStage.LOCALIZATION: (0, 4),
    JobStage.KEYFRAMES: (4, 28),
    JobStage.INTERPOLATION: (28, 84),
    JobStage.MUX: (84, 99),
}
PATIENCE_S = 120.0
STEP_PERIOD_S = 0.1  # reports of steps are at least this far apart
MEASURE_PERIOD_S = 1.0  # and so are measurements of the device's memory


class Cancelled(BaseException):
    """The job was asked to stop."""


class BrokenOutput(Exception):
    """The finished file is not the video that was asked for."""


@dataclass(slots=True)
class StepReports:
    """Passes on the steps, not more often than anybody reads them; a stage's first and last step always."""

    send: Callable[[Report], None]
    device_memory: Callable[[], Mapping[str, int] | None]
    sent_at: float = 0.0
    measured_at: float = 0.0

    def step(self, stage: JobStage, step: int, total: int) -> None:
        """Report that `step` of `total` steps of `stage` are done."""
        now = time.monotonic()
        if 0 < step < total and now - self.sent_at < STEP_PERIOD_S:
            return
        self.sent_at = now
        begin, end = PROGRESS[stage]
        memory = None
        if now - self.measured_at >= MEASURE_PERIOD_S:
            self.measured_at, memory = now, self.device_memory()
        self.send(Step(stage, step, total, begin + (end - begin) * step // max(total, 1), memory))


def render(
    job: RunJob,
    engine: Engine,
    storage: BlobStore,
    *,
    temp_dir: Path,
    send: Callable[[Report], None],
    stop: Callable[[], StopJob | None],
    patience_s: float = PATIENCE_S,
) -> Done:
    """Make the video of a job and store it under the job's fence.

    Args:
        job: what to make.
        engine: what makes it.
        storage: where inputs come from and outputs go.
        temp_dir: folder for files that live as long as this call.
        send: told of steps and checkpoints.
        stop: the command to stop the job, once there is one.
        patience_s: how long storage that does not answer is tried again.
    Raises: Cancelled, BrokenOutput, BlobNotFound, StorageUnavailable; whatever the engine raises.
    """
    started = time.monotonic()
    heard = job.keyframes
    temp_dir.mkdir(parents=True, exist_ok=True)
    device_memory = engine.device_memory if isinstance(engine, MeasuresDevice) else dict
    reports = StepReports(send, device_memory)

    def check() -> None:
        asked = stop()
        if asked is not None and not asked.leaves_state:
            raise Cancelled

    def is_leaving() -> bool:
        asked = stop()
        return asked is not None and asked.leaves_state

    def check_between_steps() -> None:
        # What the last step led to is stored by now, where the engine can leave it.
        if stop() is not None:
            raise Cancelled

    def on_step(stage: JobStage, step: int, total: int) -> None:
        check_between_steps()
        reports.step(stage, step, total)

    blobs = PatientStorage(storage, check_between_steps, patience_s)
    checkpoints = CheckpointWriter(job, engine.digest, blobs, send)

    def on_state(stage: JobStage, state: bytes, keyframes: Keyframes, step: int | None = None) -> None:
        nonlocal heard
        check()
        heard = keyframes
        if step is None:
            checkpoints.finished(stage, state, keyframes)
        else:
            checkpoints.within(stage, step, state, keyframes)

    with TemporaryDirectory(prefix="job-", dir=temp_dir) as folder:
        work = EngineJob(
            request=job.request,
            image=Path(folder, "image.png"),
            audio=Path(folder, "audio.wav"),
            output=Path(folder, "video.mp4"),
            state=saved_state(job, engine.digest, blobs),
        )
        blobs.get_to_file(job.request.image.key, work.image)
        blobs.get_to_file(job.request.audio.key, work.audio)
        with _previews(job, storage, send) as previews:
            engine.generate(work, EngineHooks(on_step, on_state, check, previews, is_leaving))
        check()
        output = _publish(work.output, job, blobs, keyframes=heard.indices if heard else ())
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    usage = {"gpu_s": round(time.monotonic() - started, 3), "peak_memory_bytes": peak_bytes}
    held = device_memory()
    return Done(output, {**usage, "peak_gpu_memory_bytes": held["peak"]} if held else usage)


def _previews(
    job: RunJob, storage: BlobStore, send: Callable[[Report], None]
) -> AbstractContextManager[Previews | None]:
    """Who is shown pictures on the way, if the request asks for them."""
    return Previews(preview_key(job.job_id, job.fence), storage, send) if job.request.preview else nullcontext()


def _publish(path: Path, job: RunJob, blobs: PatientStorage, *, keyframes: Sequence[int]) -> Output:
    """Check the file itself, then store it with its first frame and its keyframes beside it."""
    stills = Stills(keyframes)
    width, height = _check_video(path, stills)
    if (width, height) != (job.request.width, job.request.height):
        raise BrokenOutput(f"the video is {width}x{height}")
    folder = f"outputs/{job.job_id}/{job.fence}"
    key, thumbnail_key = f"{folder}/video.mp4", f"{folder}/thumbnail.jpg"
    spritesheet_key = f"{folder}/spritesheet.jpg" if stills.tiles else None
    reach(Failpoint.VIDEO_UPLOADING)
    sha256 = blobs.put_file(key, path, content_type="video/mp4")
    reach(Failpoint.VIDEO_UPLOADED)
    picture = path.with_suffix(".jpg")
    stills.save_thumbnail(picture)
    blobs.put_file(thumbnail_key, picture, content_type="image/jpeg")
    reach(Failpoint.THUMBNAIL_UPLOADED)
    if spritesheet_key is not None:
        stills.save_spritesheet(picture)
        blobs.put_file(spritesheet_key, picture, content_type="image/jpeg")
    return Output(
        key=key,
        sha256=sha256,
        bytes=path.stat().st_size,
        frames=NUM_FRAMES,
        fps=FPS,
        width=width,
        height=height,
        duration_s=NUM_FRAMES / FPS,
        thumbnail_key=thumbnail_key,
        spritesheet_key=spritesheet_key,
    )


def _check_video(path: Path, stills: Stills) -> tuple[int, int]:
    """Decode every frame, show each to `stills`, and return width and height. Raises: BrokenOutput."""
    try:
        with path.open("rb") as file, av.open(file, mode="r", format="mp4") as container:
            video, audio = container.streams.video[0], container.streams.audio
            if video.codec_context.name != "h264" or not audio or audio[0].codec_context.name != "aac":
                raise BrokenOutput("the streams are not H.264 and AAC")
            frames = 0
            for frame in container.decode(video):
                stills.look(frames, frame)
                frames += 1
            size = video.codec_context.width, video.codec_context.height
    except (av.FFmpegError, IndexError, OSError) as error:
        raise BrokenOutput("the video cannot be read") from error
    if frames != NUM_FRAMES:
        raise BrokenOutput(f"the video has {frames} frames instead of {NUM_FRAMES}")
    return size
