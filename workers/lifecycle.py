"""A worker process from start to end, hung on Celery's signals."""

from __future__ import annotations

import os
import threading
import time
import warnings
from typing import TYPE_CHECKING

from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_ready, worker_shutdown, worker_shutting_down

from workers.broker import make_app
from workers.database import Database, upgrade
from workers.job_store import JobStore
from workers.logs import configure_logs
from workers.memory import settle_memory
from workers.quota import default_limits
from workers.roster import Roster
from workers.schema import announce
from workers.supervisor import Supervisor
from workers.tasks import register_tasks
from workers.temp_sweep import sweep_temp_dir
from workers.traces import open_tracer

if TYPE_CHECKING:
    from workers.settings import Settings

LINGER_S = 0.5  # for Celery to end by itself
CELERY_ARGUMENTS = (
    "--quiet",
    "worker",
    "--pool=threads",
    "--concurrency=1",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
    "--loglevel=WARNING",
)


def run_worker(settings: Settings) -> None:
    """Be a worker until SIGTERM: then give the running job back, end the runner, and return.

    Raises: StoreUnavailable when there is no database to begin with.
    """
    configure_logs(settings, process="worker")
    sweep_temp_dir(settings)
    announce(upgrade(settings.database_url))
    database = Database(settings.database_url)
    store = JobStore(
        database,
        max_attempts=settings.max_attempts,
        retention_s=settings.retention_seconds,
        default_limits=default_limits(settings),
    )
    supervisor = Supervisor(settings, store, Roster(database), tracer=open_tracer(settings, process="worker"))
    app = make_app(settings)
    register_tasks(app, supervisor)
    _connect_signals(settings, supervisor, database)
    warnings.filterwarnings("ignore", category=SecurityWarning)  # about root and pickle: only JSON is accepted here
    supervisor.start()  # not only once the broker answers: jobs are found without it
    try:
        app.worker_main([*CELERY_ARGUMENTS, f"--hostname={supervisor.id}"])
    finally:
        supervisor.drain()
        supervisor.join()
        database.close()


def _connect_signals(settings: Settings, supervisor: Supervisor, database: Database) -> None:
    """Hang the worker's life on Celery's; it keeps only weak references unless told otherwise."""

    def keep_our_logs(**_: object) -> None:
        configure_logs(settings, process="worker")

    def settle(**_: object) -> None:
        settle_memory()

    def drain(**_: object) -> None:
        supervisor.drain()
        threading.Thread(target=leave, name="leave", daemon=True).start()

    def leave() -> None:
        """End the process soon after the runner, though Celery may still wait for its broker for seconds."""
        supervisor.join()
        time.sleep(LINGER_S)
        database.close()
        os._exit(0)  # tickets that Celery holds are disposable, and there is nothing else

    def wait(**_: object) -> None:
        supervisor.join()

    setup_logging.connect(keep_our_logs, weak=False)
    worker_ready.connect(settle, weak=False)
    worker_shutting_down.connect(drain, weak=False)
    worker_shutdown.connect(wait, weak=False)
