"""What every broker must do: carry a ticket to a worker, and never stand in the way of an accepted job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from workers.broker import Broker, make_app, open_broker
from workers.contract import QUEUE, TASK
from workers.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

DEAD_URL = "redis://127.0.0.1:9/0"


@pytest.fixture(params=["filesystem", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of an installation with an empty broker."""
    url = "filesystem://" if request.param == "filesystem" else request.getfixturevalue("redis_url")
    return Settings(data_dir=tmp_path, broker_url=url)


def test_ticket_arrives(settings: Settings) -> None:
    """Another process on the same broker receives what was sent, and it carries nothing."""
    broker = open_broker(settings)

    assert broker.is_up()
    assert broker.send_ticket()

    with make_app(settings).connection_for_read() as connection:
        message = connection.SimpleQueue(QUEUE, serializer="json").get(timeout=10)
        message.ack()
    assert message.headers["task"] == TASK
    assert message.payload[:2] == [[], {}]
    broker.close()


def test_dead_broker_only_says_so(tmp_path: Path) -> None:
    """Sending fails without an error, soon enough for a caller that waits."""
    broker = Broker(make_app(Settings(data_dir=tmp_path, broker_url=DEAD_URL)))
    started = time.monotonic()

    assert not broker.send_ticket()
    assert not broker.is_up()

    assert time.monotonic() - started < 30
    broker.close()
