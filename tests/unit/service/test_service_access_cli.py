"""`keyvid keys`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from service.access.cli import app

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


@pytest.fixture(autouse=True)
def _installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty installation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEYVID_DATA_DIR", str(tmp_path / "data"))


def run(*arguments: str) -> Result:
    """Run `keyvid keys` with arguments."""
    return CliRunner().invoke(app, ["keys", *arguments])


def listed(*arguments: str) -> list[dict[str, object]]:
    """The keys as JSON."""
    found: list[dict[str, object]] = json.loads(run("list", "--json", *arguments).stdout)
    return found


def test_created_key_is_shown_once() -> None:
    """The secret alone goes to standard output, so that a script can keep it; the list has only its ends."""
    made = run("create", "site", "--tenant", "acme", "--scope", "videos:read", "--scope", "admin")

    secret = made.stdout.strip()
    assert secret.startswith("kv_live_")
    assert "not shown again" in made.stderr
    shown = run("list").stdout
    assert secret not in shown
    (key,) = listed()
    assert (key["tenant"], key["name"], key["scopes"]) == ("acme", "site", ["admin", "videos:read"])
    for cell in ("site", "acme", f"{key['prefix']}...{key['last4']}", "admin videos:read", "never", "active"):
        assert cell in shown


def test_rotated_key_goes_on_and_revoked_key_is_gone() -> None:
    """Rotation leaves two keys, revocation by prefix takes one away; --all shows what ended."""
    run("create", "site")
    (old,) = listed()
    new = json.loads(run("rotate", str(old["id"]), "--overlap-hours", "1", "--json").stdout)
    assert {key["id"] for key in listed()} == {old["id"], new["id"]}

    result = run("revoke", str(old["prefix"]))

    assert result.exit_code == 0
    assert [key["id"] for key in listed()] == [new["id"]]
    assert {key["id"] for key in listed("--all")} == {old["id"], new["id"]}
    assert "revoked" in run("list", "--all").stdout


def test_expiry_is_kept() -> None:
    """A key that ends says when."""
    made = json.loads(run("create", "site", "--expires-days", "2", "--json").stdout)

    assert made["expires_at"] == pytest.approx(made["created_at"] + 2 * 86_400)
    assert "ends " in run("list").stdout


def test_limits_of_a_tenant_can_be_set() -> None:
    """What is named changes, the rest stays."""
    run("limit", "acme", "--max-queued", "7", "--weight", "3")
    result = run("limit", "acme", "--creates-per-minute", "0")

    tenants = {tenant["id"]: tenant for tenant in json.loads(run("tenants", "--json").stdout)}
    assert result.exit_code == 0
    assert tenants["acme"]["weight"] == 3
    assert tenants["acme"]["limits"]["max_queued"] == 7
    assert tenants["acme"]["limits"]["creates_per_minute"] == 0
    assert set(tenants["default"]["limits"].values()) == {0}
    assert "acme" in run("tenants").stdout


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("revoke", "key_none"), 1),
        (("rotate", "kv_live_none"), 1),
        (("create", "site", "--tenant", "no spaces"), 2),
        (("create", "site", "--scope", "everything"), 2),
        (("limit", "acme", "--max-queued", "-1"), 2),
    ],
)
def test_mistakes_are_told(arguments: tuple[str, ...], status: int) -> None:
    """A wrong name, scope or number ends with a message and changes nothing."""
    result = run(*arguments)

    assert result.exit_code == status
    assert result.stderr.strip()
    assert listed("--all") == []


def test_json_of_a_new_installation_is_json_alone(tmp_path: Path) -> None:
    """What is logged while the database is made does not stand before the key that a script reads."""
    command = [sys.executable, "-m", "keyvid", "keys", "create", "site", "--json", "--data-dir", str(tmp_path / "new")]

    made = subprocess.run(command, capture_output=True, check=True)

    assert json.loads(made.stdout)["secret"].startswith("kv_live_")
