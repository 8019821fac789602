"""What the service answers, as far as programs usually look; `raw` is all of it. Times are unix seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

Status = Literal["queued", "in_progress", "completed", "failed", "cancelled"]
Item = TypeVar("Item")

FINAL_STATUSES = ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class VideoError:
    """Why a video failed; `code` is stable."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the work: localization, keyframes, interpolation, mux."""

    name: str
    status: Literal["pending", "running", "done"]
    steps_done: int
    steps_total: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Keyframes:
    """What was heard: one motion score per frame, its peaks and valleys, and the frames painted first."""

    indices: tuple[int, ...]
    curve: tuple[float, ...]
    peaks: tuple[int, ...]
    valleys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """The finished MP4."""

    bytes: int
    sha256: str
    duration_s: float
    frames: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Video:
    """One requested video. `progress` is percent; `eta_seconds` the time to its end, where it can be told."""

    id: str
    status: Status
    progress: int
    stage: str
    model: str
    prompt: str
    seed: int
    created_at: int
    completed_at: int | None
    expires_at: int | None
    queue_position: int | None
    eta_seconds: float | None
    error: VideoError | None
    stages: tuple[Stage, ...]
    keyframes: Keyframes | None
    output: Output | None
    metadata: Mapping[str, str]
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def is_done(self) -> bool:
        """Whether it cannot change any more."""
        return self.status in FINAL_STATUSES

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Video:
        """Read a Video object; fields that this version does not know stay in `raw`."""
        return cls(
            id=body["id"],
            status=body["status"],
            progress=body["progress"],
            stage=body["stage"],
            model=body["model"],
            prompt=body["prompt"],
            seed=body["seed"],
            created_at=body["created_at"],
            completed_at=body.get("completed_at"),
            expires_at=body.get("expires_at"),
            queue_position=body.get("queue_position"),
            eta_seconds=body.get("eta_seconds"),
            error=_part(VideoError, body.get("error")),
            stages=tuple(_known(Stage, stage) for stage in body["stages"]),
            keyframes=_part(Keyframes, _with_tuples(body.get("keyframes"))),
            output=_part(Output, body.get("output")),
            metadata=body.get("metadata", {}),
            raw=body,
        )


@dataclass(frozen=True, slots=True)
class File:
    """A picture or a sound that was sent ahead; give it to `create` in place of a path."""

    id: str
    kind: Literal["image", "audio"]
    filename: str
    bytes: int
    created_at: int
    expires_at: int | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> File:
        """Read a File object."""
        return _known(cls, {**body, "raw": body})


@dataclass(frozen=True, slots=True)
class Localization:
    """What was heard in a sound, and the keyframes that a video of it would have, as frames and in seconds."""

    keyframes: Keyframes
    seconds: tuple[float, ...]
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Localization:
        """Read a Localization object."""
        heard = {name: tuple(body[name]) for name in ("curve", "peaks", "valleys")}
        plan = body["keyframes"]
        return cls(Keyframes(indices=tuple(plan["indices"]), **heard), tuple(plan["seconds"]), raw=body)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list; `last_id` is the next page's `after`."""

    data: tuple[Item, ...]
    last_id: str | None
    has_more: bool


def id_of(resource: Video | File | str) -> str:
    """The id of a video or a file, or the id that was given."""
    return resource if isinstance(resource, str) else resource.id


def _known(kind: type[Item], body: Mapping[str, Any]) -> Item:
    """A dataclass from those members of `body` that it has."""
    return kind(**{name: body.get(name) for name in kind.__dataclass_fields__})  # type: ignore[attr-defined]


def _part(kind: type[Item], body: Mapping[str, Any] | None) -> Item | None:
    return None if body is None else _known(kind, body)


def _with_tuples(body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if body is None:
        return None
    return {name: tuple(value) if isinstance(value, list) else value for name, value in body.items()}
