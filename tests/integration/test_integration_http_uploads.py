"""Files that go straight to storage: into a folder through signed links, and into a bucket that checks signatures."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from http_service import JPEG, WAV, Service, serving

from service.settings import ServiceSettings
from tests import uploads
from workers import uploads as pending_uploads
from workers.job_store import open_job_store
from workers.reconciler import Reconciler
from workers.roster import Roster
from workers.tables import UploadRow
from workers.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import S3Server


@pytest.fixture(params=["local", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> ServiceSettings:
    """Settings of an installation with nothing in it."""
    storage: dict[str, str] = {}
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        storage = server.new_bucket(f"uploads-{secrets.token_hex(8)}")
    return ServiceSettings.model_validate({"data_dir": tmp_path, "orphan_seconds": 0.01, **storage})


@pytest.fixture
def service(settings: ServiceSettings) -> Iterator[Service]:
    """A service with nothing in it."""
    with serving(settings) as running:
        yield running


def announce(service: Service, data: bytes, **changes: Any) -> httpx.Response:
    """Say what will be sent."""
    said = {"purpose": "image", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "filename": "a.jpg"}
    return service.client.post("/v1/uploads", json={**said, **changes})


def send(service: Service, upload: dict[str, Any], data: bytes, *, url: str | None = None) -> int:
    """PUT bytes to the link of an upload as its caller would; returns the status."""
    target = url or upload["upload_url"]
    through = service.client if target.startswith("http://testserver/") else httpx
    return through.request(upload["method"], target, content=data, headers=upload["headers"]).status_code  # type: ignore[attr-defined]


def complete(service: Service, upload: dict[str, Any]) -> httpx.Response:
    """Say that the bytes are there."""
    return service.client.post(f"/v1/uploads/{upload['id']}/complete")


def left(service: Service) -> list[str]:
    """Keys of the bytes as they were sent."""
    return [blob.key for blob in service.storage.list_prefix("uploads/")]


def test_uploaded_files_make_a_video(service: Service, settings: ServiceSettings) -> None:
    """Announced, sent, completed: a file like one that came through the API, and nothing is kept as it was sent."""
    ids = {}
    for purpose, data in (("image", JPEG), ("audio", WAV)):
        upload = announce(service, data, purpose=purpose).json()
        assert send(service, upload, data) in (200, 204)
        reply = complete(service, upload)
        assert (reply.status_code, reply.headers["location"]) == (201, f"/v1/files/{upload['file_id']}")
        file = reply.json()
        assert (file["id"], file["bytes"], file["kind"]) == (upload["file_id"], len(data), purpose)
        assert file["media"]["sha256"] == hashlib.sha256(data).hexdigest()
        ids[f"{purpose}_file_id"] = file["id"]

    reply = service.client.post(
        "/v1/videos", files={name: (None, text) for name, text in {"prompt": "p", **ids}.items()}
    )

    assert reply.status_code == 202
    assert left(service) == []
    assert not list((settings.data_dir / "tmp").glob("*"))


def test_completing_again_gives_the_same_file(service: Service) -> None:
    """However often and however many at once say that the bytes are there, there is one file."""
    upload = announce(service, JPEG).json()
    send(service, upload, JPEG)
    barrier = threading.Barrier(3)

    def finish(_: int) -> httpx.Response:
        barrier.wait()
        return complete(service, upload)

    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(finish, range(3)))
    replies.append(complete(service, upload))

    assert sorted({reply.status_code for reply in replies}) == [200, 201]
    assert {reply.json()["id"] for reply in replies} == {upload["file_id"]}
    assert sum(reply.status_code == 201 for reply in replies) == 1


ARRIVALS = {
    "nothing": (JPEG, None, 409, "upload_incomplete"),
    "other bytes": (JPEG, JPEG[:-1] + b"x", 422, "upload_mismatch"),
    "svg": (uploads.SVG, uploads.SVG, 415, "unsupported_media_type"),
    "cut": (JPEG[:400], JPEG[:400], 422, "image_decode_failed"),
    "bomb": (uploads.png_bomb(), uploads.png_bomb(), 422, "image_too_large"),
    "sound as picture": (WAV, WAV, 415, "unsupported_media_type"),
}


def test_what_arrives_is_checked_like_any_file(service: Service, settings: ServiceSettings) -> None:
    """Size, hash, magic and content are checked when it is completed; what is refused leaves nothing anywhere."""
    for name, (announced, sent, status, code) in ARRIVALS.items():
        upload = announce(service, announced).json()
        if sent is not None:
            assert send(service, upload, sent) in (200, 204), name

        reply = complete(service, upload)

        assert (reply.status_code, reply.json()["code"]) == (status, code), name
        assert service.client.get(f"/v1/files/{upload['file_id']}").status_code == 404
        assert left(service) == []
    assert list(service.storage.list_prefix("inputs/")) == []
    assert not list((settings.data_dir / "tmp").glob("*"))


def test_link_takes_only_what_it_was_made_for(service: Service) -> None:
    """Another size, another key, another method and a later time are refused, and nothing is stored."""
    upload = announce(service, JPEG).json()
    other = announce(service, JPEG).json()
    link = upload["upload_url"]

    assert send(service, upload, JPEG + b"x") in (403, 413)
    assert send(service, upload, JPEG[:-1]) in (403, 422)
    assert send(service, upload, JPEG, url=link.replace(upload["id"], other["id"])) in (403, 404)
    assert send(service, upload, JPEG, url=link.replace(upload["id"], "x/../../outside")) in (400, 403, 404)
    changed = [
        link.replace(f"{name}=", f"{name}=1") for name in ("expires", "X-Amz-Expires", "size") if f"{name}=" in link
    ]
    assert changed
    assert all(send(service, upload, JPEG, url=url) in (400, 403, 404) for url in changed)
    assert left(service) == []
    through = service.client if link.startswith("http://testserver/") else httpx
    assert through.get(link).status_code in (403, 404, 422)  # type: ignore[attr-defined]


REFUSALS: list[tuple[dict[str, Any], int, str]] = [
    ({"bytes": 0}, 422, "bytes"),
    ({"bytes": True}, 422, "bytes"),
    ({"bytes": 20_000_001}, 413, "bytes"),
    ({"purpose": "audio", "bytes": 50_000_001}, 413, "bytes"),
    ({"sha256": "0" * 63}, 422, "sha256"),
    ({"sha256": "G" * 64}, 422, "sha256"),
    ({"purpose": "world domination"}, 422, "purpose"),
    ({"key": "outputs/x"}, 422, "key"),
    ({"filename": "x" * 300}, 422, "filename"),
]


def test_bad_announcement(service: Service) -> None:
    """What cannot be a file is refused before it is sent."""
    for changes, status, param in REFUSALS:
        reply = announce(service, JPEG, **changes)

        assert (reply.status_code, reply.json()["error"]["param"]) == (status, param)


def test_upload_of_another_tenant_or_time_is_none(
    service: Service, settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown id is 404, an upload past its time 410, and too many that wait are 429."""
    upload = announce(service, JPEG).json()
    assert service.client.post("/v1/uploads/upload_unknown/complete").status_code == 404
    monkeypatch.setattr(pending_uploads, "MAX_PENDING", 2)
    assert announce(service, JPEG).status_code == 201
    assert announce(service, JPEG).json()["code"] == "concurrency_limit"
    with service.store.database.write() as transaction:
        row = transaction.session.get(UploadRow, upload["id"])
        assert row is not None
        row.tenant = "another"
    assert complete(service, upload).status_code == 404
    with service.store.database.write() as transaction:
        row = transaction.session.get(UploadRow, upload["id"])
        assert row is not None
        row.tenant, row.expires_at = "default", 1.0

    reply = complete(service, upload)

    assert (reply.status_code, reply.json()["code"]) == (410, "upload_expired")


def test_bytes_that_nobody_completed_are_swept(service: Service, settings: ServiceSettings) -> None:
    """The reconciler removes what was sent and never completed, once it cannot be completed any more."""
    forgotten, waiting = announce(service, JPEG).json(), announce(service, JPEG).json()
    for upload in (forgotten, waiting):
        send(service, upload, JPEG)
    with service.store.database.write() as transaction:
        row = transaction.session.get(UploadRow, forgotten["id"])
        assert row is not None
        row.expires_at = 1.0
    time.sleep(1.1)  # a bucket tells ages in whole seconds
    store = open_job_store(settings)
    upkeep = Upkeep(store.database, retention_s=1000.0)
    reconciler = Reconciler(settings, upkeep, Roster(store.database), service.storage, None)  # type: ignore[arg-type]

    reconciler.sweep()
    store.close()

    assert left(service) == [f"uploads/{waiting['id']}"]
    assert complete(service, waiting).status_code == 201
