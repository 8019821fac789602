"""The HTTP API as an application: what it opens at its start, and how its parts are put together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from service import blobs, health
from service.dependencies import Resources, State
from service.errors import install_error_handlers
from service.events import EventFeed
from service.files import routes as files
from service.limits import BodyLimit
from service.models import routes as models
from service.observability import RequestLog, SameSite
from service.openapi import install_openapi
from service.settings import ServiceSettings
from service.videos import routes as videos
from workers.broker import open_broker
from workers.job_store import open_job_store
from workers.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STUDIO = Path(__file__).parent / "studio"

_DESCRIPTION = "Animate a picture to a sound. Send both, follow the video while it is made, download an MP4 in sync."


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Make the application; nothing is opened before it starts.

    Raises: pydantic.ValidationError when a setting is wrong.
    """
    settings = settings or ServiceSettings()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        store = await run_in_threadpool(open_job_store, settings)
        storage = await run_in_threadpool(open_storage, settings)
        broker = open_broker(settings)
        feed = EventFeed(store, poll_seconds=settings.event_poll_seconds, max_streams=settings.max_event_streams)
        following = asyncio.create_task(feed.run())
        try:
            yield State(
                resources=Resources(
                    settings=settings,
                    store=store,
                    storage=storage,
                    send_ticket=broker.send_ticket,
                    is_broker_up=broker.is_up,
                    feed=feed,
                    probe_limiter=anyio.CapacityLimiter(settings.max_probes),
                )
            )
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            broker.close()
            store.close()

    app = FastAPI(
        title="keyvid", version=version("keyvid"), description=_DESCRIPTION, lifespan=lifespan, redoc_url=None
    )
    for router in (videos.router, files.router, models.router, blobs.router, health.router):
        app.include_router(router)
    _mount_front_page(app)
    install_error_handlers(app)
    install_openapi(app)
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_body_bytes,
        idle_seconds=settings.body_idle_seconds,
        total_seconds=settings.body_total_seconds,
    )
    app.add_middleware(SameSite)
    app.add_middleware(RequestLog)  # added last, so it stands outermost
    return app


def _mount_front_page(app: FastAPI) -> None:
    """The browser page where it is installed, else directions."""
    if STUDIO.is_dir():
        app.mount("/", StaticFiles(directory=STUDIO, html=True))
        return

    @app.get("/", include_in_schema=False)
    async def get_directions() -> dict[str, str]:
        """Tell a visitor where things are."""
        return {"name": "keyvid", "documentation": "/docs", "openapi": "/openapi.json", "videos": "/v1/videos"}
