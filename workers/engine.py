"""What a runner needs of whatever makes the videos: the model, or in fault tests a double that only takes time."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from workers.contract import VideoRequest
    from workers.jobs import JobStage, Keyframes
    from workers.previews import Previews
    from workers.settings import Settings

MODEL_ENGINE = "workers.runner:load_model"


@dataclass(frozen=True, slots=True)
class EngineJob:
    """One video to make: canonical inputs in files, and the file to write.

    `state` is what an earlier attempt left.
    """

    request: VideoRequest
    image: Path
    audio: Path
    output: Path
    state: bytes | None


@dataclass(frozen=True, slots=True)
class EngineHooks:
    """How an engine says where it is; each of them may raise to stop it.

    on_step: stage, steps done, steps in all; before every step.
    on_state: the stage, what it leaves, what was heard, and the step that it is left at; None when it is finished.
    check: as often as is cheap.
    previews: who is to be shown pictures on the way; None when nobody wants them.
    wants_state: whether the job will be stopped before its next step, and should leave its state before that.
    """

    on_step: Callable[[JobStage, int, int], None]
    on_state: Callable[[JobStage, bytes, Keyframes, int | None], None]
    check: Callable[[], None]
    previews: Previews | None = None
    wants_state: Callable[[], bool] | None = None


class Engine(Protocol):
    """Makes videos, one at a time."""

    @property
    def digest(self) -> str:
        """Changes whenever a saved state would no longer lead to the same video."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Version, model, device and precision, for the record."""
        ...

    def warm_up(self) -> None:
        """Do everything once that is slow the first time."""
        ...

    def generate(self, job: EngineJob, hooks: EngineHooks) -> None:
        """Write the MP4 to `job.output`."""
        ...


@runtime_checkable
class MeasuresDevice(Protocol):
    """An engine whose device has a memory of its own."""

    def device_memory(self) -> Mapping[str, int]:
        """Bytes of the device: `allocated`, `reserved`, `peak` (most reserved in this job), `total`; empty on a CPU."""
        ...


def load_engine(settings: Settings) -> Engine:
    """Load the engine that the settings name."""
    place = MODEL_ENGINE if settings.engine == "model" else settings.engine
    module, _, factory = place.partition(":")
    engine: Engine = getattr(import_module(module), factory)(settings)
    return engine
