"""What stands around videos over HTTP: files, models, health and request ids."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import structlog
from http_service import JPEG, WAV, Service, serving

from service.openapi import CODES
from service.settings import ServiceSettings
from workers.job_store import JobStore

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_sound_can_be_sent_first(service: Service) -> None:
    """A client that can send one file at a time sends the sound as a file and names it in the form."""
    file = service.client.post("/v1/files", data={"purpose": "user_data"}, files={"file": ("../a.wav", WAV)}).json()
    reply = service.client.post(
        "/v1/videos",
        data={"prompt": "a dog barks", "audio_file_id": file["id"]},
        files={"input_reference": ("cat.jpg", JPEG)},
    )

    assert (file["object"], file["kind"], file["filename"], file["bytes"]) == ("file", "audio", "a.wav", len(WAV))
    assert file["media"]["duration_s"] == 1.5
    assert reply.status_code == 202
    assert reply.json()["input"]["audio"]["sha256"] == hashlib.sha256(WAV).hexdigest()


def test_file_of_the_wrong_kind_is_refused(service: Service) -> None:
    """A picture is no sound, whichever way it is named."""
    picture = service.client.post("/v1/files", data={"purpose": "vision"}, files={"file": ("x", JPEG)}).json()
    as_sound = service.client.post(
        "/v1/videos",
        data={"prompt": "p", "audio_file_id": picture["id"], "image_file_id": picture["id"]},
        files={"unused": ("x", b"")},
    )
    as_audio_file = service.client.post("/v1/files", data={"purpose": "audio"}, files={"file": ("x", JPEG)})
    both = service.client.post(
        "/v1/videos", data={"prompt": "p", "audio_file_id": picture["id"]}, files={"audio": ("x", WAV)}
    )

    assert as_sound.status_code == 422
    assert as_audio_file.status_code == 415
    assert {error["pointer"] for error in both.json()["errors"]} == {"/input_reference", "/audio"}


def test_file_can_be_read_and_deleted(service: Service) -> None:
    """A deleted file is 404, and naming it in a request is 422."""
    path = (
        "/v1/files/"
        + service.client.post("/v1/files", data={"purpose": "audio"}, files={"file": ("x", WAV)}).json()["id"]
    )

    assert service.client.get(path).json()["status"] == "processed"
    assert service.client.delete(path).json()["deleted"] is True
    assert service.client.get(path).status_code == service.client.delete(path).status_code == 404
    reply = service.client.post(
        "/v1/videos",
        data={"prompt": "p", "audio_file_id": path.rpartition("/")[2]},
        files={"input_reference": ("x", JPEG)},
    )
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "audio_file_id")


def test_models_say_what_they_take(service: Service) -> None:
    """The default model is listed with its limits; another name is 404, and 422 in a request."""
    (model,) = service.client.get("/v1/models").json()["data"]

    assert (model["id"], model["object"], model["sizes"], model["num_frames"]) == (
        "keyvid-mini",
        "model",
        ["512x320"],
        48,
    )
    assert service.client.get("/v1/models/keyvid-mini").json() == model
    assert service.client.get("/v1/models/sora-2").status_code == 404
    assert service.post(prompt="p", model="sora-2").json()["error"]["param"] == "model"
    assert service.create(model="keyvid-mini")["model"] == "keyvid-mini"


def test_health_tells_what_works(service: Service) -> None:
    """Alive and ready, with each dependency by name."""
    assert service.client.get("/livez").json() == {"status": "ok"}
    ready = service.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["checks"] == dict.fromkeys(("database", "migrations", "storage", "disk", "broker"), "ok")


def test_database_of_before_is_not_ready(service: Service) -> None:
    """Where a backup was put back under a running server it says so, until it is started again."""
    with service.store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")

    ready = service.client.get("/readyz")

    assert (ready.status_code, ready.json()["checks"]["migrations"]) == (503, "failed")


def test_dead_broker_only_degrades(tmp_path: Path) -> None:
    """Without a broker a video is accepted all the same."""
    with serving(ServiceSettings(data_dir=tmp_path, broker_url="redis://127.0.0.1:1/0")) as service:
        ready = service.client.get("/readyz")

        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert service.create()["status"] == "queued"


def test_full_disk_refuses_before_reading(tmp_path: Path) -> None:
    """Without room nothing is accepted, and the service says that it is not ready."""
    with serving(ServiceSettings(data_dir=tmp_path, min_free_bytes=1 << 60)) as service:
        reply = service.post(prompt="p")

        assert (reply.status_code, reply.json()["code"]) == (503, "storage_unavailable")
        assert reply.headers["retry-after"]
        assert service.client.get("/readyz").status_code == 503


def test_method_that_an_address_does_not_take_is_405(service: Service) -> None:
    """Its code is one of those that are documented."""
    reply = service.client.post("/livez")

    assert (reply.status_code, (reply.json()["code"],)) == (405, CODES[405])


def test_requests_carry_an_id(service: Service) -> None:
    """A caller's id is kept, a strange one replaced, and problems repeat it."""
    kept = service.client.get("/livez", headers={"X-Request-Id": "mine-1"})
    replaced = service.client.get("/v1/videos/none", headers={"X-Request-Id": "a b\tc"})

    assert kept.headers["x-request-id"] == "mine-1"
    assert replaced.json()["request_id"] == replaced.headers["x-request-id"] != "a b\tc"


def test_other_sites_may_not_write(service: Service) -> None:
    """A page elsewhere cannot make its visitor's browser post here."""
    reply = service.client.delete("/v1/videos/x", headers={"Sec-Fetch-Site": "cross-site"})

    assert (reply.status_code, reply.json()["code"]) == (403, "cross_site_request")


def test_unexpected_error_is_500_without_a_trace(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is answered in words that give nothing away."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret at /srv/private")

    monkeypatch.setattr(JobStore, "get", broken)
    with structlog.testing.capture_logs() as logs:
        reply = service.client.get("/v1/videos/x")

    assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert "request_failed" in [line["event"] for line in logs]
    assert reply.headers["content-type"] == "application/problem+json"
    assert "secret" not in reply.text


def test_api_sweeps_its_own_disk_when_it_starts(tmp_path: Path) -> None:
    """A container's volume is seen by no reconciler: what a killed API left a day ago goes, younger files stay."""
    settings = ServiceSettings(data_dir=tmp_path)
    for name in ("upload-old", "upload-new"):
        (settings.temp_dir / name).mkdir(parents=True)
    os.utime(settings.temp_dir / "upload-old", (0, 0))

    with serving(settings):
        assert [path.name for path in settings.temp_dir.iterdir()] == ["upload-new"]
