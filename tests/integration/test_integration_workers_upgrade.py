"""Workers of this version on a database that a newer version brings forward under them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from worker_installation import Installation, assert_gapless, wait_for

from workers.jobs import JobStage, JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An empty installation; its processes are ended afterwards."""
    made = Installation(tmp_path)
    yield made
    made.close()


def test_workers_go_on_and_start_again(installation: Installation) -> None:
    """A job that runs meanwhile completes, and so does one on a worker that starts on the newer database."""
    first = installation.start_worker()
    running = installation.submit("step_ms=150")
    installation.wait_for_stage(running, JobStage.KEYFRAMES)

    with installation.database.engine.begin() as connection:  # what a migration of a newer version may do
        connection.execute(text("ALTER TABLE jobs ADD COLUMN mood VARCHAR(9) DEFAULT 'calm' NOT NULL"))
        connection.execute(text("ALTER TABLE workers ADD COLUMN mood VARCHAR(9)"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    done = installation.wait_until_final(running)
    first.kill()
    first.wait()
    installation.start_worker()
    after = installation.wait_until_final(installation.submit("step_ms=1", seed=2))

    assert [(job.status, job.attempt) for job in (done, after)] == [(JobStatus.COMPLETED, 1)] * 2
    assert_gapless(installation, done)
    wait_for(lambda: "database_is_newer" in (installation.folder / "worker.log").read_text(), "the warning")
