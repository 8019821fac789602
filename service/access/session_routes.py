"""/v1/session: a browser shows its API key once, and from then on has a cookie that scripts cannot read."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from starlette.concurrency import run_in_threadpool

from service.access.guard import COOKIE, SCHEME_NAME, PrincipalDep, authenticate, require_session_header
from service.access.principal import Principal
from service.dependencies import ResourcesDep
from service.errors import Unauthorized
from service.openapi import problems
from workers.access import Scope

router = APIRouter(prefix="/v1/session", tags=["session"])

_ANY_SCOPE: dict[str, Any] = {"security": [{SCHEME_NAME: []}]}


class SessionFields(BaseModel):
    """What a browser signs in with; the key may also come as `Authorization: Bearer`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key: SecretStr | None = Field(None, max_length=200, description="An API key.", examples=["kv_live_8f2a..."])

    @field_validator("api_key")
    @classmethod
    def _is_plain(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not (key.get_secret_value().isascii() and key.get_secret_value().isprintable()):
            raise ValueError("must be printable ASCII characters")
        return key


class Session(BaseModel):
    """As whom a caller is let in, and until when. Times are unix seconds."""

    model_config = ConfigDict(frozen=True)

    object: Literal["session"] = "session"
    kind: Literal["open", "key", "session"] = Field(
        description="`open`: this server asks for no key; `key`: one came with the request; `session`: by the cookie."
    )
    tenant: str = Field(description="Whom the session is for.", examples=["default"])
    scopes: list[Scope] = Field(description="What it may be used for.")
    expires_at: int | None = Field(
        None,
        description="When the session ends, in unix seconds; null where nothing ends it.",
        examples=[1_795_521_600],
    )


class SessionEnded(BaseModel):
    """A session that is over."""

    object: Literal["session"] = "session"
    ended: bool = Field(True, description="Always true.")


@router.post("", operation_id="createSession", responses=problems(401, 403, 422, 429, 503), openapi_extra=_ANY_SCOPE)
async def create_session(
    request: Request, response: Response, resources: ResourcesDep, fields: SessionFields | None = None
) -> Session:
    """Sign a browser in: answers with a cookie (HttpOnly, SameSite=Strict) that stands in for the API key.

    Where no key is needed none is asked for, and there is no cookie.
    """
    gate, settings = resources.gate, resources.settings
    if fields is None or fields.api_key is None:
        principal = await authenticate(request)
        if principal.key_id is None or principal.session_expires_at is not None:
            return _describe(principal)
        secret = request.headers["authorization"].partition(" ")[2].strip()
    else:
        secret = fields.api_key.get_secret_value().strip()
    grant = await gate.grant(secret)
    session = await run_in_threadpool(gate.sessions.open, grant.key, life_s=settings.session_seconds)
    is_https = request.url.scheme == "https" or (settings.public_url or "").startswith("https:")
    response.set_cookie(
        COOKIE,
        session.secret,
        max_age=settings.session_seconds,
        path="/",
        httponly=True,
        secure=is_https,
        samesite="strict",
    )
    return Session(
        kind="session",
        tenant=grant.key.tenant,
        scopes=sorted(grant.key.scopes),
        expires_at=int(session.expires_at),
    )


@router.get("", operation_id="getSession", responses=problems(401, 403, 429, 503), openapi_extra=_ANY_SCOPE)
async def get_session(principal: PrincipalDep) -> Session:
    """Tell as whom the caller is let in; 401 means that it has to sign in."""
    return _describe(principal)


@router.delete("", operation_id="deleteSession", responses=problems(401, 403, 429, 503), openapi_extra=_ANY_SCOPE)
async def delete_session(request: Request, response: Response, resources: ResourcesDep) -> SessionEnded:
    """Sign a browser out: the session ends, and the cookie is taken back, also that of a session which has ended."""
    secret = request.cookies.get(COOKIE)
    if secret is not None:
        require_session_header(request)
    try:
        await authenticate(request)
    except Unauthorized:
        if secret is None:
            raise
    else:
        if secret is not None:
            await run_in_threadpool(resources.gate.sessions.close, secret)
            resources.gate.forget(secret)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return SessionEnded()


def _describe(principal: Principal) -> Session:
    kind: Literal["open", "key", "session"] = "open" if principal.key_id is None else "key"
    until = principal.session_expires_at
    return Session(
        kind=kind if until is None else "session",
        tenant=principal.tenant,
        scopes=sorted(principal.scopes),
        expires_at=None if until is None else int(until),
    )
