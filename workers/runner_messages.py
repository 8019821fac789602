"""What the supervisor and its runner say to each other over their pipe."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from workers.jobs import NO_ORIGIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.contract import VideoRequest
    from workers.jobs import Failure, JobStage, Keyframes, Origin, Output


class Remedy(StrEnum):
    """What may help a job that failed."""

    NONE = "none"  # it would fail again
    RETRY = "retry"  # the same runner may try again
    RESTART = "restart"  # only a fresh runner may try again


@dataclass(frozen=True, slots=True)
class RunJob:
    """To the runner: make this video.

    `checkpoints` are those of the job, the newest first, as the store gives them; `keyframes` are known once they were
    heard.
    """

    job_id: str
    fence: int
    request: VideoRequest
    checkpoints: tuple[Mapping[str, Any], ...]
    origin: Origin = NO_ORIGIN
    keyframes: Keyframes | None = None


@dataclass(frozen=True, slots=True)
class StopJob:
    """To the runner: stop this job at the next step. Nothing happens when another one runs.

    `leaves_state` lets it finish its step and leave a checkpoint first.
    """

    job_id: str
    fence: int
    leaves_state: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """From the runner: the model is in memory and will be warmed up."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From the runner: warm, and waiting for jobs. `engine` describes what was loaded."""

    engine: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """From the runner, before it ends: there is no model to run."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Step:
    """From the runner: `step` of `total` steps of `stage` are done, `progress` percent of the job.

    `device_memory` is what its GPU holds, in bytes, now and then.
    """

    stage: JobStage
    step: int
    total: int
    progress: int
    device_memory: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """From the runner: the state of a stage is in storage, after `step` steps, or finished where that is None."""

    stage: JobStage
    key: str
    sha256: str
    keyframes: Keyframes
    engine_digest: str
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Previewed:
    """From the runner: a small picture of a frame, as the stage sees it now, is in storage. Sizes are pixels."""

    stage: JobStage
    frame: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Done:
    """From the runner: the video is in storage, checked."""

    output: Output
    usage: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Stopped:
    """From the runner: the job was stopped as asked, and nothing of it runs any more."""


@dataclass(frozen=True, slots=True)
class Failed:
    """From the runner: the job cannot be finished in this attempt."""

    failure: Failure
    remedy: Remedy


Command = RunJob | StopJob
Report = Loaded | Ready | LoadFailed | Step | Checkpointed | Previewed | Done | Stopped | Failed
