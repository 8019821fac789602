"""The browser page at `/`: static files of `service/studio`, each under a path of its own.

Nothing is mounted at `/` itself, so that the API answers unknown paths and methods that a route does not have.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request  # noqa: TC002  (the framework reads the annotation)
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response

STUDIO = Path(__file__).parent / "studio"
FOLDERS = ("css", "js", "examples")
FILES = {"/": "index.html", "/favicon.svg": "favicon.svg"}


def mount_front_page(app: FastAPI) -> None:
    """Serve the page."""
    for folder in FOLDERS:
        app.mount(f"/{folder}", StaticFiles(directory=STUDIO / folder))
    files = StaticFiles(directory=STUDIO)

    async def get_file(request: Request) -> Response:
        return await files.get_response(FILES[request.url.path], request.scope)

    for path in FILES:
        app.add_api_route(path, get_file, methods=["GET", "HEAD"], include_in_schema=False)
