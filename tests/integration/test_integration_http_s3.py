"""The API on S3 storage."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import boto3
import httpx
import pytest
from fastapi.testclient import TestClient
from moto.server import ThreadedMotoServer

from service.app import create_app
from service.settings import ServiceSettings
from tests import uploads
from tests.servers import free_port
from workers.job_store import open_job_store
from workers.jobs import Output
from workers.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MP4 = bytes(range(256)) * 3000  # more than one chunk


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[ServiceSettings]:
    """Settings that name a bucket on an S3 server of our own."""
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    settings = ServiceSettings.model_validate(
        {
            "data_dir": tmp_path,
            "storage": "s3",
            "s3_bucket": "videos",
            "s3_endpoint_url": f"http://127.0.0.1:{port}",
            "s3_access_key_id": "key",
            "s3_secret_access_key": "secret",
        }
    )
    boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    ).create_bucket(Bucket="videos")
    yield settings
    server.stop()


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
    assert link.startswith(f"{settings.s3_endpoint_url}/videos/outputs/")
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
