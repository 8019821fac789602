"""The one Celery task: a ticket has come, so look for jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.contract import TASK

if TYPE_CHECKING:
    from celery import Celery

    from workers.supervisor import Supervisor


def register_tasks(app: Celery, supervisor: Supervisor) -> None:
    """Make tickets ring this supervisor."""

    def run_queued_jobs() -> None:
        supervisor.run_queued_jobs()

    app.task(name=TASK, ignore_result=True)(run_queued_jobs)
