"""How an installation is, told to those who wait and to those who run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.jobs import RUNNING_STAGES
from workers.roster import Roster, WorkerRecord, WorkerState

if TYPE_CHECKING:
    import pytest
    from http_service import Service

OWN = {"Host": "127.0.0.1:8000"}  # an open server tells only who calls it by its own name


def test_queue_is_told_in_numbers(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything was made there is no guess; then the wait comes from what the last videos took."""
    for name in ("metrics.FRESH_S", "metrics.COST_SHARE", "videos.forecasts.FRESH_S"):
        monkeypatch.setattr(f"service.{name}", 0.0)
    empty = service.client.get("/v1/queue").json()
    assert (empty["waiting"], empty["workers"], empty["wait_seconds"]) == (0, 0, None)
    service.create()
    lease = service.claim()
    for stage in RUNNING_STAGES:
        service.store.report(lease, stage=stage, step=0, total=1, progress=1)
    service.complete(lease)
    Roster(service.store.database).beat(WorkerRecord("w", "host", 1, WorkerState.READY))
    for number in range(2):
        service.create(seed=str(number))

    queue = service.client.get("/v1/queue").json()

    assert (queue["object"], queue["waiting"], queue["running"], queue["workers"]) == ("queue", 2, 0, 1)
    assert queue["wait_seconds"] >= queue["video_seconds"] >= 0


def test_installation_is_told_to_operators(service: Service) -> None:
    """The numbers of this moment; a stranger's host name does not open them."""
    service.create()
    Roster(service.store.database).beat(WorkerRecord("w", "host", 1, WorkerState.READY))

    told = service.client.get("/v1/admin/installation", headers=OWN).json()

    assert service.client.get("/v1/admin/installation").status_code == 403
    assert (told["jobs"]["queued"], told["workers"]["READY"], told["migrations"]) == (1, 1, "current")
    assert abs(told["clock_offset_s"]) < 5
    assert told["database_revision"] == told["known_revision"]
