"""Settings: defaults that need nothing, errors that name the variable, secrets that stay secret."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from workers.settings import Settings, describe_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_defaults_keep_everything_in_the_data_folder(tmp_path: Path) -> None:
    """An installation without any setting writes below one folder."""
    settings = Settings(data_dir=tmp_path)

    assert settings.database_url == f"sqlite:///{tmp_path}/keyvid.db"
    for folder in (settings.broker_dir, settings.blob_dir, settings.temp_dir):
        assert folder.is_relative_to(tmp_path)


def test_environment_and_env_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables win over the file, and the file over defaults."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("KEYVID_MAX_ATTEMPTS=5\nKEYVID_MODEL=from-file\nKEYVID_PORT=1\n")
    monkeypatch.setenv("KEYVID_MODEL", "from-variable")

    settings = Settings()

    assert (settings.max_attempts, settings.model) == (5, "from-variable")


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"lease_seconds": 10, "lease_renew_seconds": 6}, "KEYVID_LEASE_RENEW_SECONDS"),
        ({"storage": "s3"}, "KEYVID_S3_BUCKET"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"storage": "ftp"}, "storage"),
    ],
)
def test_wrong_value_names_its_variable(tmp_path: Path, values: dict[str, object], name: str) -> None:
    """Start-up stops with something that can be acted on."""
    with pytest.raises(ValidationError, match=name):
        Settings(data_dir=tmp_path, **values)


def test_signing_key_is_made_once_and_private(tmp_path: Path) -> None:
    """Processes that start at the same time agree on one key that only its owner can read."""
    keys: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: keys.append(Settings(data_dir=tmp_path).signing_key())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(keys)) == 1
    assert len(keys[0]) == 64
    assert (tmp_path / "signing.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["signing.key"]


def test_signing_secret_can_be_set(tmp_path: Path) -> None:
    """Several machines share links by sharing the secret; then nothing is written."""
    settings = Settings(data_dir=tmp_path, signing_secret="shared")

    assert settings.signing_key() == b"shared"
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_masked_when_settings_are_shown(tmp_path: Path) -> None:
    """Neither a secret nor a password of a URL appears."""
    settings = Settings(
        data_dir=tmp_path,
        database_url="postgresql://keyvid:hunter2@db/keyvid",
        broker_url="redis://:hunter2@cache:6379/0",
        s3_secret_access_key="hunter2",
        signing_secret="hunter2",
    )

    rows = {row.variable: row for row in describe_settings(settings)}

    assert "hunter2" not in str(rows)
    assert rows["KEYVID_DATABASE_URL"].value == "postgresql://keyvid:***@db/keyvid"
    assert all(row.description for row in rows.values())


def test_model_folder_goes_by_its_name(tmp_path: Path) -> None:
    """Requests name a model as the API shows it."""
    assert Settings(data_dir=tmp_path, model="/weights/keyvid-512").model_name == "keyvid-512"


def test_traces_need_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where OpenTelemetry is not installed the setting says what to install, and without it none is imported."""
    assert Settings(data_dir=tmp_path, otlp_endpoint="http://127.0.0.1:4318").otlp_endpoint is not None
    monkeypatch.setattr("workers.settings.find_spec", lambda _: None)

    with pytest.raises(ValidationError, match=r"pip install '\.\[otel\]'"):
        Settings(data_dir=tmp_path, otlp_endpoint="http://127.0.0.1:4318")
    assert Settings(data_dir=tmp_path).otlp_endpoint is None
