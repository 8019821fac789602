"""Celery's consumer of tickets, which drops one that is malformed in itself instead of ending with it.

Celery lets a message that it does not understand go, but one that its transport cannot take apart ends the worker, and
one that breaks its handling is delivered again, to end the next. Here both are gone, and the worker is still there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from celery.exceptions import WorkerLostError
from celery.worker.consumer import Consumer

if TYPE_CHECKING:
    from collections.abc import Callable

logger = structlog.get_logger(__name__)


class MalformedTicket(Exception):
    """The broker held something that is no message."""


class TicketConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Reads on behind whatever is not a ticket."""

    loop: Callable[..., None]
    connection_errors: tuple[type[Exception], ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (Celery's, handed on)
        super().__init__(*args, **kwargs)
        read = self.loop
        passed_on = (*self.connection_errors, OSError, MemoryError, WorkerLostError)

        def read_tickets(*loop_args: object) -> None:
            """Read until the connection or the worker ends. Raises: MalformedTicket, and what Celery raises."""
            try:
                read(*loop_args)
            except passed_on:
                raise
            except Exception as error:
                _tell(error)
                raise MalformedTicket from error

        self.loop = read_tickets
        # What was malformed is off the queue by now: reading goes on as after a lost connection, with a new one.
        self.connection_errors = (*self.connection_errors, MalformedTicket)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:  # noqa: ANN401  (as above)
        """What is done with a message that could be taken apart: Celery's handling, or nothing."""
        handle = super().create_task_handler(*args, **kwargs)

        def handle_or_drop(message: Any) -> None:  # noqa: ANN401  (kombu has no types)
            try:
                handle(message)
            except (OSError, MemoryError):
                raise
            except Exception as error:  # noqa: BLE001  (whatever a forged message breaks; a job is never in one)
                _tell(error)
                if not message.acknowledged:
                    message.ack()

        return handle_or_drop


def _tell(error: Exception) -> None:
    """Log that something was dropped; not what, because anybody may have written it."""
    logger.error("ticket_dropped", error=type(error).__name__)
