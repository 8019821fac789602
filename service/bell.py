"""Rings for the workers, aside: nobody who asks for a video waits for the broker."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

logger = structlog.get_logger(__name__)

MOST_WAITING = 64  # of tickets; workers who are woken look for further jobs by themselves
CLOSE_SECONDS = 2.0


class Bell:
    """Sends tickets from a thread of its own. Called from many threads."""

    def __init__(self, send_ticket: Callable[[], bool]) -> None:
        self._send_ticket = send_ticket
        self._rings: queue.Queue[None] = queue.Queue(MOST_WAITING)
        self._is_closed = False
        self._thread = threading.Thread(target=self._live, name="bell", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """Have a ticket sent; returns at once. A ticket that is never sent costs a job a few seconds."""
        with suppress(queue.Full):  # a broker that takes its time has as many to deliver
            self._rings.put_nowait(None)

    def close(self) -> None:
        """Send no more tickets."""
        self._is_closed = True
        self.ring()
        self._thread.join(CLOSE_SECONDS)

    def _live(self) -> None:
        while True:
            self._rings.get()
            if self._is_closed:
                return
            try:
                self._send_ticket()
            except Exception:
                logger.exception("bell_broke")  # a bug of ours, and no reason to ring for nobody any more
