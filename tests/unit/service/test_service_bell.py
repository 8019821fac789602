"""Tickets that are sent aside: whoever rings waits for no broker."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.bell import MOST_WAITING, Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S = 10.0


@contextmanager
def hanging(send_ticket: Callable[[], bool]) -> Iterator[Bell]:
    """A bell until the end of the block."""
    bell = Bell(send_ticket)
    try:
        yield bell
    finally:
        bell.close()


def test_every_ring_sends_a_ticket() -> None:
    """Each ring is heard once."""
    sent = threading.Semaphore(0)
    with hanging(lambda: sent.release() is None) as bell:
        for _ in range(3):
            bell.ring()
        assert all(sent.acquire(timeout=PATIENCE_S) for _ in range(3))
    assert not sent.acquire(blocking=False)


def test_broker_that_hangs_keeps_nobody_waiting_and_is_owed_a_bounded_number_of_tickets() -> None:
    """Rings return at once, and those beyond the most that may wait are forgotten."""
    is_back, sent = threading.Event(), []

    def send_ticket() -> bool:
        is_back.wait(PATIENCE_S)
        sent.append(time.monotonic())
        return True

    with hanging(send_ticket) as bell:
        began = time.monotonic()
        for _ in range(10 * MOST_WAITING):
            bell.ring()
        assert time.monotonic() - began < PATIENCE_S / 2
        is_back.set()
        while len(sent) < MOST_WAITING and time.monotonic() - began < PATIENCE_S:
            time.sleep(0.01)
    assert MOST_WAITING <= len(sent) <= MOST_WAITING + 2


def test_ticket_that_breaks_silences_no_later_one() -> None:
    """A bug in sending costs its own ticket only."""
    rung = threading.Semaphore(0)

    def send_ticket() -> bool:
        rung.release()
        raise RuntimeError("a bug")

    with hanging(send_ticket) as bell:
        bell.ring()
        bell.ring()
        assert all(rung.acquire(timeout=PATIENCE_S) for _ in range(2))


def test_closed_bell_sends_nothing_more() -> None:
    """Nobody is woken by a service that ends."""
    sent: list[bool] = []
    with hanging(lambda: sent.append(True) is None) as bell:
        pass
    bell.ring()
    time.sleep(0.05)
    assert sent == []
