"""An API that asks for keys, and what a test does at its door."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import ServiceSettings
from tests import uploads
from workers.access import OPERATOR, USUAL_SCOPES, Limits, Scope
from workers.job_store import JobStore, open_job_store
from workers.key_store import KeyStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

JPEG = uploads.jpeg()
WAV = uploads.wav(1.0)
LOCAL = "http://127.0.0.1:8000"


@dataclass
class Door:
    """A running API that asks for keys, and its key store."""

    client: TestClient
    keys: KeyStore
    store: JobStore

    def key(self, tenant: str = "acme", *scopes: Scope, **options: Any) -> dict[str, str]:
        """Make a key; answers the header that carries it."""
        _, secret = self.keys.create(
            tenant=tenant, name="test", scopes=scopes or USUAL_SCOPES, actor=OPERATOR, **options
        )
        return {"Authorization": f"Bearer {secret}"}

    def create(self, headers: dict[str, str], **fields: str) -> httpx.Response:
        """Ask for a video."""
        files = {"input_reference": ("cat.jpg", JPEG), "audio": ("meow.wav", WAV)}
        return self.client.post("/v1/videos", data={"prompt": "a dog", **fields}, files=files, headers=headers)


@contextmanager
def opened(data_dir: Path, **settings: Any) -> Iterator[Door]:
    """An API on a data folder, with connections of its own beside it."""
    chosen = ServiceSettings(data_dir=data_dir, **settings)
    store = open_job_store(chosen)
    with TestClient(create_app(chosen), base_url=LOCAL) as client:
        yield Door(client, KeyStore(store.database, default_limits=Limits(requests_per_minute=600)), store)
    store.close()
