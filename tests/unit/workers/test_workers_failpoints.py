"""Failpoints: a process dies at the one that is armed, once, and nothing happens at any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.faults.crashes import failpoints

if TYPE_CHECKING:
    from pathlib import Path

TAKE_A_DUTY = """
import sys
from workers.database import Database, upgrade
from workers.roster import Roster
url = f"sqlite:///{sys.argv[1]}/keyvid.db"
upgrade(url)
Roster(Database(url)).lead("duty", "me", for_s=60)
"""
LOOK = """
import sys
from workers.database import Database
from workers.tables import LeaderRow
with Database(f"sqlite:///{sys.argv[1]}/keyvid.db").read() as transaction:
    sys.exit(0 if transaction.session.get(LeaderRow, "duty") is None else 1)
"""


def _run(code: str, folder: Path, *, armed: Path | None = None) -> int:
    environment = {**os.environ, **({"KEYVID_FAILPOINTS": str(armed)} if armed else {})}
    return subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, check=False).returncode


@pytest.mark.parametrize(("boundary", "is_written"), [("before-commit", False), ("after-commit", True)])
def test_process_dies_where_it_is_armed_and_only_once(boundary: str, *, is_written: bool, tmp_path: Path) -> None:
    """As by kill -9: what was committed is there, what was not is not; the next process passes."""
    armed = tmp_path / "failpoints"
    armed.mkdir()
    (armed / f"Roster.lead.{boundary}").touch()
    (armed / "Roster.leave.before-commit").touch()

    assert _run(TAKE_A_DUTY, tmp_path, armed=armed) == -signal.SIGKILL
    assert _run(LOOK, tmp_path) == int(is_written)
    assert _run(TAKE_A_DUTY, tmp_path, armed=armed) == 0
    assert [path.name for path in armed.iterdir()] == ["Roster.leave.before-commit"]


def test_nothing_dies_where_tests_are_off(tmp_path: Path) -> None:
    """Without the variable a file changes nothing, wherever it lies."""
    (tmp_path / "Roster.lead.before-commit").touch()

    assert _run(TAKE_A_DUTY, tmp_path) == 0


def test_every_boundary_has_a_scenario_that_reaches_it() -> None:
    """A new transaction of the queue side needs an entry in `benchmarks.faults.scenarios`, so that it is crashed at."""
    points = failpoints()

    assert len(points) >= 100
    assert [name for name, scenario in points.items() if scenario is None] == []
