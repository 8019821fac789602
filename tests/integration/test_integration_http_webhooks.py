"""Webhooks over HTTP: managed by a caller, sent by a real dispatcher process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from http_service import Service, serving
from standardwebhooks.webhooks import Webhook

from service.settings import ServiceSettings
from tests.receivers import Receiver, receiving
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDPOINTS = "/v1/webhook-endpoints"
DELIVERIES = "/v1/webhook-deliveries"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service whose webhooks may reach this machine."""
    with serving(ServiceSettings(data_dir=tmp_path, webhook_private_hosts=("127.0.0.1",))) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that says 204."""
    with receiving() as running:
        yield running


@pytest.fixture
def dispatcher(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A dispatcher process on the same data folder."""
    environment = {
        **os.environ,
        "KEYVID_DATA_DIR": str(tmp_path),
        "KEYVID_DISPATCH_SECONDS": "0.1",
        "KEYVID_WEBHOOK_PRIVATE_HOSTS": '["127.0.0.1"]',
    }
    process = subprocess.Popen([sys.executable, "-m", "keyvid", "dispatcher"], env=environment)
    yield process
    process.terminate()
    assert process.wait(30) == 0


def _create(service: Service, **fields: object) -> dict[str, Any]:
    reply = service.client.post(ENDPOINTS, json=fields)
    assert reply.status_code == 201, reply.text
    assert reply.headers["location"] == f"{ENDPOINTS}/{reply.json()['id']}"
    created: dict[str, Any] = reply.json()
    return created


@pytest.mark.usefixtures("dispatcher")
def test_finished_video_is_told_by_a_process_of_its_own(service: Service, receiver: Receiver) -> None:
    """A caller subscribes, a video completes, and the receiver gets one signed webhook for each change."""
    secret = _create(service, url=receiver.url, events=["video.started", "video.completed"])["secret"]
    video_id = service.create()["id"]
    service.finish()

    wait_until(lambda: len(receiver.received) == 2, what="both webhooks")

    events = []
    for got in receiver.received:
        headers = {name.lower(): value for name, value in got.headers.items()}
        events.append(Webhook(secret).verify(got.body, headers))
    assert {event["type"] for event in events} == {"video.started", "video.completed"}
    assert {event["data"]["id"] for event in events} == {video_id}

    def settled() -> bool:
        listed = service.client.get(f"{DELIVERIES}?status=delivered").json()["data"]
        return {item["video_id"] for item in listed} == {video_id} and len(listed) == 2

    wait_until(settled, what="deliveries to be settled")


@pytest.mark.usefixtures("dispatcher")
def test_test_and_redelivery_reach_the_receiver(service: Service, receiver: Receiver) -> None:
    """Both are asked for by hand and sent as every other webhook."""
    endpoint = _create(service, url=receiver.url)

    test = service.client.post(f"{ENDPOINTS}/{endpoint['id']}/test")
    wait_until(lambda: len(receiver.received) == 1, what="the test")
    again = service.client.post(f"{DELIVERIES}/{test.json()['id']}/redeliver")
    wait_until(lambda: len(receiver.received) == 2, what="the redelivery")

    assert (test.status_code, again.status_code) == (202, 202)
    assert json.loads(receiver.received[0].body)["type"] == "webhook.test"
    ids = {got.headers["webhook-id"] for got in receiver.received}
    assert ids == {test.json()["id"]}


def test_endpoint_is_created_shown_changed_and_deleted(service: Service, receiver: Receiver) -> None:
    """Its secret is shown when it is made and when it is rotated, and never else."""
    created = _create(service, url=receiver.url, description="ci")
    path = f"{ENDPOINTS}/{created['id']}"

    shown = service.client.get(path).json()
    changed = service.client.patch(path, json={"events": ["video.failed"], "enabled": False}).json()
    rotated = service.client.post(f"{path}/rotate-secret")
    listed = service.client.get(ENDPOINTS)

    assert created["secret"].startswith("whsec_")
    assert {key: created[key] for key in shown} == shown
    assert (changed["events"], changed["enabled"], changed["disabled_reason"]) == (["video.failed"], False, "caller")
    assert rotated.status_code == 201
    assert rotated.json()["secret"] != created["secret"]
    assert "secret" not in listed.text
    assert service.client.post(f"{path}/test").json()["code"] == "endpoint_disabled"
    assert service.client.delete(path).json()["deleted"] is True
    for method, suffix in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/rotate-secret")):
        assert service.client.request(method, path + suffix).status_code == 404
    assert service.client.patch(path, json={}).status_code == 404
    assert service.client.post(f"{DELIVERIES}/none/redeliver").status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://localhost/",
        "https://0x7f.1/",
        "https://2130706433/",
        "http://example.com/",
        "https://user:pw@example.com/",
        "https://example.com:6379/",
        "https://no-such-host.invalid/",
        "file:///etc/passwd",
        "not a url",
    ],
)
def test_address_that_must_not_be_reached_is_422(service: Service, url: str) -> None:
    """An endpoint can neither be made with nor changed to an address inside."""
    made = service.client.post(ENDPOINTS, json={"url": url})

    assert (made.status_code, made.json()["error"]["param"]) == (422, "url")
    assert service.client.get(ENDPOINTS).json()["data"] == []


def test_nameserver_that_does_not_answer_holds_nothing_else(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an answer in time does not resolve, and meanwhile only such requests wait."""
    released = threading.Event()

    def stalled(_target: object) -> None:
        released.wait(20)

    monkeypatch.setattr("service.webhooks.routes.RESOLVE_S", 1.0)
    monkeypatch.setattr("service.webhooks.service.checked_addresses", stalled)
    with ThreadPoolExecutor(60) as callers:
        asked = [callers.submit(service.client.post, ENDPOINTS, json={"url": "https://a.example/"}) for _ in range(60)]
        assert service.client.get("/v1/videos").status_code == 200
        replies = [one.result() for one in asked]
        released.set()

    assert {(reply.status_code, reply.json()["error"]["param"]) for reply in replies} == {(422, "url")}


def test_change_to_an_address_inside_is_refused(service: Service, receiver: Receiver) -> None:
    """A good endpoint cannot be turned."""
    endpoint = _create(service, url=receiver.url)

    reply = service.client.patch(f"{ENDPOINTS}/{endpoint['id']}", json={"url": "https://192.168.0.1/"})

    assert reply.status_code == 422
    assert service.client.get(f"{ENDPOINTS}/{endpoint['id']}").json()["url"] == receiver.url


@pytest.mark.parametrize("fields", [{}, {"url": "https://a.example", "evnts": []}, {"events": ["video.progress"]}])
def test_fields_that_mean_nothing_are_422(service: Service, fields: dict[str, object]) -> None:
    """A missing url, a misspelt field, and a kind that is never sent."""
    assert service.client.post(ENDPOINTS, json=fields).status_code == 422


def test_eleventh_endpoint_is_409(service: Service, receiver: Receiver) -> None:
    """The number of endpoints is bounded."""
    for _ in range(10):
        _create(service, url=receiver.url)

    reply = service.client.post(ENDPOINTS, json={"url": receiver.url})

    assert (reply.status_code, reply.json()["code"]) == (409, "too_many_endpoints")
