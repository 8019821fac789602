"""The API on S3 storage."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from service.app import create_app
from service.settings import ServiceSettings
from tests import uploads
from tests.servers import free_port, wait_until
from workers.job_store import open_job_store
from workers.jobs import Output
from workers.reconciler import KeepsDrafts
from workers.storage import open_storage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import S3Server

MP4 = bytes(range(256)) * 3000  # more than one chunk


@pytest.fixture
def settings(s3_server: S3Server, tmp_path: Path) -> ServiceSettings:
    """Settings that name a bucket on an S3 server that checks signatures."""
    bucket = s3_server.new_bucket(f"videos-{secrets.token_hex(8)}")
    return ServiceSettings.model_validate({"data_dir": tmp_path, **bucket})


def test_video_travels_through_s3(settings: ServiceSettings) -> None:
    """Inputs go to the bucket; content comes through the API in ranges, and straight from the bucket by its link."""
    store, storage = open_job_store(settings), open_storage(settings)
    files = {"input_reference": ("a", uploads.jpeg()), "audio": ("b", uploads.wav())}
    with TestClient(create_app(settings)) as client:
        video = client.post("/v1/videos", data={"prompt": "p"}, files=files).json()
        claimed = store.claim("worker", model="keyvid-mini", lease_s=60)
        assert claimed is not None
        job, lease = claimed
        assert storage.get_bytes(job.request.image.key).startswith(b"\x89PNG")
        key = f"outputs/{job.id}/{job.fence}/video.mp4"
        storage.put_bytes(key, MP4, content_type="video/mp4")
        digest = hashlib.sha256(MP4).hexdigest()
        output = Output(
            key=key, sha256=digest, bytes=len(MP4), frames=48, fps=24, width=512, height=320, duration_s=2.0
        )
        store.complete(lease, output, usage={}, engine={})
        path = f"/v1/videos/{video['id']}"

        whole = client.get(f"{path}/content")
        part = client.get(f"{path}/content", headers={"Range": "bytes=-1000"})
        link = client.get(f"{path}/content-url").json()["url"]
        assert client.get("/readyz").json()["status"] == "ready"
    store.close()

    assert whole.content == MP4
    assert (part.status_code, part.content) == (206, MP4[-1000:])
    assert link.startswith(f"{settings.s3_endpoint_url}/{settings.s3_bucket}/outputs/")
    assert httpx.get(link).content == MP4


def test_lost_content_is_410_and_dead_storage_is_503(settings: ServiceSettings, tmp_path: Path) -> None:
    """A blob that is gone is told apart from storage that does not answer; nothing is accepted without storage."""
    dead = settings.model_copy(
        update={"s3_endpoint_url": f"http://127.0.0.1:{free_port()}", "data_dir": tmp_path / "dead"}
    )
    files = {"input_reference": ("a", uploads.jpeg()), "audio": ("b", uploads.wav())}
    with TestClient(create_app(dead)) as client:
        reply = client.post("/v1/videos", data={"prompt": "p"}, files=files)

        assert (reply.status_code, reply.json()["code"]) == (503, "storage_unavailable")
        assert client.get("/v1/videos").json()["data"] == []

    store = open_job_store(settings)
    with TestClient(create_app(settings)) as client:
        video_id = client.post("/v1/videos", data={"prompt": "p"}, files=files).json()["id"]
        claimed = store.claim("worker", model="keyvid-mini", lease_s=60)
        assert claimed is not None
        output = Output(
            key="outputs/gone", sha256="0" * 64, bytes=1, frames=48, fps=24, width=512, height=320, duration_s=2.0
        )
        store.complete(claimed[1], output, usage={}, engine={})

        assert client.get(f"/v1/videos/{video_id}/content").json()["code"] == "content_expired"
    store.close()


def test_link_gives_its_own_bytes_until_it_expires_and_nothing_else(settings: ServiceSettings) -> None:
    """A link that was changed in any part, that another secret signed, or whose time is over is 403."""
    storage = open_storage(settings)
    for key in ("outputs/a/1/video.mp4", "outputs/b/1/video.mp4"):
        storage.put_bytes(key, MP4, content_type="video/mp4")
    link = storage.signed_url("outputs/a/1/video.mp4", expires_s=60, filename="a.mp4")
    foreign = open_storage(settings.model_copy(update={"s3_secret_access_key": SecretStr("another")}))
    forged = {
        "key": link.replace("/outputs/a/", "/outputs/b/"),
        "time": link.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
        "filename": link.replace("a.mp4%22", "b.mp4%22"),
        "signature": link[:-1] + ("0" if link[-1] != "0" else "1"),
        "secret": foreign.signed_url("outputs/a/1/video.mp4", expires_s=60, filename="a.mp4"),
    }
    short = storage.signed_url("outputs/a/1/video.mp4", expires_s=1, filename="a.mp4")

    assert httpx.get(link).content == MP4
    for name, url in forged.items():
        assert url != link
        assert httpx.get(url).status_code == 403, name
    assert httpx.put(link, content=b"other").status_code == 403
    wait_until(lambda: httpx.get(short).status_code == 403, timeout_s=20, what="the end of the link")
    assert storage.get_bytes("outputs/a/1/video.mp4") == MP4


def test_wrong_secret_accepts_nothing(settings: ServiceSettings) -> None:
    """Where storage refuses our signature, the service is not ready, and says 503 before it accepts anything."""
    wrong = settings.model_copy(update={"s3_secret_access_key": SecretStr("another")})
    files = {"input_reference": ("a", uploads.jpeg()), "audio": ("b", uploads.wav())}
    with TestClient(create_app(wrong)) as client:
        reply = client.post("/v1/videos", data={"prompt": "p"}, files=files)

        assert (reply.status_code, reply.json()["code"]) == (503, "storage_unavailable")
        assert client.get("/readyz").json()["checks"]["storage"] == "failed"
        assert client.get("/v1/videos").json()["data"] == []


def test_uploads_in_parts_that_nobody_ended_are_swept(s3_server: S3Server, settings: ServiceSettings) -> None:
    """Parts of a writer that died are dropped once they are old; a younger upload may still be finished."""
    storage = open_storage(settings)
    assert isinstance(storage, KeepsDrafts)
    client, bucket = s3_server.client(), str(settings.s3_bucket)
    begun = client.create_multipart_upload(Bucket=bucket, Key="outputs/a/1/video.mp4")
    client.upload_part(
        Bucket=bucket, Key="outputs/a/1/video.mp4", UploadId=begun["UploadId"], PartNumber=1, Body=b"x" * (5 << 20)
    )

    assert storage.sweep_drafts(before=time.time() - 3600) == 0
    assert storage.sweep_drafts(before=time.time() + 3600) == 1
    assert storage.sweep_drafts(before=time.time() + 3600) == 0
