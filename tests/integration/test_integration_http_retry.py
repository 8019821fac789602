"""Making a video once more over HTTP, and what is told of its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from http_service import Service, serving

from service.settings import ServiceSettings
from workers.database import Database
from workers.jobs import RUNNING_STAGES, Failure
from workers.roster import Roster, WorkerRecord, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    """An installation of its own."""
    return ServiceSettings(data_dir=tmp_path)


@pytest.fixture
def service(settings: ServiceSettings) -> Iterator[Service]:
    """A service with nothing in it."""
    with serving(settings) as running:
        yield running


def test_failed_video_is_made_once_more(service: Service) -> None:
    """The first retry is accepted as a video of its own, the second one shows the same."""
    video = service.create(seed="5", metadata='{"a": "b"}')
    service.store.fail(service.claim(), Failure("internal", "It broke."))
    path = f"/v1/videos/{video['id']}/retry"

    first, second = service.client.post(path), service.client.post(path)

    again = first.json()
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.headers["location"] == f"/v1/videos/{again['id']}"
    assert again["id"] == second.json()["id"] != video["id"]
    assert again["retried_from_video_id"] == video["id"]
    assert (again["seed"], again["metadata"], again["input"]) == (5, {"a": "b"}, video["input"])
    assert (again["status"], again["queue_position"], again["attempt"]) == ("queued", 1, 0)


def test_retry_of_a_video_that_may_still_come_is_409(service: Service) -> None:
    """The answer tells clients not to repeat it by themselves; an unknown video is 404."""
    reply = service.client.post(f"/v1/videos/{service.create()['id']}/retry")

    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
    assert reply.headers["x-should-retry"] == "false"
    assert service.client.post("/v1/videos/video_none/retry").status_code == 404


def test_estimate_appears_once_it_was_measured(
    service: Service, settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first video is told no time; with a finished one and a warm worker there is one, longer further back."""
    monkeypatch.setattr("service.videos.forecasts.FRESH_S", -1.0)
    unmeasured = service.create()
    lease = service.claim()
    for stage in RUNNING_STAGES:
        service.store.report(lease, stage=stage, step=0, total=1, progress=1)
        time.sleep(0.06)
    service.complete(lease)
    database = Database(settings.database_url)
    Roster(database).beat(WorkerRecord("a", "host", 1, WorkerState.READY, engine={"model": "keyvid-mini"}))
    database.close()

    first, second = service.create(), service.create()

    assert unmeasured["eta_seconds"] is None
    assert 0 < first["eta_seconds"] < second["eta_seconds"]
