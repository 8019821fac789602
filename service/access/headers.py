"""Header fields that every answer carries: what browsers may do with it, and what is left of the sender's rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ANSWER_HEADERS = "keyvid.answer_headers"  # in a request's scope: fields that its answer is to carry, errors included
DATA_PATHS = ("/v1/", "/openapi", "/livez", "/readyz", "/health", "/metrics")
MANUAL_PATHS = ("/docs",)

_DATA_POLICY = (  # what a browser needs to show a picture or a video by itself
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"
)
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_MANUAL_POLICY = (  # the framework's manual takes its script and style from there
    "default-src 'none'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' "
    "https://cdn.jsdelivr.net; img-src data: https://fastapi.tiangolo.com; connect-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), payment=(), usb=()",
}
_ONE_YEAR = "max-age=31536000"


class SecurityHeaders:
    """ASGI middleware: adds to every answer the fields that it does not carry itself.

    Pages of other origins may use answers only where the operator has named such origins (`is_shared`).
    """

    def __init__(self, app: ASGIApp, *, is_shared: bool) -> None:
        self._app = app
        resource_policy = "cross-origin" if is_shared else "same-origin"
        self._fields = {
            policy: _encoded({**_ALWAYS, "Cross-Origin-Resource-Policy": resource_policy, **own})
            for policy, own in {
                "data": {"Content-Security-Policy": _DATA_POLICY, "Cache-Control": "no-store"},
                "manual": {"Content-Security-Policy": _MANUAL_POLICY},
                "page": {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-cache"},
            }.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fields = self._fields[_kind(scope["path"])]
        if scope.get("scheme") == "https":
            fields = [*fields, (b"strict-transport-security", _ONE_YEAR.encode())]

        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                extra = [*fields, *_encoded(scope.get(ANSWER_HEADERS, {}))]
                headers = [*message["headers"], *(field for field in extra if field[0] not in present)]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_fields)


def _kind(path: str) -> str:
    if path.startswith(DATA_PATHS):
        return "data"
    return "manual" if path.startswith(MANUAL_PATHS) else "page"


def _encoded(fields: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in fields.items()]
