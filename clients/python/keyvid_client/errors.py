"""Everything that can go wrong, as one tree under `KeyVIDError`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from keyvid_client.schemas import Video


class KeyVIDError(Exception):
    """The root of this package's errors."""


class ConnectionFailed(KeyVIDError):
    """The service could not be reached, or the connection broke."""


class WaitTimeout(KeyVIDError):
    """The video was not done in time; it goes on being made. `video` is how it was last seen."""

    def __init__(self, video: Video, *, timeout_s: float) -> None:
        super().__init__(f"{video.id} is {video.status} ({video.progress} %) after {timeout_s:g} s")
        self.video = video


class VideoFailed(KeyVIDError):
    """The video could not be made: `video.error` says why."""

    def __init__(self, video: Video) -> None:
        reason = f"{video.error.code}: {video.error.message}" if video.error else video.status
        super().__init__(f"{video.id} failed: {reason}")
        self.video = video


class VideoCancelled(KeyVIDError):
    """Somebody cancelled the video."""

    def __init__(self, video: Video) -> None:
        super().__init__(f"{video.id} was cancelled")
        self.video = video


class BrokenContent(KeyVIDError):
    """What was downloaded is not what the service has: its SHA-256 differs."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field of a request."""

    pointer: str
    detail: str


class ApiError(KeyVIDError):
    """The service answered with a problem (RFC 9457).

    `code` is stable and made for programs; `errors` names the fields that are to blame; `retry_after_s` is how long
    the service asks to wait before the next try, if it says so.
    """

    def __init__(self, reply: httpx.Response) -> None:
        problem = _problem(reply)
        self.status = reply.status_code
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail") or reply.reason_phrase)
        self.request_id = problem.get("request_id") or reply.headers.get("x-request-id")
        self.errors = tuple(FieldProblem(item["pointer"], item["detail"]) for item in problem.get("errors", ()))
        self.retry_after_s = _retry_after_s(reply)
        self.should_retry = reply.headers.get("x-should-retry") != "false"
        super().__init__(f"{self.status} {self.code}: {self.detail}")


class InvalidRequest(ApiError):
    """A field or a file is not valid (400, 413, 415, 416, 422)."""


class Unauthorized(ApiError):
    """The API key is missing, wrong, expired or revoked (401)."""


class Forbidden(ApiError):
    """The API key may not do this (403)."""


class NotFound(ApiError):
    """There is no such thing (404)."""


class Conflict(ApiError):
    """The video is not in a state that allows this: not ready, for one (409)."""


class Expired(ApiError):
    """It is no longer kept (410)."""


class RateLimited(ApiError):
    """Too many, or too often (429)."""


class Unavailable(ApiError):
    """Not possible now (503)."""


class ServerError(ApiError):
    """Something went wrong on the other side (any other 5xx)."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    413: InvalidRequest,
    415: InvalidRequest,
    416: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
    503: Unavailable,
}


def error_of(reply: httpx.Response) -> ApiError:
    """The error that an answer stands for; its body must have been read."""
    kind = _BY_STATUS.get(reply.status_code, ServerError if reply.status_code >= 500 else ApiError)
    return kind(reply)


def _problem(reply: httpx.Response) -> dict[str, Any]:
    """The problem document; a proxy between us and the service may answer with something else."""
    try:
        body = reply.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _retry_after_s(reply: httpx.Response) -> float | None:
    try:
        seconds = float(reply.headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
