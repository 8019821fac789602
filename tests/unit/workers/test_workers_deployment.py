"""What `keyvid doctor --url` makes of what a deployment tells."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import Any

import pytest
from typer.testing import CliRunner

from workers.cli import app
from workers.deployment import Answer, Line, look_at

URL = "http://127.0.0.1:8000"
WELL: dict[str, Any] = {
    "version": "0.1.0",
    "auth": "required",
    "database_revision": "0004",
    "known_revision": "0004",
    "migrations": "current",
    "clock_offset_s": 0.01,
    "jobs": {"queued": 1, "in_progress": 1, "completed": 9, "failed": 1, "cancelled": 0},
    "oldest_waiting_s": 3.0,
    "leases_overdue": 0,
    "workers": {"READY": 0, "BUSY": 1, "DEFUNCT": 0, "UNHEALTHY": 0},
    "reconciler_left_s": 6.0,
    "listener": "ready",
    "deliveries_pending": 2,
    "deliveries_overdue_s": 0.5,
    "endpoints_disabled": 0,
    "keys_active": 2,
    "keys_expiring": 0,
}
READY = dict.fromkeys(("database", "migrations", "storage", "disk", "broker"), "ok")


def _tell(
    monkeypatch: pytest.MonkeyPatch,
    *,
    alive: Answer | None = None,
    checks: dict[str, str] = READY,
    inside: Answer | None = None,
    ahead_s: float = 0.0,
) -> None:
    """Let a deployment answer so; its clock is ahead by some seconds."""
    answers = {
        "/livez": alive or Answer(200, {"status": "ok"}, formatdate(time.time() + ahead_s, usegmt=True)),
        "/readyz": Answer(200, {"status": "ready", "checks": checks}),
        "/v1/admin/installation": inside or Answer(200, WELL),
    }
    monkeypatch.setattr("workers.deployment._get", lambda url, **_: answers[url.removeprefix(URL)])


def _lines() -> dict[str, Line]:
    return {line.name: line for line in look_at(URL, key=None)}


def test_healthy_deployment_is_all_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check is a line, and the command ends with 0."""
    _tell(monkeypatch)

    result = CliRunner().invoke(app, ["doctor", "--url", URL + "/", "--json"])

    lines = json.loads(result.stdout)["lines"]
    assert (result.exit_code, {line["verdict"] for line in lines}) == (0, {"ok"})
    assert [line["name"] for line in lines] == [
        *("livez", "clock", "database", "migrations", "storage", "disk", "broker"),
        *("version", "database clock", "workers", "queue", "reconciler", "webhooks", "keys", "failures"),
        "listener",
    ]


@pytest.mark.parametrize(
    ("change", "name", "verdict"),
    [
        ({"migrations": "ahead", "database_revision": "0009"}, "version", "warn"),
        ({"migrations": "behind", "database_revision": "0001"}, "version", "fail"),
        ({"listener": "unavailable"}, "listener", "warn"),
        ({"listener": "away"}, "listener", "warn"),
        ({"clock_offset_s": -20.0}, "database clock", "warn"),
        ({"clock_offset_s": 3600.0}, "database clock", "fail"),
        ({"workers": {"READY": 0, "BUSY": 0, "DRAINING": 2}}, "workers", "fail"),
        ({"workers": {"READY": 1, "BUSY": 0, "DEFUNCT": 1}}, "workers", "warn"),
        ({"oldest_waiting_s": 900.0}, "queue", "warn"),
        ({"oldest_waiting_s": 900.0, "workers": {"READY": 1}}, "queue", "fail"),
        ({"reconciler_left_s": -1.0}, "reconciler", "fail"),
        ({"leases_overdue": 1}, "reconciler", "warn"),
        ({"deliveries_overdue_s": 300.0}, "webhooks", "fail"),
        ({"endpoints_disabled": 1}, "webhooks", "warn"),
        ({"keys_active": 0}, "keys", "fail"),
        ({"keys_expiring": 1}, "keys", "warn"),
        ({"jobs": {**WELL["jobs"], "failed": 9}}, "failures", "warn"),
    ],
)
def test_each_trouble_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], name: str, verdict: str
) -> None:
    """Only the line that it concerns changes, and that one says what to do."""
    _tell(monkeypatch, inside=Answer(200, {**WELL, **change}))

    lines = _lines()

    assert lines[name].verdict == verdict
    assert lines[name].remedy
    assert [other.name for other in lines.values() if other.verdict != "ok"] == [name]


def test_what_readyz_says_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead broker is a warning, all else a failure; the command ends with 1 and shows the remedy."""
    _tell(monkeypatch, checks={**READY, "broker": "failed"})
    assert _lines()["broker"].verdict == "warn"
    assert CliRunner().invoke(app, ["doctor", "--url", URL]).exit_code == 0

    _tell(monkeypatch, checks={**READY, "storage": "failed"})
    result = CliRunner().invoke(app, ["doctor", "--url", URL])

    assert result.exit_code == 1
    assert "KEYVID_S3_" in result.stdout


@pytest.mark.parametrize(("ahead_s", "verdict"), [(0.0, "ok"), (-30.0, "warn"), (600.0, "fail")])
def test_clocks_are_compared(monkeypatch: pytest.MonkeyPatch, ahead_s: float, verdict: str) -> None:
    """By the date of the answer, which tells whole seconds."""
    _tell(monkeypatch, ahead_s=ahead_s)

    assert _lines()["clock"].verdict == verdict


def test_without_a_key_the_outside_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is a warning that says how to make one; a key that is refused is a failure."""
    _tell(monkeypatch, inside=Answer(401, {}))

    without = list(look_at(URL, key=None))
    wrong = list(look_at(URL, key="kv_live_x"))

    assert (without[-1].name, without[-1].verdict, wrong[-1].verdict) == ("inside", "warn", "fail")
    assert "KEYVID_API_KEY" in without[-1].remedy


def test_nobody_there_is_one_line() -> None:
    """A closed port and a wrong address end with 1 and 2, and no trace."""
    result = CliRunner().invoke(app, ["doctor", "--url", "http://127.0.0.1:9"])
    wrong = CliRunner().invoke(app, ["doctor", "--url", "localhost"])

    assert (result.exit_code, wrong.exit_code) == (1, 2)
    assert "does not answer" in result.stdout
