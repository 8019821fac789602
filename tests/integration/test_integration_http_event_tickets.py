"""Event streams opened by tickets, on a server that asks for keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from http_service import JPEG, WAV, Service, events_of, serving

from service.settings import ServiceSettings
from workers.access import NO_LIMITS, OPERATOR, Scope
from workers.key_store import KeyStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TENANT = "studio"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that asks for keys, with nothing in it."""
    with serving(ServiceSettings(data_dir=tmp_path, auth="required", event_poll_seconds=0.02)) as running:
        yield running


def _key(service: Service, *scopes: Scope) -> dict[str, str]:
    """The header of a new key."""
    keys = KeyStore(service.store.database, default_limits=NO_LIMITS)
    _, secret = keys.create(tenant=TENANT, name="test", scopes=scopes, actor=OPERATOR)
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def video(service: Service) -> str:
    """The path of a cancelled video: its stream ends by itself."""
    headers = _key(service, Scope.VIDEOS_READ, Scope.VIDEOS_WRITE)
    files = {"input_reference": ("cat.jpg", JPEG), "audio": ("meow.wav", WAV)}
    reply = service.client.post("/v1/videos", data={"prompt": "p"}, files=files, headers=headers)
    path = f"/v1/videos/{reply.json()['id']}"
    assert service.client.post(f"{path}/cancel", headers=headers).json()["status"] == "cancelled"
    return path


def test_ticket_opens_one_stream_without_a_key(service: Service, video: str) -> None:
    """A key that may only read makes it; EventSource's own request uses it up; `after` goes on from an event."""
    reader = _key(service, Scope.VIDEOS_READ)
    made = [service.client.post(f"{video}/event-tickets", headers=reader) for _ in range(2)]
    first, second = (reply.json()["url"] for reply in made)

    stream = service.client.get(first)
    again = service.client.get(first)
    replayed = service.client.get(f"{second}&after=1")

    assert [reply.status_code for reply in made] == [201, 201]
    assert [name for _, name, _ in events_of(stream)] == ["video.snapshot"]
    assert (again.status_code, again.json()["code"]) == (401, "invalid_ticket")
    assert [name for _, name, _ in events_of(replayed)] == ["video.snapshot", "video.cancelled"]


def test_ticket_opens_nothing_else(service: Service, video: str) -> None:
    """Not the video, not its content, and not without being a ticket."""
    reader = _key(service, Scope.VIDEOS_READ)
    ticket = service.client.post(f"{video}/event-tickets", headers=reader).json()["ticket"]

    for path in (video, f"{video}/content", "/v1/videos"):
        assert service.client.get(path, params={"ticket": ticket}).status_code == 401
    assert service.client.get("/v1/videos/video_other/events", params={"ticket": ticket}).status_code == 401
    assert service.client.get(f"{video}/events", params={"ticket": "x"}).status_code == 401
    assert service.client.get(f"{video}/events").status_code == 401


def test_ticket_is_made_for_those_who_may_read(service: Service, video: str) -> None:
    """No key, another scope, another tenant, an unknown video: no ticket."""
    keys = KeyStore(service.store.database, default_limits=NO_LIMITS)
    _, secret = keys.create(tenant="other", name="test", scopes=[Scope.VIDEOS_READ], actor=OPERATOR)
    path = f"{video}/event-tickets"

    assert service.client.post(path).status_code == 401
    assert service.client.post(path, headers=_key(service, Scope.FILES)).status_code == 403
    assert service.client.post(path, headers={"Authorization": f"Bearer {secret}"}).status_code == 404


def test_stream_with_a_key_needs_its_scope(service: Service, video: str) -> None:
    """Without a ticket the stream is guarded as everything else is."""
    assert service.client.get(f"{video}/events", headers=_key(service, Scope.VIDEOS_READ)).status_code == 200
    assert service.client.get(f"{video}/events", headers=_key(service, Scope.FILES)).status_code == 403
