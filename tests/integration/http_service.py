"""A running API with the real store and storage, whose worker is played by hand."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi.testclient import TestClient

from service.app import create_app
from tests import uploads
from workers.job_store import JobStore, open_job_store
from workers.jobs import Lease, Output
from workers.storage import BlobStore, open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from service.settings import ServiceSettings

MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 8
JPEG = uploads.jpeg()
SHEET = uploads.jpeg(256, 120)
WAV = uploads.wav(1.5)


@dataclass
class Service:
    """A running API, and what a worker would reach."""

    client: TestClient
    store: JobStore
    storage: BlobStore

    def create(self, **fields: str) -> dict[str, Any]:
        """Send a good request; answers the video object."""
        reply = self.post(prompt="a dog barks", **fields)
        assert reply.status_code == 202, reply.text
        body: dict[str, Any] = reply.json()
        return body

    def post(self, **fields: str) -> httpx.Response:
        """Send a picture and a sound."""
        files = {"input_reference": ("cat.jpg", JPEG), "audio": ("meow.wav", WAV)}
        return self.client.post("/v1/videos", data=fields, files=files)

    def claim(self) -> Lease:
        """Begin the next job, as a worker does."""
        claimed = self.store.claim("worker-1", model="keyvid-mini", lease_s=60)
        assert claimed is not None
        return claimed[1]

    def finish(self) -> str:
        """Make the next job a finished video; answers its id."""
        return self.complete(self.claim())

    def complete(self, lease: Lease) -> str:
        """End a claimed job with a video; answers its id."""
        key = f"outputs/{lease.job_id}/{lease.fence}/video.mp4"
        thumbnail_key = f"outputs/{lease.job_id}/{lease.fence}/thumbnail.jpg"
        self.storage.put_bytes(key, MP4, content_type="video/mp4")
        self.storage.put_bytes(thumbnail_key, JPEG, content_type="image/jpeg")
        spritesheet_key = f"outputs/{lease.job_id}/{lease.fence}/spritesheet.jpg"
        self.storage.put_bytes(spritesheet_key, SHEET, content_type="image/jpeg")
        output = Output(
            key=key,
            sha256=hashlib.sha256(MP4).hexdigest(),
            bytes=len(MP4),
            frames=48,
            fps=24,
            width=512,
            height=320,
            duration_s=2.0,
            thumbnail_key=thumbnail_key,
            spritesheet_key=spritesheet_key,
        )
        self.store.complete(lease, output, usage={"queue_s": 0.5}, engine={"device": "cpu"})
        return lease.job_id


@contextmanager
def serving(settings: ServiceSettings) -> Iterator[Service]:
    """A service with its own connections to the same database and storage."""
    store = open_job_store(settings)
    with TestClient(create_app(settings)) as client:
        yield Service(client, store, open_storage(settings))
    store.close()


def events_of(reply: httpx.Response) -> list[tuple[int, str, dict[str, Any]]]:
    """Id, name and data of server-sent events."""
    found = []
    for block in reply.text.replace("\r\n", "\n").strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found
