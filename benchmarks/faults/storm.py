"""The kill storm: 200 jobs while every few seconds a random process is killed and servers lose what they hold."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import redis
from sqlalchemy import func, select

from benchmarks.faults.callers import CANCELLED, COMPLETED, FAILED, Caller, Ledger, send_inputs
from benchmarks.faults.fleet import Fleet, wait_for
from benchmarks.faults.invariants import check_installation
from tests.receivers import receiving
from tests.servers import make_postgres, make_redis, postgres_url_of, redis_url_of
from workers.errors import StoreUnavailable
from workers.jobs import JobStatus
from workers.tables import JobRow, WebhookDeliveryRow
from workers.webhooks.messages import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.faults.callers import Inputs
    from tests.receivers import Receiver

CALLERS = 6
MAX_ATTEMPTS = 8  # a storm may hit the same healthy job several times: that must not look like poison
WEBHOOKS_S = 150.0  # a webhook that was under way when its dispatcher died is due again after two minutes
PACE_S = 0.05


@dataclass(frozen=True, slots=True)
class Storm:
    """How hard it blows: jobs and kinds of them, seconds between kills, and the time after which all must be done."""

    jobs: int = 200
    cancels: int = 30
    poison: int = 4
    period_s: tuple[float, float] = (2.0, 6.0)
    limit_s: float = 1200.0
    seed: int = 1


SHORT = Storm(jobs=14, cancels=3, poison=1, period_s=(1.5, 3.0), limit_s=420.0)


@dataclass
class Trouble:
    """Servers to be troubled, at shares of the jobs that have ended; empty for the embedded backends."""

    acts: list[tuple[float, str, Callable[[], None]]] = field(default_factory=list)


def blow(storm: Storm, *, on_servers: bool, say: Callable[[str], None]) -> Mapping[str, object]:
    """Run one storm; answers its figures, with everything that is broken under `broken`."""
    began = time.monotonic()
    chance = random.Random(storm.seed)
    ledger = Ledger()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keyvid-storm-")))
        settings, trouble = stack.enter_context(_servers(folder)) if on_servers else ({}, Trouble())
        settings = {**settings, "max_attempts": str(MAX_ATTEMPTS)}
        receiver = stack.enter_context(receiving())
        fleet = stack.enter_context(Fleet(folder / "data", workers=2, settings=settings))
        say("ready")
        caller = Caller(fleet.url, ledger)
        caller.ask("POST", "/v1/webhook-endpoints", json={"url": receiver.url})
        healthy = send_inputs(caller)
        poison = [send_inputs(caller, number=number + 1) for number in range(storm.poison)]
        kills: Counter[str] = Counter()
        over = threading.Event()
        killer = threading.Thread(target=_kill, args=(fleet, storm, chance, over, kills))
        killer.start()
        try:
            with ThreadPoolExecutor(CALLERS) as pool:
                calls = [
                    pool.submit(_call, fleet.url, ledger, kind, number, healthy=healthy, poison=poison, seed=storm.seed)
                    for number, kind in enumerate(_kinds(storm, chance))
                ]
                _wait_out(fleet, storm, trouble, say)
                for call in calls:
                    call.result()
        finally:
            over.set()
            killer.join()
        fleet.wait_until_ready()
        _settle(fleet, storm)
        say(f"all ended after {time.monotonic() - began:.0f} s; waiting for webhooks")
        wait_for(lambda: _owed(fleet) == 0, what="delivery of all webhooks", within_s=WEBHOOKS_S)
        figures = _figures(fleet, receiver)
        strangers = fleet.strangers()
        broken = check_installation(
            fleet.database, fleet.settings, ledger, received=receiver.received, strangers=strangers
        )
        caller.close()
    return {
        "seconds": round(time.monotonic() - began, 1),
        "accepted": len(ledger.accepted),
        "kills": dict(sorted(kills.items())),
        "troubles": [name for _, name, _ in trouble.acts],
        "answers": {str(status): number for status, number in sorted(ledger.statuses.items())},
        **figures,
        "broken": broken,
    }


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[Mapping[str, str], Trouble]]:
    """PostgreSQL that keeps its data and Redis that does not, with what is to happen to them."""
    places = [folder / "postgres", folder / "redis"]
    for place in places:
        place.mkdir()
    postgres, broker = make_postgres(places[0], is_durable=True), make_redis(places[1])
    postgres.start()
    broker.start()

    def restart_redis() -> None:
        broker.crash()
        time.sleep(2)
        broker.start()

    def restart_postgres() -> None:
        postgres.crash()
        time.sleep(2)
        postgres.start()

    def flush() -> None:
        with redis.Redis.from_url(redis_url_of(broker)) as client:
            client.flushall()

    acts = [
        (0.2, "FLUSHALL", flush),
        (0.35, "Redis killed and restarted", restart_redis),
        (0.5, "PostgreSQL killed and restarted", restart_postgres),
        (0.7, "FLUSHALL", flush),
    ]
    try:
        yield {"database_url": postgres_url_of(postgres), "broker_url": redis_url_of(broker)}, Trouble(acts)
    finally:
        broker.stop()
        postgres.stop()


def _kinds(storm: Storm, chance: random.Random) -> list[str]:
    kinds = ["poison"] * storm.poison + ["cancel"] * storm.cancels
    kinds += ["work"] * (storm.jobs - len(kinds))
    chance.shuffle(kinds)
    return kinds


def _call(
    url: str, ledger: Ledger, kind: str, number: int, *, healthy: Inputs, poison: list[Inputs], seed: int
) -> None:
    """Be one caller with one video."""
    chance = random.Random(seed * 100_003 + number)
    caller = Caller(url, ledger)
    try:
        if kind == "poison":
            video_id = caller.create("crash step_ms=1", inputs=poison[number % len(poison)], key=f"storm-{number}")
            # An attempt that ended because the storm hit its worker says nothing of the input.
            ledger.accept(video_id, FAILED, codes=("poison_input", "worker_crashed"))
            return
        steps_ms = chance.choice((30, 60, 120))
        video_id = caller.create(f"step_ms={steps_ms}", inputs=healthy, key=f"storm-{number}")
        ledger.accept(video_id, *((COMPLETED, CANCELLED) if kind == "cancel" else (COMPLETED,)))
        if kind == "cancel":
            time.sleep(chance.uniform(0, 3))
            caller.ask("POST", f"/v1/videos/{video_id}/cancel")
        time.sleep(PACE_S)
    finally:
        caller.close()


def _kill(fleet: Fleet, storm: Storm, chance: random.Random, over: threading.Event, kills: Counter[str]) -> None:
    while not over.wait(chance.uniform(*storm.period_s)):
        if fleet.warm_workers() == 0:  # where starting takes longer than the next kill, nothing would ever be made
            continue
        kills[fleet.kill_one(chance)] += 1


def _wait_out(fleet: Fleet, storm: Storm, trouble: Trouble, say: Callable[[str], None]) -> None:
    """Wait until all jobs have ended, troubling the servers on the way. Raises: TimeoutError."""
    deadline = time.monotonic() + storm.limit_s
    acts = list(trouble.acts)
    said_at = 0.0
    while (ended := _ended(fleet)) < storm.jobs:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{ended} of {storm.jobs} jobs ended within {storm.limit_s:g} s")
        if acts and ended >= acts[0][0] * storm.jobs:
            _, name, act = acts.pop(0)
            act()
            say(name)
        if time.monotonic() - said_at > 10:
            said_at = time.monotonic()
            say(f"{ended} of {storm.jobs} jobs ended")
        time.sleep(0.3)


def _ended(fleet: Fleet) -> int:
    final = [status for status in JobStatus if status.is_terminal]
    try:
        with fleet.database.read() as transaction:
            query = select(func.count()).select_from(JobRow).where(JobRow.status.in_(final))
            return int(transaction.session.scalar(query) or 0)
    except StoreUnavailable:
        return 0


def _settle(fleet: Fleet, storm: Storm) -> None:
    """Wait until nothing runs any more."""
    wait_for(lambda: _ended(fleet) >= storm.jobs, what="end of all jobs", within_s=60)
    wait_for(lambda: not fleet.strangers(), what="end of orphans", within_s=30)


def _owed(fleet: Fleet) -> int:
    with fleet.database.read() as transaction:
        query = select(func.count()).where(WebhookDeliveryRow.status == DeliveryStatus.PENDING)
        return int(transaction.session.scalar(query) or 0)


def _figures(fleet: Fleet, receiver: Receiver) -> Mapping[str, object]:
    with fleet.database.read() as transaction:
        states = select(JobRow.status, func.count().label("jobs")).group_by(JobRow.status).order_by(JobRow.status)
        tries = transaction.session.scalar(select(func.sum(JobRow.fence))) or 0
        return {
            "ended": {row.status: row.jobs for row in transaction.session.execute(states)},
            "attempts": int(tries),
            "webhooks received": len(receiver.received),
            "deaths": {name: member.deaths for name, member in fleet.members.items()},
        }
