"""How errors look: RFC 9457 problem details with an `error` member.

The `error` member is what clients of the OpenAI API read, so one body serves both worlds.
"""

from __future__ import annotations

import errno
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.errors import (
    Conflict,
    ContentExpired,
    FileHasExpired,
    IdempotencyReused,
    InvalidJson,
    NotFound,
    Quarantined,
    RateLimited,
    RequestTimeout,
    ServiceError,
    Unavailable,
    UploadHasExpired,
    VideoExpired,
    field_errors,
    invalid_fields,
)
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
    UploadExpired,
    UploadNotKnown,
    WorkerError,
    WorkerNotKnown,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from fastapi import FastAPI, Request
    from starlette.responses import Response

logger = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"

_FROM_WORKERS: Mapping[type[WorkerError], type[ServiceError]] = {
    JobNotFound: NotFound,
    JobExpired: VideoExpired,
    FileNotKnown: NotFound,
    FileExpired: FileHasExpired,
    BlobNotFound: ContentExpired,
    IllegalTransition: Conflict,
    KeyNotKnown: NotFound,
    UploadNotKnown: NotFound,
    UploadExpired: UploadHasExpired,
    WorkerNotKnown: NotFound,
    InputNotKnown: NotFound,
    InputQuarantined: Quarantined,
    IdempotencyKeyReused: IdempotencyReused,
}
_PUBLIC_WORDS = {JobNotFound: "There is no such video.", FileNotKnown: "There is no such file."}


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
    words = str(error) if isinstance(error, IllegalTransition) else _PUBLIC_WORDS.get(type(error))
    return kind(words)


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
        details = error.errors()
        if any(detail["type"] == "json_invalid" for detail in details):
            return problem_response(request, InvalidJson())
        return problem_response(request, invalid_fields(field_errors(details)))

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
        OSError: _system_error,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _system_error(request: Request, error: OSError) -> JSONResponse:
    """A disk that has filled up is the caller's reason to come back later; everything else is an error of ours."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise error
    logger.warning("disk_full")
    return problem_response(request, Unavailable("There is not enough free disk."))


def _from_http_exception(error: HTTPException) -> ServiceError:
    """The framework's own refusals: an unknown route or method, a body in no known encoding.

    One that wraps an error of ours, as it does with all that reading a body raises, is that error.
    """
    if isinstance(error.__cause__, ServiceError):
        return error.__cause__
    if error.status_code == 400:
        return InvalidJson()
    phrase = HTTPStatus(error.status_code).phrase
    answer: ServiceError = NotFound() if error.status_code == 404 else ServiceError(phrase)
    if error.status_code != 404:
        answer.status = error.status_code
        answer.title = phrase
        answer.code = phrase.lower().replace(" ", "_") if error.status_code < 500 else answer.code
        answer.headers = error.headers or {}
    return answer
