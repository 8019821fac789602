"""Requests, jobs and outputs that the contract suites share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.contract import AudioInput, ImageInput, VideoRequest
from workers.jobs import Failure, Keyframes, Output

if TYPE_CHECKING:
    from workers.job_store import JobStore
    from workers.jobs import EventType, Job, Lease

TENANT = "default"
MODEL = "keyvid-mini"
LEASE_S = 30.0
FAILURE = Failure("worker_crashed", "The worker stopped.")

KEYFRAMES = Keyframes(indices=(0, 5, 9), curve=(0.0, 1.0), peaks=(5,), valleys=(9,))
OUTPUT = Output(
    key="outputs/j/1/video.mp4", sha256="0" * 64, bytes=9, frames=48, fps=24, width=512, height=320, duration_s=2.0
)


def video_request(*, seed: int = 1, image_key: str = "inputs/image", audio_key: str = "inputs/audio") -> VideoRequest:
    """A request as the API would accept it."""
    return VideoRequest(
        model="keyvid-mini",
        prompt="a hammer hits an anvil",
        image=ImageInput(key=image_key, sha256="1" * 64, width=640, height=480, bytes=10),
        audio=AudioInput(key=audio_key, sha256="2" * 64, duration_s=2.0, sample_rate=48_000, channels=2, bytes=20),
        image_fit="cover",
        audio_start=0.0,
        width=512,
        height=320,
        seed=seed,
    )


def create_job(store: JobStore, **knobs: object) -> Job:
    """A queued job."""
    return store.create(video_request(**knobs), tenant=TENANT, metadata={"shot": "7"})


def claim_job(store: JobStore, owner: str = "worker-a") -> Lease:
    """The lease of the next job."""
    claimed = store.claim(owner, model=MODEL, lease_s=LEASE_S)
    assert claimed is not None
    return claimed[1]


def event_types(store: JobStore, job: Job) -> list[EventType]:
    """Kinds of all events of a job, in order."""
    return [event.type for event in store.events(job.id, after_seq=0, limit=100)]
