"""Every error the API answers with; how they look is in `problem_details`.

A class fixes status and code; where it is raised only adds the sentence that the caller reads. Messages never hold a
path, a key or a trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field: a JSON pointer such as `/seed`, and a sentence."""

    pointer: str
    detail: str


class ServiceError(Exception):
    """Something went wrong on our side."""

    status: int = 500
    code: str = "internal"
    title: str = "Internal error"
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self, detail: str | None = None, *, param: str | None = None, errors: Iterable[FieldError] = ()
    ) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.errors = tuple(errors) or ((FieldError(f"/{param}", self.detail),) if param else ())
        self.param = param or (self.errors[0].pointer.removeprefix("/") if self.errors else None)
        super().__init__(self.detail)


class MalformedMultipart(ServiceError):
    """The body is not well-formed multipart/form-data."""

    status = 400
    code = "malformed_multipart"
    title = "Malformed body"


class InvalidJson(ServiceError):
    """The body is not well-formed JSON."""

    status = 400
    code = "invalid_json"
    title = "Malformed body"


class Forbidden(ServiceError):
    """Pages of other sites may not change anything here."""

    status = 403
    code = "cross_site_request"
    title = "Forbidden"


class Unauthorized(ServiceError):
    """The API key is missing, wrong, expired or revoked."""

    status = 401
    code = "invalid_api_key"
    title = "Unauthorized"
    headers = MappingProxyType({"WWW-Authenticate": 'Bearer realm="keyvid"'})


class InvalidTicket(Unauthorized):
    """The ticket is used, expired, or another video's: make a new one."""

    code = "invalid_ticket"


class SessionHeaderMissing(Forbidden):
    """A change in a browser's session needs the header `X-KeyVID-Session: 1`, which other sites cannot send."""

    code = "session_header_missing"


class InsufficientScope(ServiceError):
    """The API key may not do this."""

    status = 403
    code = "insufficient_scope"
    title = "Forbidden"


class NotFound(ServiceError):
    """There is no such thing here."""

    status = 404
    code = "not_found"
    title = "Not found"


class RequestTimeout(ServiceError):
    """The body did not arrive in time."""

    status = 408
    code = "request_timeout"
    title = "Request timeout"
    headers = MappingProxyType({"Connection": "close"})


class Conflict(ServiceError):
    """The video is not in a state that allows this."""

    status = 409
    code = "conflict"
    title = "Conflict"
    headers = MappingProxyType({"x-should-retry": "false"})  # the OpenAI client repeats every other 409


class KeyframesNeeded(Conflict):
    """The model of this server has no localizer to hear with: send `keyframes` with the video."""

    code = "keyframes_needed"
    title = "Keyframes needed"


class UploadIncomplete(Conflict):
    """The bytes have not arrived yet: send them to the upload's `upload_url`, then complete it."""

    code = "upload_incomplete"
    title = "Upload incomplete"


class NotReady(Conflict):
    """The video is not ready yet."""

    code = "not_ready"
    title = "Not ready"


class ContentExpired(ServiceError):
    """The video's content is no longer kept."""

    status = 410
    code = "content_expired"
    title = "Content expired"


class VideoExpired(ContentExpired):
    """The video has expired, and nothing of it is kept."""

    code = "video_expired"
    title = "Video expired"


class FileHasExpired(ContentExpired):
    """The file has expired, and nothing of it is kept."""

    code = "file_expired"
    title = "File expired"


class UploadHasExpired(ContentExpired):
    """The upload was not completed in time: begin another one."""

    code = "upload_expired"
    title = "Upload expired"


class PayloadTooLarge(ServiceError):
    """The body is larger than allowed."""

    status = 413
    code = "payload_too_large"
    title = "Payload too large"


class UnsupportedMedia(ServiceError):
    """The file is not in an accepted format."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class RangeNotSatisfiable(ServiceError):
    """The range lies outside the content."""

    status = 416
    code = "range_not_satisfiable"
    title = "Range not satisfiable"

    def __init__(self, *, size: int) -> None:
        super().__init__(f"The content has {size} bytes.")
        self.headers = {"Content-Range": f"bytes */{size}"}


class ValidationFailed(ServiceError):
    """The request has invalid fields."""

    status = 422
    code = "validation_failed"
    title = "Invalid request"


class RefusedUpload(ValidationFailed):
    """The file cannot be used."""

    def __init__(self, detail: str, *, code: str, param: str) -> None:
        super().__init__(detail, param=param)
        self.code = code


class UploadMismatch(ValidationFailed):
    """What arrived has not the size or the SHA-256 that was announced."""

    code = "upload_mismatch"
    title = "Upload mismatch"


class Quarantined(ValidationFailed):
    """These inputs ended the workers that tried them: they are not tried again."""

    code = "poison_input"
    title = "Refused inputs"


class IdempotencyReused(ValidationFailed):
    """This Idempotency-Key was used for another request."""

    code = "idempotency_key_reused"
    title = "Reused key"


class RateLimited(ServiceError):
    """Too many requests."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"

    def __init__(
        self, detail: str, *, policy: str, limit: int, retry_after_s: float, window_s: float, code: str = "rate_limited"
    ) -> None:
        super().__init__(detail)
        self.code = code
        left = rate_fields(policy, limit=limit, left=0, wait_s=retry_after_s, window_s=window_s)
        self.headers = {"Retry-After": str(math.ceil(retry_after_s)), **left}


class TooManyStreams(ServiceError):
    """Too many event streams are open: poll the video instead."""

    status = 429
    code = "concurrency_limit"
    title = "Too many streams"
    headers = MappingProxyType({"Retry-After": "5"})


class Unavailable(ServiceError):
    """The service cannot do this now: try again later."""

    status = 503
    code = "storage_unavailable"
    title = "Service unavailable"
    headers = MappingProxyType({"Retry-After": "5"})


class Busy(Unavailable):
    """The server is too busy for this request now."""

    code = "busy"


class LocalizerUnavailable(Unavailable):
    """Nobody is there to hear the sound now; videos are made all the same."""

    code = "localizer_unavailable"
    headers = MappingProxyType({"Retry-After": "2"})


def rate_fields(policy: str, *, limit: int, left: int, wait_s: float, window_s: float) -> dict[str, str]:
    """What is left of a limit, in the header fields of the IETF draft "RateLimit header fields for HTTP"."""
    window = f";w={round(window_s)}" if window_s else ""
    return {
        "RateLimit-Policy": f'"{policy}";q={limit}{window}',
        "RateLimit": f'"{policy}";r={left};t={math.ceil(wait_s)}',
    }


def field_errors(details: Iterable[ErrorDetails]) -> list[FieldError]:
    """Pydantic's findings as JSON pointers and sentences, without the values that were sent."""
    found = []
    for detail in details:
        location = [str(part).replace("~", "~0").replace("/", "~1") for part in detail["loc"]]
        if location and location[0] in ("body", "query", "path", "header"):
            location = location[1:]
        found.append(FieldError("/" + "/".join(location)[:200], detail["msg"].removeprefix("Value error, ")))
    return found


def invalid_fields(errors: list[FieldError]) -> ValidationFailed:
    """One answer for everything that is wrong with a request."""
    summary = f"{errors[0].pointer.removeprefix('/')}: {errors[0].detail}" if errors else None
    return ValidationFailed(summary, errors=errors)
