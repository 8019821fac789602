"""A crash at every boundary: a process dies there once while a job goes its way, is started again, and nothing is lost.

The boundaries come from the code: two for each transaction that writes, and those of `workers.failpoints`.
"""

from __future__ import annotations

import ast
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

import workers
from benchmarks.faults.callers import Caller, Ledger, send_inputs
from benchmarks.faults.fleet import Fleet, wait_for
from benchmarks.faults.invariants import check_ends, check_histories, check_installation
from benchmarks.faults.scenarios import PLACES, TRANSACTIONS, Stage
from tests.receivers import receiving
from workers.access import NO_LIMITS, OPERATOR, Scope
from workers.failpoints import Failpoint, after_commit, before_commit
from workers.jobs import JobStatus
from workers.key_store import KeyStore
from workers.tables import JobRow, WebhookDeliveryRow
from workers.webhooks.messages import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MAX_ATTEMPTS = "6"  # on a busy machine a lease of seconds may run out by itself: that is no end of a job
REACHED_S = 90.0
ENDED_S = 180.0
WEBHOOKS_S = 150.0
ESSENTIAL = (  # one of each kind: what a short run tries
    after_commit("JobStore.create"),
    Failpoint.CHECKPOINT_UPLOADED.value,
    before_commit("JobLeases.complete"),
)


def transactions() -> Sequence[str]:
    """Qualified names of all functions of `workers` that open a transaction that writes."""
    found: set[str] = set()
    for path in Path(workers.__path__[0]).rglob("*.py"):
        for scope in ast.walk(ast.parse(path.read_text())):
            if isinstance(scope, ast.ClassDef):
                functions = [item for item in scope.body if isinstance(item, ast.FunctionDef)]
                found |= {f"{scope.name}.{function.name}" for function in functions if _writes(function)}
    return sorted(found)


def failpoints() -> Mapping[str, Callable[[Stage], None] | None]:
    """Every boundary, with the scenario that reaches it; None where somebody has yet to write one."""
    found: dict[str, Callable[[Stage], None] | None] = {}
    for name in transactions():
        found[before_commit(name)] = found[after_commit(name)] = TRANSACTIONS.get(name)
    return found | {place.value: PLACES[place] for place in Failpoint}


def crash_everywhere(*, is_short: bool, say: Callable[[str], None]) -> Mapping[str, object]:
    """Crash at every boundary, or at the essential ones; answers the figures."""
    began = time.monotonic()
    points = failpoints()
    chosen = {name: points[name] for name in ESSENTIAL} if is_short else points
    broken = [f"no scenario reaches {name}" for name, scenario in chosen.items() if scenario is None]
    ledger = Ledger()
    known: set[str] = set()  # what was broken at an earlier boundary is not told again
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keyvid-crashes-")))
        armed = folder / "failpoints"
        armed.mkdir()
        receiver = stack.enter_context(receiving())
        fleet = stack.enter_context(_fleet(folder, armed))
        stage = _stage(fleet, ledger, receiver.url)
        for number, (name, scenario) in enumerate(chosen.items(), start=1):
            if scenario is not None:
                found = [line for line in _crash_at(name, scenario, stage, armed) if line not in known]
                known.update(found)
                broken += [f"{name}: {line}" for line in found]
                say(f"{number} of {len(chosen)}: {name}")
        fleet.wait_until_ready()
        wait_for(lambda: _owed(fleet) == 0, what="delivery of all webhooks", within_s=WEBHOOKS_S)
        deaths = {name: member.deaths for name, member in fleet.members.items()}
        strangers = fleet.strangers()
        broken += check_installation(
            fleet.database, fleet.settings, ledger, received=receiver.received, strangers=strangers
        )
        stage.caller.close()
    return {
        "seconds": round(time.monotonic() - began, 1),
        "failpoints": len(chosen),
        "jobs": len(ledger.accepted),
        "deaths": deaths,
        "broken": broken,
    }


def _crash_at(name: str, scenario: Callable[[Stage], None], stage: Stage, armed: Path) -> Iterator[str]:
    """Play a scenario while one failpoint is armed; yields what is broken afterwards."""
    trap = armed / name
    trap.touch()
    try:
        scenario(stage)
        wait_for(lambda: not trap.exists(), what="process that got there", within_s=REACHED_S)
        wait_for(lambda: _running(stage.fleet) == 0, what="end of all jobs", within_s=ENDED_S)
    except TimeoutError as error:
        yield str(error)
    finally:
        trap.unlink(missing_ok=True)
    stage.fleet.wait_until_ready()
    ledger = stage.caller.ledger
    with stage.fleet.database.read() as transaction:
        yield from check_ends(transaction.session, ledger.accepted, ledger.deleted)
        yield from check_histories(transaction.session)


def _fleet(folder: Path, armed: Path) -> Fleet:
    return Fleet(folder / "data", settings={"failpoints": str(armed), "max_attempts": MAX_ATTEMPTS})


def _stage(fleet: Fleet, ledger: Ledger, hook_url: str) -> Stage:
    """A caller with every right, a webhook endpoint and kept inputs."""
    made = KeyStore(fleet.database, default_limits=NO_LIMITS).create(
        tenant="default", name="faults", scopes=tuple(Scope), actor=OPERATOR
    )
    caller = Caller(fleet.url, ledger, key=made[1])
    caller.ask("POST", "/v1/webhook-endpoints", json={"url": hook_url})
    return Stage(fleet, caller, send_inputs(caller), hook_url)


def _running(fleet: Fleet) -> int:
    with fleet.database.read() as transaction:
        query = select(func.count()).where(JobRow.status.in_((JobStatus.QUEUED, JobStatus.IN_PROGRESS)))
        return int(transaction.session.scalar(query) or 0)


def _owed(fleet: Fleet) -> int:
    with fleet.database.read() as transaction:
        query = select(func.count()).where(WebhookDeliveryRow.status == DeliveryStatus.PENDING)
        return int(transaction.session.scalar(query) or 0)


def _writes(function: ast.FunctionDef) -> bool:
    """Whether a function opens `self._database.write()`."""
    return any(
        isinstance(node, ast.Attribute) and node.attr == "write" and ast.unparse(node.value).endswith("_database")
        for node in ast.walk(function)
    )
