"""What an operator can set: `KEYVID_*` variables and a `.env` file, read once at start and passed down.

The service's own settings extend these, so that all processes of one installation read the same names.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "KEYVID_"
SIGNING_KEY_BYTES = 32


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that would hold it
        return False


def _default_database(values: dict[str, Any]) -> str:
    return f"sqlite:///{values['data_dir']}/keyvid.db"


def _default_listener(values: dict[str, Any]) -> str:
    return f"unix:{values['data_dir']}/listener.sock"


class Settings(BaseSettings):
    """Settings that every process reads. Times are seconds.

    Raises: pydantic.ValidationError, which names the variable.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_file=".env", frozen=True, extra="ignore", validate_default=True
    )

    data_dir: Path = Field(Path("var"), description="Folder for everything this installation writes.")
    database_url: str = Field(
        default_factory=_default_database, description="SQLAlchemy URL: SQLite in the data folder, or PostgreSQL."
    )
    broker_url: str = Field(
        "filesystem://", description="Celery broker: filesystem:// in the data folder, or redis://."
    )

    storage: Literal["local", "s3"] = Field("local", description="Where blobs live.")
    s3_bucket: str | None = Field(None, description="Bucket, when storage is s3.")
    s3_endpoint_url: str | None = Field(None, description="Endpoint of an S3 server other than Amazon's.")
    s3_public_endpoint_url: str | None = Field(None, description="Endpoint as callers see it, for signed links.")
    s3_region: str = Field("us-east-1", description="Region of the bucket.")
    s3_access_key_id: str | None = Field(None, description="Key id; absent means the ambient AWS credentials.")
    s3_secret_access_key: SecretStr | None = Field(None, description="Secret of the key.")
    signing_secret: SecretStr | None = Field(
        None, description="Signs links to local blobs; made once in the data folder when absent."
    )

    model: str = Field("keyvid-mini", description="Name of a shipped model, or a folder of weights.")
    device: str = Field("auto", description="auto, cpu, cuda, or cuda:N.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Precision of the networks.")
    localizer: str = Field(
        "auto",
        description="Who hears the keyframes: own, another model's name or folder, or auto: own, else keyvid-mini's.",
    )
    offload: bool = Field(
        False, description="Keep UNets and codec too on the GPU only while they work; slower, fits 8 GB."
    )
    compile_networks: bool = Field(
        False,
        description="Have torch compile the UNets at start: minutes once, kept in the data folder; not with offload.",
    )
    guidance_batch: int = Field(
        0, ge=0, le=4, description="Guidance branches evaluated at once; 0 means as many as the GPU has room for."
    )
    listener_url: str = Field(
        default_factory=_default_listener,
        pattern=r"^(unix:/.+|http://[^/]+:\d+)$",
        description="Where the listener is, for POST /v1/localizations: unix:/PATH, or http://HOST:PORT.",
    )
    checkpoint_steps: int = Field(
        5, ge=0, description="Denoising steps between checkpoints within a stage; 0 leaves one only in a planned stop."
    )
    runner_threads: int = Field(0, ge=0, le=256, description="CPU threads of the runner; 0 means one per core.")
    ffmpeg: Path | None = Field(None, description="ffmpeg binary; absent means the one that is packaged.")
    engine: str = Field("model", description="What the runner loads: `model`, or module:factory in fault tests.")

    lease_seconds: float = Field(30.0, gt=0, description="How long a worker owns a job without renewing.")
    lease_renew_seconds: float = Field(5.0, gt=0, description="How often a worker renews its lease.")
    cancel_poll_seconds: float = Field(0.2, gt=0, le=5, description="How often a worker looks for a cancel.")
    idle_poll_seconds: float = Field(2.0, gt=0, description="How often an idle worker looks for jobs without a ticket.")
    max_attempts: int = Field(3, ge=1, le=20, description="Attempts before a job fails for good.")
    retry_backoff_seconds: tuple[float, ...] = Field(
        (0.0, 30.0, 120.0), min_length=1, description="Waits before the second, third... attempt."
    )
    cancel_grace_seconds: float = Field(10.0, gt=0, description="Time a runner has to stop before it is killed.")
    drain_grace_seconds: float = Field(
        3.0,
        gt=0,
        description="The same when the worker is told to end: what a step in between had done is lost anyway.",
    )
    runner_start_seconds: float = Field(900.0, gt=0, description="Time a runner has to load and warm up.")
    storage_patience_seconds: float = Field(
        120.0, ge=0, description="How long a running job tries again when storage does not answer."
    )
    stall_seconds: float = Field(900.0, gt=0, description="A runner silent for so long in a job is killed.")

    retention_seconds: float = Field(
        7 * 86_400.0, gt=0, description="How long a finished video is kept, unless its request says less."
    )
    file_retention_seconds: float = Field(7 * 86_400.0, gt=0, description="How long a file sent ahead is kept.")
    tombstone_seconds: float = Field(
        30 * 86_400.0, ge=0, description="How long an expired video or file is still answered with 410, not 404."
    )
    orphan_seconds: float = Field(3600.0, gt=0, description="Age from which unreferenced blobs and files are swept.")
    reconcile_seconds: float = Field(1.5, gt=0, description="Period of the reconciler.")

    dispatch_seconds: float = Field(1.0, gt=0, description="How often the dispatcher looks for webhooks that are due.")
    webhook_timeout_seconds: float = Field(15.0, gt=0, le=60, description="Time a webhook's receiver has to answer.")
    webhook_private_hosts: tuple[str, ...] = Field(
        (), description="Hosts that webhooks may reach at private addresses, on any port, and over plain http."
    )

    quota_requests_per_minute: int = Field(600, ge=0, description="Requests a minute of each key; 0 is no limit.")
    quota_localizations_per_minute: int = Field(
        60, ge=0, description="Localizations a minute of each key whose requests are limited; 0 is no limit."
    )
    quota_creates_per_minute: int = Field(10, ge=0, description="New videos a minute of each tenant; 0 is no limit.")
    quota_running: int = Field(2, ge=0, description="Videos of one tenant made at once, others wait; 0 is no limit.")
    quota_queued: int = Field(20, ge=0, description="Videos of one tenant that may wait; 0 is no limit.")
    quota_compute_seconds_per_day: float = Field(
        0.0, ge=0, description="Seconds of runners that one tenant may use each day (UTC); 0 is no limit."
    )
    idempotency_seconds: float = Field(86_400.0, gt=0, description="How long an Idempotency-Key is remembered.")

    metrics_port: int = Field(
        0,
        ge=0,
        le=65_535,
        description="Port at which a worker, reconciler or dispatcher tells its metrics; 0 is none. `keyvid serve` and"
        " the API tell theirs at /metrics.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address of that port.")
    otlp_endpoint: str | None = Field(
        None,
        pattern="^https?://",
        description="OpenTelemetry collector that traces are sent to, such as http://127.0.0.1:4318 (OTLP over HTTP);"
        " absent makes none. Needs the extra `otel`.",
    )

    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto is console on a terminal.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().resolve()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.lease_renew_seconds > self.lease_seconds / 2:
            raise ValueError("KEYVID_LEASE_RENEW_SECONDS must be at most half of KEYVID_LEASE_SECONDS")
        if self.compile_networks and self.offload:
            raise ValueError("KEYVID_COMPILE_NETWORKS needs networks that stay on the GPU: leave KEYVID_OFFLOAD out")
        if self.storage == "s3" and not self.s3_bucket:
            raise ValueError("KEYVID_S3_BUCKET is needed when KEYVID_STORAGE is s3")
        if self.otlp_endpoint is not None and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
            raise ValueError("KEYVID_OTLP_ENDPOINT needs OpenTelemetry: pip install '.[otel]' in KeyVID's folder")
        return self

    @property
    def model_name(self) -> str:
        """Public name of the model; a folder of weights goes by the folder's name."""
        return PurePath(self.model).name

    @property
    def broker_dir(self) -> Path:
        """Folder of the embedded broker."""
        return self.data_dir / "broker"

    @property
    def blob_dir(self) -> Path:
        """Folder of local blobs."""
        return self.data_dir / "blobs"

    @property
    def compiled_dir(self) -> Path:
        """Folder of compiled networks, which outlive the runner."""
        return self.data_dir / "compiled"

    @property
    def temp_dir(self) -> Path:
        """Folder of files in the making; swept by the reconciler, and by each process that starts."""
        return self.data_dir / "tmp"

    def signing_key(self) -> bytes:
        """Key that signs links to local blobs: the set one, or one made once for this data folder (mode 0600)."""
        if self.signing_secret is not None:
            return self.signing_secret.get_secret_value().encode()
        path = self.data_dir / "signing.key"
        if not path.exists():
            _create_once(path, secrets.token_hex(SIGNING_KEY_BYTES).encode())
        return path.read_bytes()


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as `keyvid doctor` shows it; secrets are masked."""

    variable: str
    value: str
    default: str
    description: str


def describe_settings(settings: Settings) -> list[SettingRow]:
    """List every setting with its value, default and meaning, in the order of their declaration."""
    rows = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        default = "(derived)" if field.default_factory is not None else str(field.default)
        rows.append(SettingRow(f"{ENV_PREFIX}{name.upper()}", _masked(value), default, field.description or ""))
    return rows


def _masked(value: object) -> str:
    text = str(value)
    scheme, separator, rest = text.partition("://")
    credentials, at, host = rest.rpartition("@")
    if separator and at and ":" in credentials:  # a URL with a password
        return f"{scheme}://{credentials.partition(':')[0]}:***@{host}"
    return text


def _create_once(path: Path, content: bytes) -> None:
    """Create a private file whole; when several processes try, all of them end up with the first one's content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # fails when the file is there: unlike rename, it never replaces another's secret
    except FileExistsError:
        return
    finally:
        draft.unlink()
