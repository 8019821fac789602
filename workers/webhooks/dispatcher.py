"""The dispatcher: sends the webhooks that are due. A process of its own: whatever receivers do, jobs go on."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog

from workers import metrics
from workers.database import Database, upgrade
from workers.errors import Transient
from workers.failpoints import Failpoint, reach
from workers.logs import named
from workers.memory import settle_memory
from workers.schema import announce
from workers.traces import NO_TRACER, open_tracer
from workers.webhooks.address import TargetRefused, TargetUnknown, checked_addresses, look_up, parse_target
from workers.webhooks.due import DueDeliveries
from workers.webhooks.sending import PostFailed, post
from workers.webhooks.signature import signed_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workers.settings import Settings
    from workers.traces import Tracer
    from workers.webhooks.address import Resolve
    from workers.webhooks.messages import DueDelivery
    from workers.webhooks.sending import Reply

logger = structlog.get_logger(__name__)

AT_ONCE = 16  # tries under way
JITTER = 0.2
OUTAGE_WAIT_S = 2.0
SWEEP_PERIOD_S = 3600.0
KEEP_SETTLED_S = 30 * 86_400.0
USER_AGENT = "keyvid-webhooks"


class Dispatcher:
    """Takes what is due, and tries each in a thread.

    resolve, jitter: how names are looked up, and by how much waits are stretched; tests replace them.
    """

    def __init__(
        self,
        settings: Settings,
        deliveries: DueDeliveries,
        *,
        tracer: Tracer = NO_TRACER,
        resolve: Resolve = look_up,
        jitter: Callable[[], float] = lambda: random.uniform(1 - JITTER, 1 + JITTER),
    ) -> None:
        self._settings = settings
        self._deliveries = deliveries
        self._tracer = tracer
        self._resolve = resolve
        self._jitter = jitter
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")

    def run(self, stop: threading.Event) -> None:
        """Dispatch until told to stop, forgetting what is long settled; then end the tries that are under way."""
        wait_s = 0.0
        swept_at = float("-inf")
        while not stop.wait(wait_s):
            try:
                wait_s = 0.0 if self.dispatch() else self._settings.dispatch_seconds
                if time.monotonic() - swept_at >= SWEEP_PERIOD_S:
                    swept_at = time.monotonic()
                    self._deliveries.forget_settled(after_s=KEEP_SETTLED_S)
            except Transient as error:
                logger.warning("dispatch_delayed", reason=type(error).__name__)
                wait_s = OUTAGE_WAIT_S
        self._pool.shutdown()

    def dispatch(self) -> Sequence[Future[None]]:
        """Begin a try of everything that is due and for which there is room. Raises: StoreUnavailable."""
        with self._lock:
            busy = +self._busy
        room = AT_ONCE - busy.total()
        taken = self._deliveries.take(limit=room, busy=busy) if room > 0 else []
        with self._lock:
            self._busy.update(due.endpoint_id for due in taken)
        return [self._pool.submit(self._try, due) for due in taken]

    def _try(self, due: DueDelivery) -> None:
        with named(due.origin, job_id=due.job_id, delivery_id=due.id, endpoint_id=due.endpoint_id):
            try:
                began_at = time.monotonic()
                span = self._tracer.begin(
                    "webhook",
                    parent=due.origin.traceparent,
                    kind="client",
                    delivery_id=due.id,
                    try_number=due.try_number,
                )
                reply, error = self._send(due)
                reach(Failpoint.WEBHOOK_SENT)
                span.end(failure=error)
                metrics.WEBHOOK_SECONDS.labels(error or "delivered").observe(time.monotonic() - began_at)
                is_done = reply is not None and reply.is_success
                logger.info("webhook_tried", is_done=is_done, try_number=due.try_number, error=error)
                self._deliveries.settle(due, reply=reply, error=error, jitter=self._jitter())
            except Transient as outage:  # it is due again when its hold ends, under the same id
                logger.warning("webhook_unsettled", reason=type(outage).__name__)
            except Exception:
                logger.exception("webhook_broke")
            finally:
                with self._lock:
                    self._busy[due.endpoint_id] -= 1

    def _send(self, due: DueDelivery) -> tuple[Reply | None, str | None]:
        """Post one webhook; answers the reply, or a word for what went wrong."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            **signed_headers(due.secrets, webhook_id=due.id, timestamp=int(due.at), body=due.body),
        }
        try:
            target = parse_target(due.url, private_hosts=self._settings.webhook_private_hosts)
            address = checked_addresses(target, resolve=self._resolve)[0]
            timeout_s = self._settings.webhook_timeout_seconds
            reply = post(target, address, headers=headers, body=due.body, timeout_s=timeout_s)
        except TargetRefused:
            return None, "address_refused"
        except TargetUnknown:
            return None, "host_unknown"
        except PostFailed as error:
            return None, str(error)
        return reply, None if reply.is_success else "bad_status"


def run_dispatcher(settings: Settings, stop: threading.Event) -> None:
    """Be a dispatcher until told to stop.

    Raises: StoreUnavailable when there is no database to begin with.
    """
    announce(upgrade(settings.database_url))
    database = Database(settings.database_url)
    tracer = open_tracer(settings, process="dispatcher")
    dispatcher = Dispatcher(settings, DueDeliveries(database), tracer=tracer)
    settle_memory()
    logger.info("dispatcher_started")
    try:
        dispatcher.run(stop)
    finally:
        tracer.close()
        database.close()
