"""Real worker processes on the embedded backends: what happens to jobs when something dies.

The model's place is taken by an engine that only takes time, so that failures can be put where they hurt.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from worker_installation import TENANT, WAIT_S, Installation, assert_gapless, runner_of, wait_for

from tests.freezing import freeze
from workers.errors import BlobNotFound
from workers.jobs import EventType, Failure, JobStage, JobStatus
from workers.roster import WorkerState
from workers.storage import preview_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.jobs import Lease

STEP_S = 0.1
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An empty installation; its processes are ended afterwards."""
    made = Installation(tmp_path)
    yield made
    made.close()


def test_job_completes_with_a_checked_video(installation: Installation) -> None:
    """The whole way of a job through broker, worker, runner and storage."""
    installation.start_worker()

    job = installation.wait_until_final(installation.submit("step_ms=20"))

    assert (job.status, job.stage, job.progress, job.attempt) == (JobStatus.COMPLETED, JobStage.DONE, 100, 1)
    assert job.output is not None
    assert job.output.thumbnail_key is not None
    assert (job.output.frames, job.output.width, job.output.height) == (48, 64, 32)
    assert installation.storage.stat(job.output.key).size == job.output.bytes
    assert installation.storage.stat(job.output.thumbnail_key).size > 0
    assert installation.storage.stat(job.output.spritesheet_key or "").size > 0
    assert job.engine["model"] == "paced"
    assert {stage.status for stage in job.stages} == {"done"}
    assert [path for path in installation.settings.temp_dir.rglob("*") if path.is_file()] == []
    assert_gapless(installation, job)


def test_worker_sweeps_its_own_disk_and_its_runner_has_a_folder_of_its_own(installation: Installation) -> None:
    """What a killed worker left a day ago is gone once the next one has started; no two runners share a folder."""
    left = installation.settings.temp_dir / "runner-1" / "job-old"
    left.mkdir(parents=True)
    os.utime(left.parent, (0, 0))

    worker = installation.start_worker()
    job = installation.submit("step_ms=100")
    installation.wait_for_stage(job, JobStage.KEYFRAMES)

    (folder,) = installation.settings.temp_dir.iterdir()
    assert folder.name not in {"runner-1", f"runner-{runner_of(worker).pid}"}
    installation.wait_until_final(job)


def test_previews_are_stored_and_told_where_they_are_asked_for(installation: Installation) -> None:
    """A job with previews has them in its history and the last one in storage; one without has neither."""
    installation.start_worker()

    with_previews = installation.wait_until_final(installation.submit("step_ms=100", preview=True))
    without = installation.wait_until_final(installation.submit("step_ms=20"))

    assert EventType.PREVIEW in assert_gapless(installation, with_previews)
    assert EventType.PREVIEW not in assert_gapless(installation, without)
    assert installation.storage.stat(preview_key(with_previews.id, with_previews.fence)).size > 0
    with pytest.raises(BlobNotFound):
        installation.storage.stat(preview_key(without.id, without.fence))


def test_job_is_found_without_a_ticket(installation: Installation) -> None:
    """A lost ticket costs one poll, no more."""
    installation.start_worker()
    installation.broker.send_ticket = lambda: False  # type: ignore[method-assign]

    job = installation.wait_until_final(installation.submit("step_ms=1"))

    assert job.status is JobStatus.COMPLETED


def test_worker_needs_no_broker(tmp_path: Path) -> None:
    """While the broker is down jobs are accepted, found and finished, and the worker still ends when told to."""
    installation = Installation(tmp_path, broker_url="redis://127.0.0.1:9/0")
    try:
        worker = installation.start_worker()

        job = installation.wait_until_final(installation.submit("step_ms=1"))
        worker.send_signal(signal.SIGTERM)

        assert job.status is JobStatus.COMPLETED
        assert worker.wait(WAIT_S) == 0
    finally:
        installation.close()


def test_killed_worker_loses_nothing(installation: Installation) -> None:
    """After kill -9 of a worker another one takes the job up where it was, and there is one result."""
    installation.start("reconciler")
    first = installation.start_worker()
    job = installation.submit("step_ms=150")
    installation.wait_for_stage(job, JobStage.INTERPOLATION)
    runner = runner_of(first)

    first.kill()
    first.wait()
    wait_for(lambda: not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE, "end of the orphaned runner")
    installation.start_worker()

    done = installation.wait_until_final(job)
    assert (done.status, done.attempt, done.fence) == (JobStatus.COMPLETED, 2, 2)
    assert installation.outputs(job) == [f"outputs/{job.id}/2/video.mp4"]
    assert [stage.resumed for stage in done.stages] == [True, True, False, False]
    assert "begin seed=1 resumed=keyframes" in installation.steps()
    assert EventType.RETRYING in assert_gapless(installation, job)


def test_killed_runner_is_replaced(installation: Installation) -> None:
    """After kill -9 of the runner its supervisor starts another one and the job completes."""
    worker = installation.start_worker()
    job = installation.submit("step_ms=150")
    installation.wait_for_stage(job, JobStage.KEYFRAMES)

    runner_of(worker).kill()

    done = installation.wait_until_final(job)
    assert (done.status, done.attempt) == (JobStatus.COMPLETED, 2)
    assert worker.poll() is None
    assert [path for path in installation.settings.temp_dir.rglob("*") if path.is_file()] == []
    assert_gapless(installation, job)


def test_job_goes_on_from_the_step_that_was_left(installation: Installation) -> None:
    """After kill -9 of the runner within a stage only the steps since its last checkpoint are repeated."""
    worker = installation.start_worker()
    job = installation.submit("step_ms=100 steps=12 keep=5")
    wait_for(lambda: any("interpolation 7" in step for step in installation.steps()), "a step behind a checkpoint")

    runner_of(worker).kill()

    done = installation.wait_until_final(job)
    assert (done.status, done.attempt) == (JobStatus.COMPLETED, 2)
    assert "begin seed=1 resumed=interpolation:5" in installation.steps()
    assert sum("interpolation 4" in step for step in installation.steps()) == 1
    assert sum("interpolation 5" in step for step in installation.steps()) == 2
    assert [stage.resumed for stage in done.stages] == [True, True, True, False]
    assert_gapless(installation, job)


def test_running_job_is_cancelled_within_a_step(installation: Installation) -> None:
    """A cancel stops the runner at its next step, and the same runner takes the next job."""
    worker = installation.start_worker()
    runner = runner_of(worker).pid
    job = installation.submit(f"step_ms={int(STEP_S * 1000)} steps=200")
    installation.wait_for_stage(job, JobStage.KEYFRAMES)

    asked_at = time.monotonic()
    installation.store.request_cancel(job.id, tenant=TENANT)
    cancelled = installation.wait_until_final(job)
    took_s = time.monotonic() - asked_at

    assert cancelled.status is JobStatus.CANCELLED
    assert took_s < WAIT_S / 10  # a bound for correctness; the speed itself is measured by the benchmark
    steps = len(installation.steps())
    after = installation.wait_until_final(installation.submit("step_ms=1", seed=2))
    assert (after.status, runner_of(worker).pid) == (JobStatus.COMPLETED, runner)
    assert all("seed=2" in step for step in installation.steps()[steps:])
    assert installation.outputs(job) == []


def test_hung_runner_is_killed_after_the_grace_time(installation: Installation) -> None:
    """A runner that does not listen is killed; only then is the job cancelled."""
    worker = installation.start_worker()
    job = installation.submit("hang")
    wait_for(lambda: any("keyframes 3" in step for step in installation.steps()), "the step that hangs")
    runner = runner_of(worker)

    installation.store.request_cancel(job.id, tenant=TENANT)

    assert installation.wait_until_final(job).status is JobStatus.CANCELLED
    assert not runner.is_running()
    after = installation.wait_until_final(installation.submit("step_ms=1", seed=2))
    assert after.status is JobStatus.COMPLETED


def test_poison_fails_after_three_attempts(installation: Installation) -> None:
    """An input that kills its runner each time is given up, and other jobs go on."""
    installation.start_worker()

    poison = installation.wait_until_final(installation.submit("crash step_ms=1"))
    healthy = installation.wait_until_final(installation.submit("step_ms=1", seed=2))

    assert (poison.status, poison.attempt) == (JobStatus.FAILED, 3)
    assert poison.failure is not None
    assert poison.failure.code == "poison_input"
    assert healthy.status is JobStatus.COMPLETED
    assert assert_gapless(installation, poison).count(EventType.STARTED) == 3


@pytest.mark.parametrize(
    ("earlier", "code"),
    [
        (("stage_timeout", "worker_crashed"), "worker_crashed"),
        (("worker_crashed", "worker_crashed"), "poison_input"),
    ],
)
def test_crash_is_the_inputs_fault_only_if_each_attempt_crashed(
    installation: Installation, earlier: tuple[str, ...], code: str
) -> None:
    """A worker that dies at the last attempt says nothing of an input that earlier ones ended otherwise with."""

    def claim() -> Lease:
        claimed = installation.store.claim("worker-a", model="keyvid-mini", lease_s=60)
        assert claimed is not None
        return claimed[1]

    job = installation.submit("crash step_ms=1")
    installation.store.release(claim(), refund=True)
    for reason in earlier:
        installation.store.retry(claim(), Failure(reason, "It broke."), delay_s=0.0)
    installation.start_worker()

    failed = installation.wait_until_final(job)

    assert installation.store.retry_reasons(job.id) == ("worker_draining", *earlier)
    assert failed.failure is not None
    assert (failed.failure.code, failed.attempt) == (code, 3)


@pytest.mark.parametrize(
    ("script", "code", "attempts"),
    [("memory_error", "out_of_memory", 3), ("device_error", "worker_crashed", 3), ("bad_input", "poison_input", 1)],
)
def test_errors_are_told_by_their_code(installation: Installation, script: str, code: str, attempts: int) -> None:
    """What another attempt may help is tried again, and the rest fails at once."""
    installation.start_worker()

    failed = installation.wait_until_final(installation.submit(f"{script} step_ms=1"))

    assert failed.failure is not None
    assert (failed.failure.code, failed.attempt) == (code, attempts)
    assert "/" not in failed.failure.message


def test_drain_gives_the_job_back(installation: Installation) -> None:
    """SIGTERM stops the worker within a step, refunds the attempt, and leaves no process behind."""
    worker = installation.start_worker()
    job = installation.submit(f"step_ms={int(STEP_S * 1000)} steps=20")
    installation.wait_for_stage(job, JobStage.KEYFRAMES)
    family = psutil.Process(worker.pid).children(recursive=True)

    worker.send_signal(signal.SIGTERM)
    status = worker.wait(WAIT_S)

    released = installation.get(job)
    assert (status, released.status, released.attempt) == (0, JobStatus.QUEUED, 0)
    assert installation.worker_state(worker.pid) is None
    wait_for(lambda: not any(member.is_running() for member in family), "end of the whole family")
    installation.start_worker()
    done = installation.wait_until_final(job)
    assert (done.status, done.attempt) == (JobStatus.COMPLETED, 1)
    assert_gapless(installation, job)


def test_drained_job_repeats_no_step(installation: Installation) -> None:
    """A worker that ends as planned leaves the step that it was in, and the next one goes on right there."""
    worker = installation.start_worker()
    job = installation.submit(f"step_ms={int(STEP_S * 1000)} steps=20 keep=100")
    wait_for(lambda: any("keyframes 2" in step for step in installation.steps()), "a step within a stage")

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(WAIT_S) == 0
    installation.start_worker()

    done = installation.wait_until_final(job)
    assert (done.status, done.attempt) == (JobStatus.COMPLETED, 1)
    steps = [step for step in installation.steps() if "step seed=1" in step]
    assert len(steps) == len(set(steps)) == 1 + 2 * 20
    assert any(step.startswith("begin seed=1 resumed=keyframes:") for step in installation.steps())


def test_frozen_worker_cannot_write_after_it_lost_the_job(installation: Installation) -> None:
    """A worker that wakes after another one took its job over discards what it has."""
    installation.start("reconciler")
    frozen = installation.start_worker()
    job = installation.submit("step_ms=250")
    installation.wait_for_stage(job, JobStage.KEYFRAMES)
    runner = runner_of(frozen)

    freeze(psutil.Process(frozen.pid), installation.folder / "keyvid.db")
    runner.suspend()
    second = installation.start_worker()
    done = installation.wait_until_final(job)
    runner.resume()
    frozen.send_signal(signal.SIGCONT)
    wait_for(lambda: installation.worker_state(frozen.pid) is WorkerState.READY, "the first worker to be ready again")

    assert second.poll() is None
    assert (done.status, done.attempt) == (JobStatus.COMPLETED, 2)
    assert installation.get(job) == done
    assert_gapless(installation, job)


def test_video_of_a_frozen_worker_is_refused(installation: Installation) -> None:
    """A worker that froze while its runner finished comes back with a whole video, and is told that it is too late."""
    installation.start("reconciler")
    frozen = installation.start_worker()
    job = installation.submit("step_ms=60")
    installation.wait_for_stage(job, JobStage.INTERPOLATION)

    freeze(psutil.Process(frozen.pid), installation.folder / "keyvid.db")
    wait_for(lambda: installation.outputs(job) == [f"outputs/{job.id}/1/video.mp4"], "the runner's own video")
    installation.start("worker")
    done = installation.wait_until_final(job)
    frozen.send_signal(signal.SIGCONT)
    wait_for(lambda: "lease_lost" in (installation.folder / "worker.log").read_text(), "the refusal")
    wait_for(lambda: installation.worker_state(frozen.pid) is WorkerState.READY, "the first worker to be ready again")

    assert (done.status, done.attempt, done.fence) == (JobStatus.COMPLETED, 2, 2)
    assert done.output is not None
    assert done.output.key == f"outputs/{job.id}/2/video.mp4"
    assert installation.get(job) == done
    assert_gapless(installation, job)


def test_worker_never_loads_torch(installation: Installation) -> None:
    """Only the runner may hold the model: the worker's own modules import neither torch nor `model`."""
    code = (
        "import sys, workers.lifecycle, workers.reconciler, workers.cli, workers.diagnosis, workers.runner; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'model', 'diffusers')))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
