"""The Celery app and its delivery policy.

A ticket says "look for work" and nothing else. It may be lost, doubled or late: the job row is what counts, idle
workers look for rows by themselves, and the reconciler sends tickets again. So tickets are acknowledged before the
work, there is no result backend, and sending one never fails an accepted job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import KombuError

from workers import metrics
from workers.contract import QUEUE, TASK
from workers.failpoints import Failpoint, reach

if TYPE_CHECKING:
    from workers.settings import Settings

logger = structlog.get_logger(__name__)

EMBEDDED_URL = "filesystem://localhost//"  # kombu wants a host, and warns without one
TICKET_LIFE_S = 600  # an older ticket is dropped unread: whatever it announced was found by a poll long ago
PUBLISH_TIMEOUT_S = 1.0
BROKER_POLL_S = 0.05  # a look at an empty folder takes some microseconds


def make_app(settings: Settings) -> Celery:
    """Make the Celery app for the broker that the settings name."""
    app = Celery("keyvid", set_as_current=False)
    app.conf.update(
        broker_url=EMBEDDED_URL if _is_embedded(settings) else settings.broker_url,
        broker_transport_options=_transport_options(settings),
        broker_connection_timeout=PUBLISH_TIMEOUT_S,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_queues=[Queue(QUEUE)],  # type: ignore[no-untyped-call]  # kombu has no types
        task_default_queue=QUEUE,
        task_create_missing_queues=False,
        task_acks_late=False,
        task_ignore_result=True,
        task_store_eager_result=False,
        task_serializer="json",
        accept_content=["json"],
        worker_consumer="workers.ticket_consumer:TicketConsumer",
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


class Broker:
    """Sends tickets."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        connection = app.connection_for_write()
        self._outages: tuple[type[Exception], ...] = (
            KombuError,
            OSError,
            *connection.connection_errors,
            *connection.channel_errors,
        )

    def send_ticket(self) -> bool:
        """Tell the workers that there is work; says whether the broker took it, and raises nothing if it did not."""
        reach(Failpoint.TICKET_SENDING)
        try:
            self._app.send_task(TASK, queue=QUEUE, expires=TICKET_LIFE_S, retry=False, ignore_result=True)
        except self._outages as error:
            logger.warning("ticket_not_sent", reason=type(error).__name__)
            metrics.TICKETS.labels("not_sent").inc()
            return False
        metrics.TICKETS.labels("sent").inc()
        reach(Failpoint.TICKET_SENT)
        return True

    def is_up(self) -> bool:
        """Whether the broker answers now."""
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=PUBLISH_TIMEOUT_S)
                connection.default_channel  # noqa: B018 - opening it is the question
        except self._outages:
            return False
        return True

    def close(self) -> None:
        """Close the pooled connections."""
        self._app.close()


def open_broker(settings: Settings) -> Broker:
    """Open the broker that the settings name."""
    return Broker(make_app(settings))


def _is_embedded(settings: Settings) -> bool:
    return settings.broker_url.startswith("filesystem:")


def _transport_options(settings: Settings) -> dict[str, Any]:
    if not _is_embedded(settings):
        return {
            "health_check_interval": 25,
            "socket_keepalive": True,
            "socket_timeout": 30,
            "socket_connect_timeout": PUBLISH_TIMEOUT_S,
            "retry_on_timeout": True,
            "global_keyprefix": "keyvid:",
        }
    for name in ("queue", "control"):
        (settings.broker_dir / name).mkdir(parents=True, exist_ok=True)
    queue = str(settings.broker_dir / "queue")
    return {
        "data_folder_in": queue,
        "data_folder_out": queue,  # both the same: whoever reads finds what anybody wrote
        "control_folder": str(settings.broker_dir / "control"),
        "store_processed": False,
        "polling_interval": BROKER_POLL_S,
    }
