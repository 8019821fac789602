"""Hostile input 23: messages on the broker that nobody of ours has sent."""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
from typing import TYPE_CHECKING

import pytest
import redis
from kombu import Connection
from kombu.entity import Queue
from worker_installation import Installation, wait_for

from workers.broker import make_app
from workers.contract import QUEUE, TASK
from workers.jobs import JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


ENVELOPE = {"content-type": "application/json", "content-encoding": "utf-8", "headers": {}}
WAY = {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": QUEUE}}
TICKET = {
    "lang": "py",
    "id": "x",
    "root_id": "x",
    "parent_id": None,
    "argsrepr": "()",
    "kwargsrepr": "{}",
    "task": TASK,
}


def envelope(body: object = ((), {}, {}), *, headers: object = None, **changes: object) -> bytes:
    """A message as it lies on the broker, with changes to its parts; None takes one away."""
    text = body if isinstance(body, str) else base64.b64encode(json.dumps(body).encode()).decode()
    properties = {**WAY, "delivery_tag": secrets.token_hex(8), "correlation_id": "x", "reply_to": "x"}
    whole = {**ENVELOPE, "body": text, "properties": properties, "headers": TICKET if headers is None else headers}
    return json.dumps({name: value for name, value in {**whole, **changes}.items() if value is not None}).encode()


MALFORMED = (
    b"",
    b"\x00\xff not JSON",
    b"7",
    b"null",
    b"[]",
    b"{}",
    b"[" * 100_000,
    envelope(properties=None),
    envelope(properties=7),
    envelope(properties={**WAY, "delivery_tag": {}, "delivery_info": 7}),
    envelope("not base64!"),
    envelope(base64.b64encode(b"\xff").decode()),
    envelope(7),
    envelope([7, 7, 7]),
    envelope(headers=7),
    envelope(headers={}),
    envelope(headers={**TICKET, "task": ["x"]}),
    envelope(headers={**TICKET, "id": None}),
    envelope(headers={**TICKET, "id": {}}),
    envelope(headers={**TICKET, "eta": "tomorrow"}),
    envelope(headers={**TICKET, "eta": {}}),
    envelope(headers={**TICKET, "expires": [1]}),
    envelope(headers={**TICKET, "expires": 1e300}),
    envelope(headers={**TICKET, "retries": "x", "timelimit": "x"}),
    envelope(headers={**TICKET, "timelimit": [[], {}]}),
    envelope(**{"content-type": 7}),
    envelope(**{"content-type": "application/x-python-serialize"}),
    envelope(**{"content-encoding": "rot13"}),
)


class Evil:
    """What a pickle may do when it is read."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Make a file instead of an object."""
        return os.mkdir, (str(self._trace),)


@pytest.mark.timeout(150)
def test_23_forged_tickets(tmp_path: Path) -> None:
    """Pickles, unknown tasks and forged ids on the broker do nothing; the worker goes on with real jobs."""
    installation = Installation(tmp_path)
    app = make_app(installation.settings)
    queue = Queue(QUEUE)
    trace = tmp_path / "pickle-was-read"
    forged = {"lang": "py", "id": "x", "root_id": "x", "parent_id": None, "argsrepr": "", "kwargsrepr": ""}
    way = {"routing_key": QUEUE, "declare": [queue]}
    try:
        installation.start_worker()
        with Connection(app.conf.broker_url, transport_options=app.conf.broker_transport_options) as connection:
            producer = connection.Producer()
            producer.publish(Evil(trace), serializer="pickle", **way)
            producer.publish([["true"], {}, {}], serializer="json", headers={**forged, "task": "os.system"}, **way)
            producer.publish([["video_x"], {}, {}], serializer="json", headers={**forged, "task": TASK}, **way)
        job = installation.submit("step_ms=1")

        assert installation.wait_until_final(job).status is JobStatus.COMPLETED
    finally:
        installation.close()
    assert not trace.exists()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("kind", ["embedded", "redis"])
def test_23_malformed_tickets(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """What is no message at all, or breaks its reader, is dropped with a line in the log; the same worker goes on."""
    settings = {"broker_url": request.getfixturevalue("redis_url")} if kind == "redis" else {}
    installation = Installation(tmp_path, **settings)
    put, is_empty = on_redis(settings["broker_url"]) if kind == "redis" else on_disk(installation.settings.broker_dir)
    try:
        worker = installation.start_worker()
        installation.wait_until_final(installation.submit("step_ms=1"))
        for message in MALFORMED:
            put(message)
        wait_for(is_empty, "an empty queue")
        job = installation.submit("step_ms=1", seed=2)

        assert installation.wait_until_final(job).status is JobStatus.COMPLETED
        wait_for(is_empty, "an empty queue")
        assert worker.poll() is None
    finally:
        installation.close()
    log = (tmp_path / "worker.log").read_text()
    assert "ticket_dropped" in log
    assert "Unrecoverable" not in log


def on_disk(folder: Path) -> tuple[Callable[[bytes], None], Callable[[], bool]]:
    """How to put something into the embedded broker, and whether it has been taken."""
    numbers = itertools.count()

    def put(message: bytes) -> None:
        draft = folder / "draft"
        draft.write_bytes(message)
        draft.rename(folder / "queue" / f"{next(numbers):06}_x.{QUEUE}.msg")

    return put, lambda: not any((folder / "queue").iterdir())


def on_redis(url: str) -> tuple[Callable[[bytes], None], Callable[[], bool]]:
    """The same with Redis, where what is handled but not acknowledged lies beside the queue.

    Workers that other tests have killed leave such messages there for minutes: it begins empty.
    """
    client = redis.Redis.from_url(url)
    client.flushdb()
    keys = (f"keyvid:{QUEUE}", "keyvid:unacked", "keyvid:unacked_index")

    def put(message: bytes) -> None:
        client.lpush(keys[0], message)

    return put, lambda: not any(map(client.exists, keys))
