"""Where the server may listen without keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from service.access.binding import is_loopback, why_not_open
from service.cli import app
from service.settings import ServiceSettings
from workers.access import NO_LIMITS, OPERATOR, Scope
from workers.database import Database, upgrade
from workers.key_store import KeyStore

if TYPE_CHECKING:
    from pathlib import Path

    from service.serve import Child

EVERYWHERE = "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        (EVERYWHERE, False),
        ("::", False),
        ("", False),
        ("192.168.1.7", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_known(host: str, expected: bool) -> None:  # noqa: FBT001
    """Only addresses that nobody else can reach count."""
    assert is_loopback(host) is expected


@pytest.mark.parametrize("command", ["api", "serve"])
def test_public_address_without_keys_is_refused(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with one line that says what to do."""
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(app, [command, "--host", EVERYWHERE, "--data-dir", str(tmp_path)])

    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    for way_out in ("keyvid keys create", "127.0.0.1", "KEYVID_AUTH=gateway"):
        assert way_out in result.stderr


def test_serve_listens_and_writes_where_its_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without options, host, port and data folder are those of the environment, for every process."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOST": "127.0.0.2", "PORT": "9123", "DATA_DIR": str(tmp_path / "elsewhere")}.items():
        monkeypatch.setenv(f"KEYVID_{name}", value)
    started: list[Child] = []
    monkeypatch.setattr("service.serve.supervise", lambda children, **_: started.extend(children))
    for name in ("workers.logs.configure_logs", "workers.metrics.share_metrics"):
        monkeypatch.setattr(name, lambda *_, **__: None)  # they are for a whole process

    result = CliRunner().invoke(app, ["serve"])

    assert result.exit_code == 0, result.output
    assert started[0].command[-4:] == ["--host", "127.0.0.2", "--port", "9123"]
    assert {child.environment["KEYVID_DATA_DIR"] for child in started} == {str(tmp_path / "elsewhere")}


@pytest.mark.parametrize("auth", ["required", "gateway"])
def test_operator_may_say_what_is_meant(auth: str, tmp_path: Path) -> None:
    """Keys that are made later, and a gateway in front, are settings."""
    settings = ServiceSettings(host=EVERYWHERE, data_dir=tmp_path, auth=auth)  # type: ignore[arg-type]

    assert why_not_open(settings) is None


def test_public_address_with_a_key_is_fine(tmp_path: Path) -> None:
    """Once there is a key, everyone needs one."""
    settings = ServiceSettings(host=EVERYWHERE, data_dir=tmp_path)
    assert why_not_open(settings) is not None
    upgrade(settings.database_url)
    database = Database(settings.database_url)
    KeyStore(database, default_limits=NO_LIMITS).create(
        tenant="default", name="n", scopes=[Scope.FILES], actor=OPERATOR
    )
    database.close()

    assert why_not_open(settings) is None
