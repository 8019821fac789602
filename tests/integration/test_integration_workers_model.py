"""The real model in the runner's place: a request of stored files becomes a checked MP4, the same one every time."""

from __future__ import annotations

import hashlib
import io
import wave
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from model.config import tiny
from model.errors import KeyframesNeeded
from model.pipeline import KeyVIDPipeline
from workers.contract import AudioInput, ImageInput, VideoRequest
from workers.jobs import JobStage
from workers.rendering import Cancelled, render
from workers.runner import ModelEngine, load_model
from workers.runner_messages import Checkpointed, Done, Remedy, Report, RunJob, Step
from workers.runner_process import classify
from workers.settings import Settings
from workers.storage_local import LocalBlobStore

if TYPE_CHECKING:
    from collections.abc import Callable
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


def _job(*, fence: int = 1, seed: int = 5, checkpoint: Checkpointed | None = None, **options: object) -> RunJob:
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
    saved = None
    if checkpoint is not None:
        saved = {
            "stage": checkpoint.stage,
            "key": checkpoint.key,
            "sha256": checkpoint.sha256,
            "engine_digest": checkpoint.engine_digest,
        }
    return RunJob("video_a", fence, request, saved)


def _render(
    job: RunJob, engine: ModelEngine, storage: LocalBlobStore, folder: Path, check: Callable[[], None] = lambda: None
) -> tuple[Done, list[Report]]:
    reports: list[Report] = []
    done = render(job, engine, storage, temp_dir=folder / "tmp", send=reports.append, check=check)
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

    resumed, later = _render(_job(fence=2, checkpoint=saved), engine, storage, tmp_path)

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


def test_damaged_checkpoint_is_not_used(engine: ModelEngine, storage: LocalBlobStore, tmp_path: Path) -> None:
    """A checkpoint whose bytes are not the saved ones costs time, not the video."""
    whole, reports = _render(_job(fence=1), engine, storage, tmp_path)
    saved = next(report for report in reports if isinstance(report, Checkpointed))
    storage.put_bytes(saved.key, b"damaged", content_type="application/octet-stream")

    again, later = _render(_job(fence=2, checkpoint=saved), engine, storage, tmp_path)

    assert again.output.sha256 == whole.output.sha256
    assert JobStage.LOCALIZATION in [report.stage for report in later if isinstance(report, Step)]


@pytest.mark.parametrize("stage", [JobStage.KEYFRAMES, JobStage.INTERPOLATION, JobStage.MUX])
def test_cancel_in_any_stage_leaves_nothing(
    engine: ModelEngine, storage: LocalBlobStore, tmp_path: Path, stage: JobStage
) -> None:
    """A stop that comes in a stage ends the job there, without a video and without files."""
    reports: list[Report] = []

    def check() -> None:
        if any(isinstance(report, Step) and report.stage is stage for report in reports):
            raise Cancelled

    with pytest.raises(Cancelled):
        render(_job(), engine, storage, temp_dir=tmp_path / "tmp", send=reports.append, check=check)

    assert list(storage.list_prefix("outputs/")) == []
    assert list((tmp_path / "tmp").iterdir()) == []
