"""Checkpoints of one attempt: what is stored, what stays of it, and which one the next attempt takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workers.checkpoints import CheckpointWriter, saved_state
from workers.contract import AudioInput, ImageInput, VideoRequest
from workers.errors import StorageUnavailable
from workers.jobs import JobStage, Keyframes
from workers.patient_storage import PatientStorage
from workers.runner_messages import Checkpointed, RunJob
from workers.storage_local import LocalBlobStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workers.runner_messages import Report

HEARD = Keyframes(indices=(0, 4), curve=(0.0,), peaks=(), valleys=())
ENGINE = "engine-1"
REQUEST = VideoRequest(
    model="tiny",
    prompt="",
    image=ImageInput(key="inputs/image", sha256="1" * 64, width=96, height=48, bytes=1),
    audio=AudioInput(key="inputs/audio", sha256="2" * 64, duration_s=3.0, sample_rate=16_000, channels=1, bytes=1),
    image_fit="cover",
    audio_start=0.0,
    width=128,
    height=64,
    seed=1,
)


@pytest.fixture
def storage(tmp_path: Path) -> LocalBlobStore:
    """Empty storage."""
    return LocalBlobStore(tmp_path, signing_key=b"key")


@pytest.fixture
def reports() -> list[Report]:
    """What the supervisor was told."""
    return []


@pytest.fixture
def writer(storage: LocalBlobStore, reports: list[Report]) -> CheckpointWriter:
    """Writes for the second attempt of a job."""
    return CheckpointWriter(RunJob("video_a", 2, REQUEST, ()), ENGINE, patient(storage), reports.append)


def patient(storage: LocalBlobStore) -> PatientStorage:
    """Storage as the job uses it, with little patience."""
    return PatientStorage(storage, lambda: None, patience_s=0.0)


def next_attempt(reports: list[Report]) -> RunJob:
    """The job as its store gives it to the next attempt: the newest of each stage, newest first."""
    newest = {report.stage: report for report in reports if isinstance(report, Checkpointed)}
    rows = [
        {"stage": row.stage, "step": row.step, "key": row.key, "sha256": row.sha256, "engine_digest": row.engine_digest}
        for row in sorted(newest.values(), key=reports.index, reverse=True)
    ]
    return RunJob("video_a", 3, REQUEST, tuple(rows))


def test_only_the_newest_steps_stay(writer: CheckpointWriter, storage: LocalBlobStore, reports: list[Report]) -> None:
    """Two of them, because the row may still name the one before; finished stages stay."""
    writer.finished(JobStage.KEYFRAMES, b"keyframes", HEARD)
    for step in (5, 10, 15, 20):
        writer.within(JobStage.INTERPOLATION, step, b"step %d" % step, HEARD)

    folder = "checkpoints/video_a/2"
    assert sorted(blob.key for blob in storage.list_prefix("checkpoints/")) == [
        f"{folder}/interpolation-15.safetensors",
        f"{folder}/interpolation-20.safetensors",
        f"{folder}/keyframes.safetensors",
    ]
    assert saved_state(next_attempt(reports), ENGINE, patient(storage)) == b"step 20"


def _damage(storage: LocalBlobStore, newest: Checkpointed) -> None:
    storage.put_bytes(newest.key, b"something else", content_type="application/octet-stream")


def _remove(storage: LocalBlobStore, newest: Checkpointed) -> None:
    storage.delete(newest.key)


@pytest.mark.parametrize("harm", [_damage, _remove])
def test_a_damaged_checkpoint_gives_way_to_the_stage_before(
    writer: CheckpointWriter,
    storage: LocalBlobStore,
    reports: list[Report],
    harm: Callable[[LocalBlobStore, Checkpointed], None],
) -> None:
    """Its bytes must be those that were stored; when none are, the job starts anew."""
    writer.finished(JobStage.KEYFRAMES, b"keyframes", HEARD)
    writer.within(JobStage.INTERPOLATION, 5, b"step 5", HEARD)
    newest, before = reports[1], reports[0]
    assert isinstance(newest, Checkpointed)
    assert isinstance(before, Checkpointed)

    harm(storage, newest)
    assert saved_state(next_attempt(reports), ENGINE, patient(storage)) == b"keyframes"
    harm(storage, before)
    assert saved_state(next_attempt(reports), ENGINE, patient(storage)) is None


def test_an_engine_goes_on_only_from_its_own_states(
    writer: CheckpointWriter, storage: LocalBlobStore, reports: list[Report]
) -> None:
    """A newer state of other weights or code is passed over for an older one of the same."""
    writer.finished(JobStage.LOCALIZATION, b"localization", HEARD)
    other = CheckpointWriter(RunJob("video_a", 3, REQUEST, ()), "engine-2", patient(storage), reports.append)
    other.finished(JobStage.KEYFRAMES, b"keyframes", HEARD)

    assert saved_state(next_attempt(reports), ENGINE, patient(storage)) == b"localization"
    assert saved_state(next_attempt(reports), "engine-2", patient(storage)) == b"keyframes"
    assert saved_state(next_attempt(reports), "engine-3", patient(storage)) is None


def test_storage_that_is_away_costs_steps_and_not_the_attempt(
    writer: CheckpointWriter, storage: LocalBlobStore, reports: list[Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state within a stage may be lost; that of a finished one may not, and ends the attempt to be tried again."""

    def away(*_args: object, **_options: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(storage, "put_bytes", away)
        writer.within(JobStage.INTERPOLATION, 5, b"step 5", HEARD)
        with pytest.raises(StorageUnavailable):
            writer.finished(JobStage.KEYFRAMES, b"keyframes", HEARD)

    assert reports == []
    writer.within(JobStage.INTERPOLATION, 10, b"step 10", HEARD)
    assert saved_state(next_attempt(reports), ENGINE, patient(storage)) == b"step 10"
