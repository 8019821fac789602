"""The real model in the runner's place: a request of stored files becomes a checked MP4, the same one every time."""

from __future__ import annotations

import hashlib
import io
import wave
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from model.config import tiny
from model.errors import ImageDecodeFailed, KeyframesNeeded, OutOfMemory
from model.pipeline import KeyVIDPipeline
from workers.contract import AudioInput, ImageInput, VideoRequest
from workers.jobs import JobStage
from workers.rendering import Cancelled, render
from workers.runner import ModelEngine, load_model
from workers.runner_messages import Checkpointed, Done, Remedy, Report, RunJob, Step, StopJob
from workers.runner_process import classify
from workers.settings import Settings
from workers.storage_local import LocalBlobStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RATE_HZ = 16_000


def _picture() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _sound() -> bytes:
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    samples = np.sin(2 * np.pi * 440 * time_s) * (np.mod(time_s, 0.5) < 0.1)
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes((samples * 20_000).astype("<i2").tobytes())
    return file.getvalue()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder of the tiny model."""
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    KeyVIDPipeline.from_config(tiny()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def engine(weights: Path) -> ModelEngine:
    """The tiny model, loaded and warm as in a runner."""
    engine = load_model(Settings(data_dir=weights.parent, model=str(weights), runner_threads=1))
    engine.warm_up()
    return engine


@pytest.fixture
def storage(tmp_path: Path) -> LocalBlobStore:
    """Storage that holds a picture and a sound."""
    storage = LocalBlobStore(tmp_path / "blobs", signing_key=b"key")
    storage.put_bytes("inputs/image", _picture(), content_type="image/png")
    storage.put_bytes("inputs/audio", _sound(), content_type="audio/wav")
    return storage


def _job(*, fence: int = 1, seed: int = 5, checkpoints: Sequence[Checkpointed] = (), **options: object) -> RunJob:
    request = VideoRequest(
        model="tiny",
        prompt="a hammer",
        image=ImageInput(key="inputs/image", sha256="1" * 64, width=96, height=48, bytes=1),
        audio=AudioInput(key="inputs/audio", sha256="2" * 64, duration_s=3.0, sample_rate=RATE_HZ, channels=1, bytes=1),
        image_fit="cover",
        audio_start=0.5,
        width=128,
        height=64,
        seed=seed,
        **options,  # type: ignore[arg-type]  # as a test names them
    )
    saved = [
        {
            "stage": checkpoint.stage,
            "step": checkpoint.step,
            "key": checkpoint.key,
            "sha256": checkpoint.sha256,
            "engine_digest": checkpoint.engine_digest,
        }
        for checkpoint in checkpoints
    ]
    return RunJob("video_a", fence, request, tuple(saved))


def _render(
    job: RunJob,
    engine: ModelEngine,
    storage: LocalBlobStore,
    folder: Path,
    stop: Callable[[], StopJob | None] = lambda: None,
) -> tuple[Done, list[Report]]:
    reports: list[Report] = []
    done = render(job, engine, storage, temp_dir=folder / "tmp", send=reports.append, stop=stop)
    return done, reports


def test_request_becomes_a_video_of_the_size_asked_for(
    engine: ModelEngine, storage: LocalBlobStore, tmp_path: Path
) -> None:
    """The stored MP4 has what the reply says, and every stage was reported in order."""
    done, reports = _render(_job(), engine, storage, tmp_path)

    stored = storage.get_bytes(done.output.key)
    assert (hashlib.sha256(stored).hexdigest(), len(stored)) == (done.output.sha256, done.output.bytes)
    assert (done.output.width, done.output.height, done.output.frames) == (128, 64, 48)
    steps = [report for report in reports if isinstance(report, Step)]
    stages = list(dict.fromkeys(step.stage for step in steps))
    assert stages == [JobStage.LOCALIZATION, JobStage.KEYFRAMES, JobStage.INTERPOLATION, JobStage.MUX]
    assert [step.progress for step in steps] == sorted(step.progress for step in steps)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_same_request_gives_the_same_file(engine: ModelEngine, storage: LocalBlobStore, tmp_path: Path) -> None:
    """One seed decides every draw; another seed gives another video."""
    first, _ = _render(_job(fence=1), engine, storage, tmp_path)
    again, _ = _render(_job(fence=2), engine, storage, tmp_path)
    other, _ = _render(_job(fence=3, seed=6), engine, storage, tmp_path)

    assert first.output.sha256 == again.output.sha256
    assert first.output.sha256 != other.output.sha256


@pytest.mark.parametrize("stage", [JobStage.LOCALIZATION, JobStage.KEYFRAMES])
def test_resumed_job_gives_the_same_file(
    engine: ModelEngine, storage: LocalBlobStore, tmp_path: Path, stage: JobStage
) -> None:
    """An attempt that goes on from a checkpoint does not repeat the stage, and ends with the same bytes."""
    whole, reports = _render(_job(fence=1), engine, storage, tmp_path)
    saved = next(report for report in reports if isinstance(report, Checkpointed) and report.stage is stage)

    resumed, later = _render(_job(fence=2, checkpoints=[saved]), engine, storage, tmp_path)

    assert resumed.output.sha256 == whole.output.sha256
    assert stage not in [report.stage for report in later if isinstance(report, Step)]


def test_keyframes_say_who_chose_them(engine: ModelEngine, storage: LocalBlobStore, tmp_path: Path) -> None:
    """Heard ones come from the model's localizer; the caller's own are painted as they were sent."""
    frames = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 47)

    _, heard = _render(_job(fence=1), engine, storage, tmp_path)
    _, chosen = _render(_job(fence=2, keyframes=frames, reference_compat=True), engine, storage, tmp_path)

    sources = [next(said.keyframes for said in told if isinstance(said, Checkpointed)) for told in (heard, chosen)]
    assert engine.describe()["localizer"] == sources[0].source == "tiny"
    assert (sources[1].source, sources[1].indices) == ("request", frames)


def test_model_without_localizer_needs_keyframes(storage: LocalBlobStore, tmp_path: Path) -> None:
    """It loads, warms up, and fails a job without keyframes at once, with a code and a sentence for the caller."""
    KeyVIDPipeline.from_config(replace(tiny(), localizer=None)).save_pretrained(tmp_path / "deaf")
    settings = Settings(data_dir=tmp_path, model=str(tmp_path / "deaf"), runner_threads=1, localizer="own")
    engine = load_model(settings)
    engine.warm_up()

    with pytest.raises(KeyframesNeeded) as refused:
        _render(_job(), engine, storage, tmp_path)

    failed = classify(refused.value)
    assert engine.describe()["localizer"] is None
    assert (failed.failure.code, failed.remedy) == ("keyframes_needed", Remedy.NONE)
    assert failed.failure.message == "tiny has no localizer: its keyframes must be given"


def test_a_picture_that_cannot_be_read_ends_the_job(
    engine: ModelEngine, storage: LocalBlobStore, tmp_path: Path
) -> None:
    """It is read aside while the sound is heard, and what is wrong with it is said all the same."""
    storage.put_bytes("inputs/image", b"no picture", content_type="image/png")

    with pytest.raises(ImageDecodeFailed):
        _render(_job(), engine, storage, tmp_path)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_damaged_checkpoint_is_not_used(engine: ModelEngine, storage: LocalBlobStore, tmp_path: Path) -> None:
    """A checkpoint whose bytes are not the saved ones costs time, not the video."""
    whole, reports = _render(_job(fence=1), engine, storage, tmp_path)
    saved = next(report for report in reports if isinstance(report, Checkpointed))
    storage.put_bytes(saved.key, b"damaged", content_type="application/octet-stream")

    again, later = _render(_job(fence=2, checkpoints=[saved]), engine, storage, tmp_path)

    assert again.output.sha256 == whole.output.sha256
    assert JobStage.LOCALIZATION in [report.stage for report in later if isinstance(report, Step)]


def test_checkpoints_within_a_stage_lead_to_the_same_file(
    engine: ModelEngine, storage: LocalBlobStore, tmp_path: Path
) -> None:
    """An attempt goes on from the step that was left, or from the stage before where that is damaged."""
    often = replace(engine, checkpoint_steps=1)
    whole, reports = _render(_job(num_inference_steps=3), often, storage, tmp_path)
    saved = [report for report in reports if isinstance(report, Checkpointed)]
    assert [(report.stage, report.step) for report in saved] == [
        (JobStage.LOCALIZATION, None),
        (JobStage.KEYFRAMES, 1),
        (JobStage.KEYFRAMES, 2),
        (JobStage.KEYFRAMES, None),
        (JobStage.INTERPOLATION, 1),
        (JobStage.INTERPOLATION, 2),
        (JobStage.INTERPOLATION, 3),
    ]
    finished, second = saved[3], saved[5]

    def resumed(fence: int, *checkpoints: Checkpointed) -> tuple[str, tuple[JobStage, int]]:
        job = _job(fence=fence, num_inference_steps=3, checkpoints=checkpoints)
        done, later = _render(job, often, storage, tmp_path)
        first = next(report for report in later if isinstance(report, Step))
        return done.output.sha256, (first.stage, first.step)

    sha256 = whole.output.sha256
    assert resumed(2, second, finished) == (sha256, (JobStage.INTERPOLATION, 2))
    storage.put_bytes(second.key, b"damaged", content_type="application/octet-stream")
    assert resumed(3, second, finished) == (sha256, (JobStage.INTERPOLATION, 0))


def test_a_planned_stop_leaves_the_step_that_it_came_in(
    engine: ModelEngine, storage: LocalBlobStore, tmp_path: Path
) -> None:
    """A drained runner finishes its step, leaves it, and stops; the next attempt repeats nothing."""
    whole, _ = _render(_job(fence=1, num_inference_steps=2), engine, storage, tmp_path)
    reports: list[Report] = []

    def stop() -> StopJob | None:
        is_there = any(isinstance(said, Step) and said.stage is JobStage.INTERPOLATION for said in reports)
        return StopJob("video_a", 2, leaves_state=True) if is_there else None

    with pytest.raises(Cancelled):
        render(_job(fence=2, num_inference_steps=2), engine, storage, temp_dir=tmp_path, send=reports.append, stop=stop)

    left = [report for report in reports if isinstance(report, Checkpointed)][-1]
    assert (left.stage, left.step) == (JobStage.INTERPOLATION, 1)
    resumed, later = _render(_job(fence=3, num_inference_steps=2, checkpoints=[left]), engine, storage, tmp_path)
    assert resumed.output.sha256 == whole.output.sha256
    assert next((said.stage, said.step) for said in later if isinstance(said, Step)) == (JobStage.INTERPOLATION, 1)


def test_the_digest_tells_codes_and_weights_apart(engine: ModelEngine) -> None:
    """A state of another code, precision or model is not gone on with; another number of threads is no difference."""
    digests = {
        engine.digest,
        replace(engine, code_sha256="0" * 64).digest,
        *(replace(engine, facts={**engine.facts, name: "x"}).digest for name in ("weights_sha256", "dtype", "torch")),
    }

    assert len(digests) == 5
    assert replace(engine, facts={**engine.facts, "threads": 99}).digest == engine.digest


def test_a_full_device_is_tried_once_more_in_less_memory(
    weights: Path, storage: LocalBlobStore, tmp_path: Path
) -> None:
    """From the stage that was reached, with one branch and one network at a time; a second time the job fails."""
    engine = load_model(Settings(data_dir=weights.parent, model=str(weights), runner_threads=1))
    unet, full = engine.pipeline.components.interpolation_unet, [True]

    def fill(*_: object) -> None:
        if full and full.pop():
            raise torch.OutOfMemoryError("CUDA out of memory")

    unet.register_forward_pre_hook(fill)

    done, reports = _render(_job(), engine, storage, tmp_path)

    assert done.output.frames == 48
    assert (engine.pipeline.guidance_batch, engine.pipeline.placement.resident) == (1, frozenset())
    stages = [report.stage for report in reports if isinstance(report, Step) and report.step == 0]
    assert stages.count(JobStage.KEYFRAMES) == 1
    assert stages.count(JobStage.INTERPOLATION) == 2
    full.append(True)
    with pytest.raises(OutOfMemory) as refused:
        _render(_job(fence=2), engine, storage, tmp_path)
    failed = classify(refused.value)
    assert (failed.failure.code, failed.remedy) == ("out_of_memory", Remedy.RESTART)


@pytest.mark.parametrize("stage", [JobStage.KEYFRAMES, JobStage.INTERPOLATION, JobStage.MUX])
def test_cancel_in_any_stage_leaves_nothing(
    engine: ModelEngine, storage: LocalBlobStore, tmp_path: Path, stage: JobStage
) -> None:
    """A stop that comes in a stage ends the job there, without a video and without files."""
    reports: list[Report] = []

    def stop() -> StopJob | None:
        is_there = any(isinstance(report, Step) and report.stage is stage for report in reports)
        return StopJob("video_a", 1) if is_there else None

    with pytest.raises(Cancelled):
        render(_job(), engine, storage, temp_dir=tmp_path / "tmp", send=reports.append, stop=stop)

    assert list(storage.list_prefix("outputs/")) == []
    assert list((tmp_path / "tmp").iterdir()) == []
