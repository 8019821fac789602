"""Log lines: what callers wrote can neither end one nor forge another."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

FORGED = "2026-11-25T07:00:00Z [info     ] forged\x1b[31m\u2028\u202e"
SCRIPT = f"""
import logging, sys, structlog
from workers.jobs import Origin
from workers.logs import configure_logs, named
from workers.settings import Settings
configure_logs(Settings(data_dir=sys.argv[1], log_format=sys.argv[2]), process="worker")
sent = "a" + chr(10) + {FORGED!r}
with named(Origin("req-1", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"), job_id="video_1", delivery_id=None):
    structlog.get_logger().info(sent, word=sent, spaced=[sent])
logging.getLogger("celery").warning("from %s", sent)
try:
    raise ValueError(sent)
except ValueError:
    structlog.get_logger().exception("broke")
    logging.getLogger("celery").exception("broke too")
"""


def _written(folder: Path, log_format: str) -> list[str]:
    """The lines of a process that logs what callers wrote: two of its own, two of a library, two with a traceback."""
    command = [sys.executable, "-c", SCRIPT, str(folder), log_format]
    reply = subprocess.run(command, capture_output=True, check=True)
    return reply.stderr.decode().removesuffix("\n").split("\n")


def test_json_lines_hold_whatever_was_sent(tmp_path: Path) -> None:
    """Each event is one object, with the caller's text whole inside, and says which request and job it is about."""
    lines = [json.loads(line) for line in _written(tmp_path, "json")]

    assert len(lines) == 4
    assert lines[0]["event"] == lines[0]["word"] == "a\n" + FORGED
    about = ("request_id", "job_id", "trace_id", "delivery_id")
    assert [lines[0].get(name) for name in about] == ["req-1", "video_1", "a" * 32, None]
    assert "request_id" not in lines[1]


@pytest.mark.parametrize("mark", ["\x1b", "\r", "\u2028", "\u202e"])
def test_terminal_shows_no_control_characters(tmp_path: Path, mark: str) -> None:
    """A terminal is not told to colour, to go back, or to turn the direction of what follows."""
    assert mark not in "".join(_written(tmp_path, "console"))


def test_no_line_of_a_terminal_is_the_callers(tmp_path: Path) -> None:
    """Each line is an event of ours, or begins with the bar of a traceback."""
    lines = _written(tmp_path, "console")

    events = [line for line in lines if not line.startswith("  | ")]
    assert [line.split("] ")[1].split()[0] for line in events] == ["a\\n2026-11-25T07:00:00Z", "from", "broke", "broke"]
    assert sum("forged" in line for line in lines if line not in events) >= 2
