"""`keyvid doctor --url`: whether a running deployment is well, seen from outside through its own HTTP API."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Verdict = Literal["ok", "warn", "fail"]

KEY_VARIABLE = "KEYVID_API_KEY"
TIMEOUT_S = 15.0
SKEW_WARN_S, SKEW_FAIL_S = 5.0, 60.0
OLD_QUEUE_S = 300.0
OVERDUE_WEBHOOK_S = 60.0
FEW_JOBS = 5  # of fewer that have ended, no share of failures is told
FAILED_SHARE = 0.2

_READY = {
    "database": ("fail", "start the database, or correct KEYVID_DATABASE_URL; nothing is accepted until it answers"),
    "migrations": ("fail", "restart one process of this version: it brings the database forward"),
    "storage": ("fail", "start the S3 server or free the disk, and check KEYVID_S3_*; nothing is accepted until then"),
    "disk": ("fail", "free disk under KEYVID_DATA_DIR, or lower KEYVID_MIN_FREE_BYTES"),
    "broker": (
        "warn",
        "start Redis, or correct KEYVID_BROKER_URL; until then idle workers look every 2 s by themselves",
    ),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at, and what to do about it unless it is ok."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: status 0 where there was none, and then `body` says why."""

    status: int
    body: Any
    date: str | None = None


def report_deployment(url: str, *, as_json: bool) -> bool:
    """Print what is well and what is not to standard output; returns whether nothing fails."""
    lines = list(look_at(url.rstrip("/"), key=os.environ.get(KEY_VARIABLE)))
    if as_json:
        sys.stdout.write(json.dumps({"url": url, "lines": [asdict(line) for line in lines]}, indent=2) + "\n")
    else:
        _print(lines)
    return all(line.verdict != "fail" for line in lines)


def look_at(url: str, *, key: str | None) -> Iterator[Line]:
    """Look at everything that can be seen at a URL, with a key of the scope `admin` or without one; nothing raises."""
    alive = _get(f"{url}/livez")
    if alive.status != 200:
        said = alive.body if alive.status == 0 else f"answers {alive.status}"
        yield Line(
            "livez", "fail", str(said), "check the address, that `keyvid api` runs, and the proxy in front of it"
        )
        return
    yield Line("livez", "ok", "the API answers")
    yield _clock("clock", _skew(alive.date), "this machine's")
    yield from _readiness(_get(f"{url}/readyz"))
    inside = _get(f"{url}/v1/admin/installation", key=key)
    if inside.status != 200:
        yield _not_let_in(inside, has_key=key is not None)
        return
    for look in (_schema, _database_clock, _workers, _queue, _reconciler, _webhooks, _keys, _failures):
        yield look(inside.body)
    if "listener" in inside.body:  # an API of an older version does not tell
        yield _listener(inside.body)


def _get(url: str, *, key: str | None = None) -> Answer:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})  # noqa: S310
    try:
        try:
            reply = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310  (the operator's own address)
        except urllib.error.HTTPError as error:
            reply = error
        with reply:
            return Answer(reply.status, json.loads(reply.read()), reply.headers.get("Date"))
    except urllib.error.URLError as error:
        return Answer(0, f"does not answer: {error.reason}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Answer(0, f"is no KeyVID: {type(error).__name__}")


def _skew(date: str | None) -> float:
    """Seconds that the server's clock is ahead; its answers tell whole seconds."""
    return 0.0 if date is None else parsedate_to_datetime(date).timestamp() + 0.5 - time.time()


def _clock(name: str, skew_s: float, whose: str) -> Line:
    verdict: Verdict = "fail" if abs(skew_s) > SKEW_FAIL_S else "warn" if abs(skew_s) > SKEW_WARN_S else "ok"
    detail = f"the server's clock is within a second of {whose}"
    if abs(skew_s) > 1:
        detail = f"the server's clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} {whose}"
    return Line(name, verdict, detail, "keep clocks by NTP: signatures of webhooks, links and keys depend on them")


def _readiness(answer: Answer) -> Iterator[Line]:
    if not isinstance(answer.body, dict) or "checks" not in answer.body:
        yield Line("readyz", "fail", f"answers {answer.status}", "see the API's log")
        return
    for name, found in answer.body["checks"].items():
        verdict, remedy = _READY.get(name, ("fail", "see the API's log"))
        yield Line(name, "ok" if found == "ok" else verdict, str(found), remedy)  # type: ignore[arg-type]


def _not_let_in(answer: Answer, *, has_key: bool) -> Line:
    remedy = f"put a key of the scope `admin` into {KEY_VARIABLE} (`keyvid keys create NAME --scope admin`)"
    if answer.status in (401, 403):
        return Line("inside", "fail" if has_key else "warn", "not looked at: the key is missing or not enough", remedy)
    return Line("inside", "fail", f"/v1/admin/installation answers {answer.status}", "see the API's log")


def _schema(told: Mapping[str, Any]) -> Line:
    detail = f"the database is at {told['database_revision']}, this API knows {told['known_revision']}"
    if told["migrations"] == "ahead":
        return Line("version", "warn", detail, "an older API still runs: replace it to end the upgrade")
    verdict: Verdict = "ok" if told["migrations"] == "current" else "fail"
    return Line("version", verdict, f"{told['version']}; {detail}", _READY["migrations"][1])


def _database_clock(told: Mapping[str, Any]) -> Line:
    return _clock("database clock", told["clock_offset_s"], "the database's")


def _workers(told: Mapping[str, Any]) -> Line:
    counts = {state: count for state, count in told["workers"].items() if count}
    detail = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none was heard of"
    if not counts.get("READY", 0) + counts.get("BUSY", 0):
        return Line("workers", "fail", detail, "start `keyvid worker`, resume drained ones; see the workers' logs")
    if counts.get("UNHEALTHY", 0) + counts.get("DEFUNCT", 0):
        remedy = "GET /v1/admin/workers says which: see its log, or wait two minutes if it was taken away"
        return Line("workers", "warn", detail, remedy)
    return Line("workers", "ok", detail)


def _queue(told: Mapping[str, Any]) -> Line:
    jobs, age_s = told["jobs"], told["oldest_waiting_s"]
    detail = f"{jobs['queued']} wait, {jobs['in_progress']} run"
    if age_s > 0:
        detail += f"; the first one has waited {age_s:.0f} s"
    if age_s <= OLD_QUEUE_S:
        return Line("queue", "ok", detail)
    if told["workers"].get("BUSY"):
        return Line("queue", "warn", detail, "add workers, or lower KEYVID_QUOTA_QUEUED")
    return Line(
        "queue", "fail", detail, "no worker takes it: compare KEYVID_MODEL of API and workers, and limits of tenants"
    )


def _reconciler(told: Mapping[str, Any]) -> Line:
    if told["reconciler_left_s"] <= 0:
        return Line(
            "reconciler", "fail", "none leads", "start `keyvid reconciler`: without it no dead worker is noticed"
        )
    if told["leases_overdue"]:
        detail = f"{told['leases_overdue']} jobs of silent workers are not put back yet"
        return Line("reconciler", "warn", detail, "look again in a few seconds; see the reconciler's log if they stay")
    return Line("reconciler", "ok", "one leads")


def _webhooks(told: Mapping[str, Any]) -> Line:
    pending, overdue_s = told["deliveries_pending"], told["deliveries_overdue_s"]
    if overdue_s > OVERDUE_WEBHOOK_S:
        detail = f"{pending} are owed, the first since {overdue_s:.0f} s"
        return Line("webhooks", "fail", detail, "start `keyvid dispatcher`, or another one beside it")
    if told["endpoints_disabled"]:
        detail = f"{told['endpoints_disabled']} endpoints were given up as failing or gone"
        return Line(
            "webhooks", "warn", detail, "tell their tenants: PATCH /v1/webhook-endpoints/{id} enables one again"
        )
    return Line("webhooks", "ok", f"{pending} are owed")


def _listener(told: Mapping[str, Any]) -> Line:
    remedy = "start `keyvid listener`, and compare its KEYVID_LISTENER_URL with the API's; only localizations need it"
    return {
        "ready": Line("listener", "ok", "hears"),
        "no_localizer": Line("listener", "ok", "answers; the model has no localizer to hear with"),
        "unavailable": Line("listener", "warn", "too many sounds wait to be heard", "look again in a few seconds"),
    }.get(told["listener"], Line("listener", "warn", "nobody answers", remedy))


def _keys(told: Mapping[str, Any]) -> Line:
    if told["auth"] == "gateway":
        return Line("keys", "ok", "a gateway in front decides who gets here")
    if told["auth"] == "required" and not told["keys_active"]:
        return Line("keys", "fail", "there is none, and everyone needs one", "keyvid keys create NAME")
    if told["keys_expiring"]:
        detail = f"{told['keys_expiring']} of {told['keys_active']} end within a week"
        return Line("keys", "warn", detail, "`keyvid keys list` says which, `keyvid keys rotate` replaces one")
    return Line("keys", "ok", f"{told['keys_active']} open something" if told["keys_active"] else "none: open to all")


def _failures(told: Mapping[str, Any]) -> Line:
    failed, completed = told["jobs"]["failed"], told["jobs"]["completed"]
    detail = f"{failed} failed, {completed} completed, of those still kept"
    if failed + completed >= FEW_JOBS and failed > FAILED_SHARE * (failed + completed):
        return Line("failures", "warn", detail, "GET /v1/admin/jobs/dead says why")
    return Line("failures", "ok", detail)


def _print(lines: list[Line]) -> None:
    styles = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table("", "check", "finding", box=None, header_style="bold")
    for line in lines:
        finding = Text(line.detail)
        if line.verdict != "ok" and line.remedy:
            finding.append(f"\n-> {line.remedy}", style="dim")
        table.add_row(Text(line.verdict, style=styles[line.verdict]), line.name, finding)
    Console().print(table)
