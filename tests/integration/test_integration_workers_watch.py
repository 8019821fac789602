"""What a worker does about runners that hang and jobs that take too long, and how soon it ends when told to."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from worker_installation import Installation, assert_gapless, is_alive, runner_of, wait_for

from tests.process_tree import children_running
from workers.jobs import EventType, JobStage, JobStatus, Terms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STALL_S = 1.0
GRACE_S = 1.0
DRAIN_BOUND_S = 5.0  # what a worker may take to end, besides one step
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An empty installation whose watchdog is quick; its processes are ended afterwards."""
    made = Installation(tmp_path, stall_seconds=str(STALL_S), cancel_grace_seconds=str(GRACE_S), max_attempts="2")
    yield made
    made.close()


def _hang(installation: Installation) -> None:
    wait_for(lambda: any("keyframes 3" in step for step in installation.steps()), "the step that hangs")


def test_runner_without_progress_is_killed_and_the_job_ends(installation: Installation) -> None:
    """A job that hangs each time is tried as often as any other, fails as `stage_timeout`, and the worker goes on."""
    worker = installation.start_worker()
    first = runner_of(worker)

    hung = installation.wait_until_final(installation.submit("hang step_ms=1"))
    after = installation.wait_until_final(installation.submit("step_ms=1", seed=2))

    assert hung.failure is not None
    assert (hung.status, hung.failure.code, hung.attempt) == (JobStatus.FAILED, "stage_timeout", 2)
    assert not first.is_running()
    assert after.status is JobStatus.COMPLETED
    assert worker.poll() is None
    kinds = assert_gapless(installation, hung)
    assert (kinds.count(EventType.STARTED), kinds.count(EventType.RETRYING)) == (2, 1)


@pytest.mark.parametrize("victim", ["worker", "runner", "worker of a frozen runner"])
def test_nothing_outlives_whom_it_worked_for(installation: Installation, victim: str) -> None:
    """However a worker or its runner ends, the encoder that the runner had started ends too, and at once."""
    worker = installation.start_worker()
    installation.submit("encoder step_ms=1")
    runner = runner_of(worker)
    wait_for(lambda: bool(children_running(runner.pid, "ffmpeg")), "an encoder")
    family = [runner, *runner.children()]
    if victim == "runner":
        runner.kill()
    else:
        if victim != "worker":
            runner.suspend()  # it cannot end what it has started
        family += psutil.Process(worker.pid).children()
        worker.kill()
        worker.wait()

    wait_for(lambda: not any(is_alive(member) for member in family), "end of the whole family")


def test_slow_steps_are_progress(installation: Installation) -> None:
    """A job of many steps that takes longer than the watchdog's patience is left alone."""
    installation.start_worker()

    job = installation.wait_until_final(installation.submit(f"step_ms=120 steps={int(2 * STALL_S / 0.12)}"))

    assert (job.status, job.attempt) == (JobStatus.COMPLETED, 1)


def test_running_job_ends_at_its_deadline(installation: Installation) -> None:
    """It fails for good, within a step, and the same runner takes the next job."""
    worker = installation.start_worker()
    runner = runner_of(worker).pid

    late = installation.submit("step_ms=50 steps=200", terms=Terms(deadline_s=1.0))
    ended = installation.wait_until_final(late)
    after = installation.wait_until_final(installation.submit("step_ms=1", seed=2, terms=Terms(deadline_s=600)))

    assert ended.failure is not None
    assert (ended.status, ended.failure.code, ended.attempt) == (JobStatus.FAILED, "deadline_exceeded", 1)
    assert ended.completed_at is not None
    assert ended.deadline_at is not None
    assert ended.completed_at >= ended.deadline_at
    assert (after.status, runner_of(worker).pid) == (JobStatus.COMPLETED, runner)
    assert installation.outputs(ended) == []


@pytest.mark.parametrize(
    ("script", "step_s"), [("step_ms=300 steps=100", 0.3), ("hang step_ms=1", 0.0)], ids=["works", "hangs"]
)
def test_worker_that_is_told_to_end_does_so_in_time(installation: Installation, script: str, step_s: float) -> None:
    """Within a step and five seconds, even in the middle of a step that hangs; the attempt is not counted."""
    worker = installation.start_worker()
    job = installation.submit(script)
    if step_s:
        installation.wait_for_stage(job, JobStage.KEYFRAMES)
    else:
        _hang(installation)
    family = psutil.Process(worker.pid).children(recursive=True)

    told_at = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    status = worker.wait(60)
    took_s = time.monotonic() - told_at

    released = installation.get(job)
    assert (status, released.status, released.attempt) == (0, JobStatus.QUEUED, 0)
    assert took_s < step_s + DRAIN_BOUND_S
    wait_for(lambda: not any(member.is_running() for member in family), "end of the whole family")
    assert EventType.FAILED not in [event.type for event in installation.store.events(job.id, after_seq=0, limit=99)]


def test_device_fault_restarts_the_runner(installation: Installation) -> None:
    """A runner whose device reported an error, or whose memory ended, never takes another job."""
    worker = installation.start_worker()
    runners = [runner_of(worker).pid]
    for seed, script in enumerate(("device_error", "memory_error")):
        installation.wait_until_final(installation.submit(f"{script} step_ms=1", seed=seed))
        installation.wait_until_final(installation.submit("step_ms=1", seed=9))
        runners.append(runner_of(worker).pid)

    assert len(set(runners)) == 3
