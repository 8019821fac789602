"""The commands of the queue side that end by themselves."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from workers.cli import app

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def _installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty installation without torch, which takes seconds to ask."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEYVID_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("workers.diagnosis._torch", lambda _: "2.13")


@pytest.mark.usefixtures("_installation")
def test_doctor_tells_what_is_there_and_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report has each check and each variable, and points out variables that nothing reads."""
    monkeypatch.setenv("KEYVID_MODLE", "keyvid-512")

    result = CliRunner().invoke(app, ["doctor", "--json"])

    report = json.loads(result.stdout)
    found = {finding["name"]: finding["is_good"] for finding in report["findings"]}
    assert all(found[name] for name in ("python", "machine", "database", "storage", "broker"))
    assert "KEYVID_DATA_DIR" in [row["variable"] for row in report["settings"]]
    assert "KEYVID_MODLE" in report["unknown_variables"]


@pytest.mark.usefixtures("_installation")
def test_doctor_fails_when_something_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent model is one line of the table, and an exit status."""
    monkeypatch.setenv("KEYVID_MODEL", "keyvid-unknown")

    result = CliRunner().invoke(app, ["doctor"])

    assert result.exit_code == 1
    assert "no weights found" in result.stdout


@pytest.mark.usefixtures("_installation")
@pytest.mark.parametrize("command", ["worker", "reconciler", "dispatcher", "doctor"])
def test_wrong_setting_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Nothing starts, and the variable is named."""
    monkeypatch.setenv("KEYVID_MAX_ATTEMPTS", "none")

    result = CliRunner().invoke(app, [command])

    assert result.exit_code == 2
    assert result.stderr.startswith("KEYVID_MAX_ATTEMPTS: ")


@pytest.mark.usefixtures("_installation")
@pytest.mark.parametrize("command", ["worker", "reconciler", "dispatcher"])
def test_metrics_port_that_is_taken_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Nothing starts half: a process that could not be watched says which setting to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("KEYVID_METRICS_PORT", str(taken.getsockname()[1]))

        result = CliRunner().invoke(app, [command])

    assert result.exit_code == 2
    assert result.stderr.startswith("KEYVID_METRICS_PORT: 127.0.0.1:")


def test_logs_are_json_with_process_and_job(tmp_path: Path) -> None:
    """A machine reads one object per line, also from libraries."""
    code = (
        "import logging, structlog\n"
        "from workers.logs import configure_logs\n"
        "from workers.settings import Settings\n"
        f"configure_logs(Settings(data_dir={str(tmp_path)!r}), process='worker')\n"
        "with structlog.contextvars.bound_contextvars(job_id='video_a'):\n"
        "    structlog.get_logger().info('claimed')\n"
        "logging.getLogger('celery').warning('from %s', 'celery')\n"
    )

    reply = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    lines = [json.loads(line) for line in reply.stderr.splitlines()]
    assert [(line["event"], line["process"]) for line in lines] == [("claimed", "worker"), ("from celery", "worker")]
    assert lines[0]["job_id"] == "video_a"
