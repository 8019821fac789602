"""Whether this process can take requests: database, storage, disk; the broker only matters for speed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from service.errors import Unavailable
from workers.errors import WorkerError

if TYPE_CHECKING:
    from service.dependencies import Resources
    from service.settings import ServiceSettings
    from workers.job_store import JobStore

FRESH_S = 1.0  # everybody may ask, and each look writes
Verdict = Literal["ok", "failed"]


class Readiness(BaseModel):
    """`ready` and `degraded` take requests, `unavailable` does not; `checks` says why."""

    status: Literal["ready", "degraded", "unavailable"] = Field(description="`degraded` accepts videos all the same.")
    checks: dict[str, Verdict] = Field(
        examples=[{"database": "ok", "storage": "ok", "disk": "ok", "broker": "ok"}],
        description="What each dependency says.",
    )


def check_free_disk(settings: ServiceSettings) -> None:
    """Raises: Unavailable when the data folder's disk is nearly full."""
    folder = settings.data_dir
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < settings.min_free_bytes:
        raise Unavailable("There is not enough free disk.")


def check_schema(store: JobStore) -> None:
    """Raises: Unavailable when the database lacks tables or columns that this version needs; StoreUnavailable."""
    if store.database.schema().is_behind:
        raise Unavailable("The database is older than this server: start it again to bring it forward.")


def check_readiness(resources: Resources) -> Readiness:
    """Try everything that accepting a video needs."""
    checks: dict[str, Verdict] = {}
    for name, check in (
        ("database", resources.store.ping),
        ("migrations", lambda: check_schema(resources.store)),
        ("storage", resources.storage.ping),
        ("disk", lambda: check_free_disk(resources.settings)),
    ):
        try:
            check()
            checks[name] = "ok"
        except (WorkerError, Unavailable):
            checks[name] = "failed"
    is_usable = all(verdict == "ok" for verdict in checks.values())
    checks["broker"] = "ok" if resources.is_broker_up() else "failed"
    if not is_usable:
        return Readiness(status="unavailable", checks=checks)
    # Without a broker jobs are accepted all the same: idle workers look for them, only a little later.
    return Readiness(status="ready" if checks["broker"] == "ok" else "degraded", checks=checks)
