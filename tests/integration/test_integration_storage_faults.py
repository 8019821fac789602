"""Storage that fails, refuses, stalls, truncates, lies or fills up: nothing that is not whole counts."""

from __future__ import annotations

import errno
import hashlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient
from http_service import JPEG, WAV
from paced_engine import HEARD, plain_video

from service import multipart
from service.app import create_app
from service.settings import ServiceSettings
from tests.fault_proxy import FaultProxy, fault_proxy
from workers import patient_storage, storage_local
from workers.contract import AudioInput, ImageInput, VideoRequest
from workers.errors import StorageUnavailable
from workers.jobs import JobStage
from workers.rendering import Cancelled, render
from workers.runner_messages import Remedy, RunJob, StopJob
from workers.runner_process import classify
from workers.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

    from tests.fault_proxy import Kind
    from tests.servers import S3Server
    from workers.engine import EngineHooks, EngineJob

WIDTH, HEIGHT = 64, 32


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy before the S3 server, and clients that give up sooner than in production."""
    monkeypatch.setattr("workers.storage_s3.TIMEOUTS.retries", {"total_max_attempts": 2, "mode": "standard"})
    monkeypatch.setattr("workers.storage_s3.TIMEOUTS.read_timeout", 1)
    with fault_proxy(s3_server) as running:
        yield running


@pytest.fixture
def settings(proxy: FaultProxy, tmp_path: Path) -> ServiceSettings:
    """An installation whose bucket is behind the proxy."""
    bucket = proxy.settings(f"faults-{secrets.token_hex(8)}")
    return ServiceSettings.model_validate({"data_dir": tmp_path, **bucket})


def create(client: TestClient) -> httpx.Response:
    """Ask for a video."""
    return client.post("/v1/videos", data={"prompt": "p"}, files={"input_reference": ("a", JPEG), "audio": ("b", WAV)})


def test_nothing_is_accepted_that_is_not_stored(proxy: FaultProxy, settings: ServiceSettings) -> None:
    """An input that storage did not take whole makes the request a 503, without a job; the next one is accepted."""
    kinds: tuple[Kind, ...] = ("503", "403", "reset", "stall", "truncate", "lose")
    with TestClient(create_app(settings)) as client:
        for kind in kinds:
            proxy.break_next(kind, times=2, where="/inputs/")

            refused = create(client)

            assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable"), kind
            assert "retry-after" in refused.headers
            assert proxy.seen[kind] >= 1
            proxy.faults.clear()
        assert client.get("/v1/videos").json()["data"] == []
        assert not list((settings.data_dir / "tmp").glob("*"))
        assert create(client).status_code == 202


@dataclass
class OneVideo:
    """An engine that makes the same small video, and counts how often."""

    video: bytes
    made: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    digest: str = "one"

    def describe(self) -> Mapping[str, str]:
        """Nothing to tell."""
        return self.facts

    def warm_up(self) -> None:
        """It is warm."""

    def generate(self, job: EngineJob, hooks: EngineHooks) -> None:
        """Write the video, after a stage with a state."""
        hooks.on_state(JobStage.LOCALIZATION, b"state", HEARD)
        self.made += 1
        job.output.write_bytes(self.video)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A finished MP4."""
    return plain_video(tmp_path_factory.mktemp("video") / "video.mp4", WIDTH, HEIGHT)


@pytest.fixture
def job(settings: ServiceSettings) -> RunJob:
    """A job whose inputs are in storage under the names of their contents."""
    storage, keys = open_storage(settings), []
    for content in (b"picture", b"sound"):
        keys.append(f"inputs/{hashlib.sha256(content).hexdigest()}")
        storage.put_bytes(keys[-1], content, content_type="application/octet-stream")
    request = VideoRequest(
        model="keyvid-mini",
        prompt="p",
        image=ImageInput(key=keys[0], sha256="1" * 64, width=64, height=32, bytes=7),
        audio=AudioInput(key=keys[1], sha256="2" * 64, duration_s=2.0, sample_rate=48_000, channels=1, bytes=5),
        image_fit="cover",
        audio_start=0.0,
        width=WIDTH,
        height=HEIGHT,
        seed=1,
    )
    return RunJob("video_a", 1, request, ())


def run(job: RunJob, engine: OneVideo, settings: ServiceSettings, **changes: Any) -> tuple[str, bytes]:
    """Run a job as a runner does; returns the SHA-256 that is told, and what lies in storage."""
    options: dict[str, Any] = {"send": lambda _: None, "stop": lambda: None, "patience_s": 30.0, **changes}
    done = render(job, engine, open_storage(settings), temp_dir=settings.data_dir / "tmp", **options)
    return done.output.sha256, open_storage(settings).get_bytes(done.output.key)


@pytest.mark.parametrize(
    ("kind", "times", "method", "where"),
    [
        ("503", 5, "PUT", "video.mp4"),
        ("reset", 3, "PUT", "video.mp4"),
        ("stall", 3, "PUT", "video.mp4"),
        ("slow", 20, "PUT", "/"),
        ("truncate", 2, "PUT", "video.mp4"),
        ("corrupt", 2, "PUT", "video.mp4"),
        ("lose", 2, "PUT", "video.mp4"),
        ("lose", 1, "GET", "video.mp4"),
        ("503", 5, "PUT", "checkpoints/"),
        ("503", 5, "GET", "inputs/"),
        ("reset", 5, "GET", "inputs/"),
    ],
)
def test_running_job_waits_storage_out(  # noqa: PLR0917
    proxy: FaultProxy,
    settings: ServiceSettings,
    job: RunJob,
    video: bytes,
    kind: Kind,
    times: int,
    method: str,
    where: str,
) -> None:
    """What fails is tried again without making the video anew, and what is told is what is stored."""
    engine = OneVideo(video)
    proxy.break_next(kind, times=times, method=method, where=where)

    sha256, stored = run(job, engine, settings)

    assert stored == video
    assert sha256 == hashlib.sha256(video).hexdigest()
    assert engine.made == 1
    assert proxy.seen[kind] > 0


@pytest.mark.parametrize("kind", ["403", "corrupt", "truncate", "lose"])
def test_storage_that_never_takes_the_video_fails_the_attempt(
    proxy: FaultProxy, settings: ServiceSettings, job: RunJob, video: bytes, kind: Kind
) -> None:
    """When patience ends, the attempt fails as `storage_failed`, to be tried again; nothing is completed."""
    proxy.break_next(kind, times=10_000, where="video.mp4")

    with pytest.raises(StorageUnavailable) as failed:
        run(job, OneVideo(video), settings, patience_s=2.0)

    assert classify(failed.value).failure.code == "storage_failed"
    assert classify(failed.value).remedy is Remedy.RETRY


def test_input_that_storage_changed_is_not_used(settings: ServiceSettings, job: RunJob, video: bytes) -> None:
    """An input whose bytes are not those that its name stands for never reaches the engine."""
    open_storage(settings).put_bytes(job.request.audio.key, b"other", content_type="audio/wav")
    engine = OneVideo(video)

    with pytest.raises(StorageUnavailable, match="other bytes"):
        run(job, engine, settings, patience_s=0.0)

    assert engine.made == 0


@pytest.mark.parametrize("leaves_state", [False, True], ids=["cancel", "drain"])
def test_waiting_for_storage_can_be_cancelled(
    proxy: FaultProxy,
    settings: ServiceSettings,
    job: RunJob,
    video: bytes,
    monkeypatch: pytest.MonkeyPatch,
    *,
    leaves_state: bool,
) -> None:
    """A job that waits for storage stops as soon as it is told to, or its worker ends."""
    monkeypatch.setattr(patient_storage, "FIRST_WAIT_S", 3600.0)
    proxy.break_next("403", times=10_000, where="video.mp4")

    def stop() -> StopJob | None:
        return StopJob(job.job_id, job.fence, leaves_state=leaves_state) if proxy.seen["403"] else None

    with pytest.raises(Cancelled):
        run(job, OneVideo(video), settings, patience_s=7200.0, stop=stop)


def test_disk_that_fills_up_while_a_body_arrives_is_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's word that a disk is full refuses the request before anything is accepted, and leaves nothing."""

    def folder_on_a_full_disk(parent: Path) -> str:
        made = Path(new_folder(parent))
        for number in range(2):
            (made / f"part-{number}").symlink_to("/dev/full")
        return str(made)

    new_folder = multipart._new_folder
    with TestClient(create_app(ServiceSettings(data_dir=tmp_path))) as client:
        monkeypatch.setattr(multipart, "_new_folder", folder_on_a_full_disk)

        refused = create(client)

        assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
        assert not list((tmp_path / "tmp").glob("*"))
        monkeypatch.undo()
        assert create(client).status_code == 202


def test_local_storage_that_fills_up_keeps_no_half_blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that did not fit is not there, the request is a 503, and it succeeds when there is room again."""

    def half(source: Any, target: Any, _size: int) -> None:
        target.write(source.read()[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with TestClient(create_app(ServiceSettings(data_dir=tmp_path))) as client:
        monkeypatch.setattr(storage_local.shutil, "copyfileobj", half)

        refused = create(client)

        assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
        assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
        assert client.get("/v1/videos").json()["data"] == []
        monkeypatch.undo()
        assert create(client).status_code == 202
