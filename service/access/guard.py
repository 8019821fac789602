"""The dependency that every router carries: a key with the right scope, within its rate."""

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request

from service.access.headers import ANSWER_HEADERS
from service.access.principal import Principal
from service.errors import InsufficientScope, SessionHeaderMissing
from workers.access import Scope
from workers.jobs import Origin

READING_METHODS = ("GET", "HEAD")
SCHEME_NAME = "ApiKey"
COOKIE = "keyvid_session"
SESSION_HEADER = "X-KeyVID-Session"

SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "kv_live_...",
    "description": "An API key, made by `keyvid keys create`. A server on a loopback address without keys needs none."
    " In a browser the cookie of POST /v1/session stands in for it.",
}


async def authenticate(request: Request) -> Principal:
    """Who sends the request; each counts against its key's rate.

    Raises: Unauthorized, SessionHeaderMissing, RateLimited; StoreUnavailable.
    """
    gate = request.state.resources.gate
    principal: Principal = await gate.admit(
        authorization=request.headers.get("authorization"),
        host=request.headers.get("host"),
        session=request.cookies.get(COOKIE),
    )
    if principal.session_expires_at is not None and request.method.upper() not in READING_METHODS:
        require_session_header(request)
    if principal.key_id is not None and principal.requests_per_minute:
        request.scope[ANSWER_HEADERS] = gate.rates.count(principal.key_id, per_minute=principal.requests_per_minute)
    return replace(principal, origin=Origin(request.scope.get("request_id"), request.scope.get("traceparent")))


def require_session_header(request: Request) -> None:
    """Make sure that a page of our own sent this: pages of others can send no header of this name.

    Raises: SessionHeaderMissing.
    """
    if request.headers.get(SESSION_HEADER) != "1":
        raise SessionHeaderMissing


PrincipalDep = Annotated[Principal, Depends(authenticate)]


class Guard:
    """Asks for one scope to read and one to change anything.

    Raises: InsufficientScope.
    """

    def __init__(self, *, read: Scope, write: Scope) -> None:
        self._read = read
        self._write = write

    async def __call__(self, request: Request, principal: PrincipalDep) -> None:
        """Let the request pass if its sender may do this."""
        scope = self.scope_of(request.method)
        if scope not in principal.scopes:
            raise InsufficientScope(f"This needs a key with the scope {scope.value}.")

    def scope_of(self, method: str) -> Scope:
        """The scope that a method needs."""
        return self._read if method.upper() in READING_METHODS else self._write


GUARD_VIDEOS = Guard(read=Scope.VIDEOS_READ, write=Scope.VIDEOS_WRITE)
GUARD_FILES = Guard(read=Scope.FILES, write=Scope.FILES)
GUARD_WEBHOOKS = Guard(read=Scope.WEBHOOKS, write=Scope.WEBHOOKS)
GUARD_ADMIN = Guard(read=Scope.ADMIN, write=Scope.ADMIN)
