"""One id and one log line for each request, and the last handler of errors that nobody expected."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from starlette.requests import Request

from service.errors import Forbidden, ServiceError
from service.problem_details import problem_response
from workers.jobs import Origin
from workers.logs import named
from workers.metrics import HTTP_SECONDS
from workers.traces import NO_SPAN, Span, Tracer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = structlog.get_logger(__name__)

REQUEST_ID_HEADER = b"x-request-id"
_USABLE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_QUIET_PATHS = ("/livez", "/readyz", "/health", "/metrics")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class RequestLog:
    """ASGI middleware around the application: names the request, logs it, and answers 500 as its last resort."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application under a request id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def named_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                HTTP_SECONDS.labels(_method(scope), _route(scope), status).observe(time.perf_counter() - started)
                message = {**message, "headers": [*message["headers"], (REQUEST_ID_HEADER, request_id.encode())]}
            await send(message)

        span = _begin_span(scope, request_id)
        scope["traceparent"] = span.traceparent  # what is asked for here hangs below it
        with named(Origin(request_id, span.traceparent)):
            try:
                await self._app(scope, receive, named_send)
            except Exception:
                logger.exception("request_failed", method=scope["method"], route=_route(scope))
                if status:  # too late for another answer: the broken connection tells
                    raise
                await problem_response(Request(scope), ServiceError())(scope, receive, named_send)
            finally:
                seconds = round(time.perf_counter() - started, 4)
                route = _route(scope)
                span.rename(f"{_method(scope)} {route}")
                span.note(status=status)
                span.end(failure=str(status) if status >= 500 else None)
                log = logger.debug if scope["path"] in _QUIET_PATHS else logger.info
                log("request", method=scope["method"], route=route, status=status, seconds=seconds)


class SameSite:
    """ASGI middleware: a page of another site may not make its visitor's browser change anything here.

    Pages of `origins` may.
    """

    def __init__(self, app: ASGIApp, *, origins: Iterable[str] = ()) -> None:
        self._app = app
        self._origins = {origin.encode() for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application unless the browser says that another site sent this."""
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS:
            sent = dict(scope["headers"])
            if sent.get(b"sec-fetch-site") == b"cross-site" and sent.get(b"origin") not in self._origins:
                await problem_response(Request(scope), Forbidden())(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _request_id(scope: Scope) -> str:
    """The caller's id when it is one that can stand in a log, else a new one."""
    sent = next((value for name, value in scope["headers"] if name == REQUEST_ID_HEADER), b"")
    return sent.decode() if _USABLE_ID.fullmatch(sent) else uuid4().hex


def _method(scope: Scope) -> str:
    """The method, if it is one that there is: anybody may invent more."""
    return scope["method"] if scope["method"] in _METHODS else "other"


def _begin_span(scope: Scope, request_id: str) -> Span:
    """A span for a request that may change something, and for one whose caller traces it; polls are too many."""
    sent = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    if scope["method"] in _SAFE_METHODS and not sent:
        return NO_SPAN
    tracer: Tracer = scope["state"]["resources"].tracer
    return tracer.begin("request", parent=sent.decode("latin-1") or None, kind="server", request_id=request_id)


def _route(scope: Scope) -> str:
    """The route's template, so that logs count routes and not ids."""
    route = scope.get("route")
    return str(getattr(route, "path", "unknown"))
