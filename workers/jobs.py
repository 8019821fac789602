"""The job: its states, its stages, and what is known about it at any time."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.contract import VideoRequest


class JobStatus(StrEnum):
    """The public states: OpenAI's four and `cancelled`."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job can never change again."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class JobStage(StrEnum):
    """Where a job is; the three in the middle are the paper's."""

    QUEUED = "queued"
    LOCALIZATION = "localization"
    KEYFRAMES = "keyframes"
    INTERPOLATION = "interpolation"
    MUX = "mux"
    DONE = "done"


class Priority(IntEnum):
    """Order of a tenant's own waiting jobs: smaller is sooner."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


RUNNING_STAGES = (JobStage.LOCALIZATION, JobStage.KEYFRAMES, JobStage.INTERPOLATION, JobStage.MUX)


class EventType(StrEnum):
    """Kinds of rows in `job_events`, and names of server-sent events."""

    QUEUED = "video.queued"
    STARTED = "video.started"
    STAGE = "video.stage"
    PROGRESS = "video.progress"
    PREVIEW = "video.preview"
    RETRYING = "video.retrying"
    COMPLETED = "video.completed"
    FAILED = "video.failed"
    CANCELLED = "video.cancelled"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a caller asks of a job besides the video: how soon it must be done, how long it is kept. Seconds."""

    deadline_s: float | None = None
    retention_s: float | None = None


NO_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Origin:
    """Which HTTP request asked for a job: its id in the logs, and its place in a trace (W3C `traceparent`)."""

    request_id: str | None = None
    traceparent: str | None = None

    @property
    def trace_id(self) -> str | None:
        """The trace that all spans of the job are in; None where no traces are made."""
        return self.traceparent.split("-")[1] if self.traceparent else None


NO_ORIGIN = Origin()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed: a stable public code and a message safe to show."""

    code: str
    message: str


WORKER_DRAINING = "worker_draining"  # why an attempt was given back that was not at fault
TOO_LATE = Failure("deadline_exceeded", "The video was not completed by its deadline.")


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage as the caller sees it."""

    name: JobStage
    status: str  # pending | running | done
    steps_done: int = 0
    steps_total: int = 0
    seconds: float | None = None
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """The finished MP4 in blob storage, as measured from the file itself."""

    key: str
    sha256: str
    bytes: int
    frames: int
    fps: int
    width: int
    height: int
    duration_s: float
    thumbnail_key: str | None = None
    spritesheet_key: str | None = None
    video_codec: str = "h264"
    audio_codec: str = "aac"
    pix_fmt: str = "yuv420p"


@dataclass(frozen=True, slots=True)
class Keyframes:
    """What the model heard: the motion curve and the frames to paint.

    `source` names the model whose localizer chose them; `request` if the caller did.
    """

    indices: tuple[int, ...]
    curve: tuple[float, ...]
    peaks: tuple[int, ...]
    valleys: tuple[int, ...]
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One requested video. Times are unix seconds by the database's clock."""

    id: str
    tenant: str
    status: JobStatus
    stage: JobStage
    request: VideoRequest
    created_at: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    api_key_id: str | None = None  # the key it was asked for with
    origin: Origin = NO_ORIGIN
    progress: int = 0
    seq: int = 0
    attempt: int = 0
    max_attempts: int = 3
    fence: int = 0
    lease_owner: str | None = None
    lease_until: float | None = None
    cancel_requested_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    expires_at: float | None = None  # from then on there is nothing of it but the answer that it has expired
    deadline_at: float | None = None
    retried_from: str | None = None  # id of the job that this one repeats
    cached_from: str | None = None  # id of the job whose result was taken over
    stages: tuple[StageReport, ...] = ()
    keyframes: Keyframes | None = None
    output: Output | None = None
    failure: Failure | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One entry of a job's gapless history."""

    job_id: str
    seq: int
    type: EventType
    data: Mapping[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One uploaded file, checked and kept for later requests."""

    id: str
    tenant: str
    purpose: str  # image | audio
    filename: str
    media: Mapping[str, Any]
    created_at: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof that a worker owns a job: every write carries it and is refused once the fence has moved."""

    job_id: str
    owner: str
    fence: int
