"""Requests that ask for what was made before, and what a request may ask of its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from http_service import JPEG, MP4, SHEET, Service, serving

from service.settings import ServiceSettings
from workers.roster import Roster, WorkerRecord, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINE = {"device": "cpu"}  # what `Service.finish` says of the worker


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with one warm worker."""
    with serving(ServiceSettings(data_dir=tmp_path)) as running:
        _beat(running, ENGINE)
        yield running


def _beat(service: Service, engine: dict[str, Any]) -> None:
    record = WorkerRecord("a", "host", 1, WorkerState.READY, engine={**engine, "threads": 2})
    Roster(service.store.database).beat(record)


def test_same_request_gets_a_copy_of_its_own(service: Service) -> None:
    """It is completed at once with the same bytes, and lives on when the first one is deleted and purged."""
    first = service.create(seed="3")
    service.finish()

    again = service.create(seed="3", cache="use")
    service.client.delete(f"/v1/videos/{first['id']}")
    for blob in list(service.storage.list_prefix(f"outputs/{first['id']}/")):
        service.storage.delete(blob.key)

    assert (again["status"], again["cache_hit"], again["progress"]) == ("completed", True, 100)
    assert again["id"] != first["id"]
    assert service.client.get(f"/v1/videos/{again['id']}/content").content == MP4
    assert service.client.get(f"/v1/videos/{again['id']}/content?variant=thumbnail").content == JPEG
    assert service.client.get(f"/v1/videos/{again['id']}/content?variant=spritesheet").content == SHEET
    events = service.store.events(again["id"], after_seq=0, limit=9)
    assert [(event.seq, event.type) for event in events] == [(1, "video.queued"), (2, "video.completed")]


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": "3"},
        {"seed": "4", "cache": "use"},
        {"seed": "3", "cache": "use", "guidance_audio": "2"},
        {"seed": "3", "cache": "use", "audio_start": "0.5"},
    ],
    ids=["not asked for", "other seed", "other knob", "other part of the sound"],
)
def test_other_request_is_made(service: Service, fields: dict[str, str]) -> None:
    """Only what was asked for, and only the very same."""
    service.create(seed="3")
    service.finish()

    video = service.create(**fields)

    assert (video["status"], video["cache_hit"]) == ("queued", False)


def test_result_of_another_engine_does_not_count(service: Service) -> None:
    """With other weights loaded, or nobody there to tell, the video is made anew."""
    service.create(seed="3")
    service.finish()
    _beat(service, {"device": "cuda"})

    assert service.create(seed="3", cache="use")["status"] == "queued"
    Roster(service.store.database).leave("a")
    assert service.create(seed="3", cache="use")["status"] == "queued"


def test_damaged_result_is_made_anew(service: Service) -> None:
    """A stored video that is not the one that was made is never passed on."""
    first = service.create(seed="3")
    service.finish()
    (blob,) = (item for item in service.storage.list_prefix(f"outputs/{first['id']}/") if item.key.endswith(".mp4"))
    service.storage.put_bytes(blob.key, MP4[:-1] + b"?", content_type="video/mp4")

    assert service.create(seed="3", cache="use")["status"] == "queued"


def test_requests_without_a_seed_share_one(service: Service) -> None:
    """Who does not care for the seed gets the same video again."""
    first = service.create(cache="use")
    service.finish()

    again = service.create(cache="use")

    assert (again["seed"], again["cache_hit"]) == (first["seed"], True)


def test_nobody_gets_another_tenants_video(service: Service) -> None:
    """The same request of another tenant finds nothing."""
    video = service.create(seed="3")
    service.finish()
    request = service.store.get(video["id"], tenant="default").request

    assert service.store.find_result(request, tenant="default") is not None
    assert service.store.find_result(request, tenant="other") is None


def test_deadline_and_life_are_kept(service: Service) -> None:
    """A deadline counts from the request, a life from the end, and no life is longer than the server's."""
    video = service.create(deadline_seconds="100", ttl_seconds="60")
    service.finish()
    ended = service.client.get(f"/v1/videos/{video['id']}").json()
    forever = service.create(ttl_seconds="1e9")
    service.finish()
    bounded = service.client.get(f"/v1/videos/{forever['id']}").json()

    assert abs(video["deadline_at"] - video["created_at"] - 100) <= 1
    assert abs(ended["expires_at"] - ended["completed_at"] - 60) <= 1
    assert abs(bounded["expires_at"] - bounded["completed_at"] - 7 * 86_400) <= 1
    assert service.post(prompt="p", ttl_seconds="1").status_code == 422
    assert service.post(prompt="p", deadline_seconds="0").status_code == 422
