"""Every error the API answers with, and how it looks: RFC 9457 problem details with an `error` member.

The `error` member is what clients of the OpenAI API read, so one body serves both worlds. A class fixes status and
code; where it is raised only adds the sentence that the caller reads. Messages never hold a path, a key or a trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from workers.errors import (
    BlobNotFound,
    FileExpired,
    FileNotKnown,
    IdempotencyKeyReused,
    IllegalTransition,
    InputNotKnown,
    InputQuarantined,
    JobExpired,
    JobNotFound,
    KeyNotKnown,
    QuotaExceeded,
    Transient,
    WorkerError,
    WorkerNotKnown,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from fastapi import FastAPI, Request
    from pydantic_core import ErrorDetails
    from starlette.responses import Response

logger = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"


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


_FROM_WORKERS: Mapping[type[WorkerError], type[ServiceError]] = {
    JobNotFound: NotFound,
    JobExpired: VideoExpired,
    FileNotKnown: NotFound,
    FileExpired: FileHasExpired,
    BlobNotFound: ContentExpired,
    IllegalTransition: Conflict,
    KeyNotKnown: NotFound,
    WorkerNotKnown: NotFound,
    InputNotKnown: NotFound,
    InputQuarantined: Quarantined,
    IdempotencyKeyReused: IdempotencyReused,
}
_PUBLIC_WORDS = {JobNotFound: "There is no such video.", FileNotKnown: "There is no such file."}


def rate_fields(policy: str, *, limit: int, left: int, wait_s: float, window_s: float) -> dict[str, str]:
    """What is left of a limit, in the header fields of the IETF draft "RateLimit header fields for HTTP"."""
    window = f";w={round(window_s)}" if window_s else ""
    return {
        "RateLimit-Policy": f'"{policy}";q={limit}{window}',
        "RateLimit": f'"{policy}";r={left};t={math.ceil(wait_s)}',
    }


def from_worker_error(error: WorkerError) -> ServiceError:
    """The answer to an error of the queue side."""
    if isinstance(error, Transient):
        return Unavailable()
    if isinstance(error, QuotaExceeded):
        return RateLimited(
            str(error),
            policy=error.code,
            limit=error.limit,
            retry_after_s=error.retry_after_s,
            window_s=error.window_s,
            code=error.code,
        )
    kind = _FROM_WORKERS.get(type(error), ServiceError)
    return kind(_PUBLIC_WORDS.get(type(error)))


def field_errors(details: Iterable[ErrorDetails]) -> list[FieldError]:
    """Pydantic's findings as JSON pointers and sentences, without the values that were sent."""
    found = []
    for detail in details:
        location = [str(part).replace("~", "~0").replace("/", "~1") for part in detail["loc"]]
        if location and location[0] in ("body", "query", "path", "header"):
            location = location[1:]
        found.append(FieldError("/" + "/".join(location)[:200], detail["msg"].removeprefix("Value error, ")))
    return found


def problem_body(error: ServiceError, *, instance: str, request_id: str | None) -> dict[str, Any]:
    """The body of an answer: RFC 9457 members, our own, and the `error` object."""
    kind = {429: "rate_limit_error"}.get(
        error.status, "invalid_request_error" if error.status < 500 else "server_error"
    )
    return {
        "type": f"urn:keyvid:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
        "errors": [{"pointer": item.pointer, "detail": item.detail} for item in error.errors],
        "error": {"message": error.detail, "type": kind, "param": error.param, "code": error.code},
    }


def problem_response(request: Request, error: ServiceError) -> JSONResponse:
    """Render any error of ours."""
    body = problem_body(error, instance=request.url.path[:300], request_id=request.scope.get("request_id"))
    return JSONResponse(body, status_code=error.status, headers=dict(error.headers), media_type=PROBLEM_JSON)


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of the service, of the queue side and of the framework with a problem body."""

    async def service_error(request: Request, error: ServiceError) -> JSONResponse:
        return problem_response(request, error)

    async def worker_error(request: Request, error: WorkerError) -> JSONResponse:
        answer = from_worker_error(error)
        if answer.status >= 500:
            logger.warning("queue_side_failed", error=type(error).__name__, exc_info=error)
        return problem_response(request, answer)

    async def invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = field_errors(error.errors())
        return problem_response(request, ValidationFailed(_summary(errors), errors=errors))

    async def http_exception(request: Request, error: HTTPException) -> JSONResponse:
        return problem_response(request, _from_http_exception(error))

    async def client_left(request: Request, _error: ClientDisconnect) -> JSONResponse:
        return problem_response(request, RequestTimeout("The connection closed before the body was complete."))

    handlers: dict[type[Exception], Callable[..., Awaitable[Response]]] = {
        ServiceError: service_error,
        WorkerError: worker_error,
        RequestValidationError: invalid_request,
        HTTPException: http_exception,
        ClientDisconnect: client_left,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _summary(errors: list[FieldError]) -> str | None:
    return f"{errors[0].pointer.removeprefix('/')}: {errors[0].detail}" if errors else None


def invalid_fields(errors: list[FieldError]) -> ValidationFailed:
    """One answer for everything that is wrong with a form."""
    return ValidationFailed(_summary(errors), errors=errors)


def _from_http_exception(error: HTTPException) -> ServiceError:
    """The framework's own refusals: an unknown route, a method that a route does not have."""
    phrase = HTTPStatus(error.status_code).phrase
    answer: ServiceError = NotFound() if error.status_code == 404 else ServiceError(phrase)
    if error.status_code != 404:
        answer.status = error.status_code
        answer.title = phrase
        answer.code = phrase.lower().replace(" ", "_") if error.status_code < 500 else answer.code
        answer.headers = error.headers or {}
    return answer
