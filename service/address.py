"""The address of a request: one that holds control characters names nothing here, and no database can keep them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from service.errors import NotFound, ValidationFailed
from service.problem_details import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.errors import ServiceError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_BYTE = re.compile(rb"[\x00-\x1f\x7f]")


class PlainAddress:
    """ASGI middleware: answers 404 to control characters in a path, and 422 to those in a query."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application unless the address holds what none of ours does."""
        refusal = _refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await problem_response(Request(scope), refusal)(scope, receive, send)


def _refusal(scope: Scope) -> ServiceError | None:
    if _CONTROL.search(scope["path"]):
        return NotFound()
    if _CONTROL_BYTE.search(unquote_to_bytes(scope["query_string"])):
        return ValidationFailed("The query must not hold control characters.")
    return None
