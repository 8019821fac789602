"""The HTTP API as an application: what it opens at its start, and how its parts are put together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import anyio
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.concurrency import run_in_threadpool

from service import blobs, health, queue
from service.access import routes as access
from service.access import session_routes as sessions
from service.access.gate import Gate
from service.access.headers import SecurityHeaders
from service.address import PlainAddress
from service.admin import routes as admin
from service.bell import Bell
from service.dependencies import Resources, State
from service.events import EventFeed
from service.files import routes as files
from service.front_page import mount_front_page
from service.limits import BodyLimit
from service.localizations import routes as localizations
from service.localizations.listener import ListenerLine
from service.media.sandbox import SANDBOXES
from service.metrics import InstallationMetrics
from service.models import routes as models
from service.observability import RequestLog, SameSite
from service.openapi_document import install_openapi
from service.problem_details import install_error_handlers
from service.readiness import FRESH_S
from service.settings import ServiceSettings
from service.shared_look import SharedLook
from service.sharing import routes as sharing
from service.uploads import routes as uploads
from service.videos import follow_routes as follow
from service.videos import routes as videos
from service.videos.forecasts import Forecasts
from service.videos.polls import Polls
from service.videos.queue_places import QueuePlaces
from service.webhooks import routes as webhooks
from workers.audit import AuditLog
from workers.broker import open_broker
from workers.browser_sessions import BrowserSessions
from workers.event_tickets import EventTickets
from workers.glances import Glances
from workers.job_store import open_job_store
from workers.key_store import KeyStore
from workers.quarantine import Quarantine
from workers.quota import default_limits
from workers.roster import Roster
from workers.schema import announce
from workers.storage import open_storage
from workers.temp_sweep import sweep_temp_dir
from workers.traces import open_tracer
from workers.uploads import Uploads
from workers.webhooks.store import WebhookStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EXPOSED_HEADERS = ("ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID", "Content-Range")
ROUTERS = (
    videos.router,
    follow.tickets,
    follow.events,
    sharing.links,
    sharing.shared,
    files.router,
    uploads.router,
    localizations.router,
    models.router,
    webhooks.endpoints,
    webhooks.deliveries,
    access.router,
    sessions.router,
    queue.router,
    admin.router,
    blobs.router,
    health.router,
)
FILE_ROUTES = (("POST", "/v1/videos"), ("POST", "/v1/files"), ("POST", "/v1/localizations"), ("PUT", "/v1/blobs/"))
STORING_THREADS = 8  # they wait for disks; what computes is the checks, and those take turns
RESOLVING_THREADS = 4  # a nameserver that is away may keep these, and no other request
HEARING_THREADS = 4  # the listener hears one sound at a time; the others are on their way

_DESCRIPTION = "Animate a picture to a sound. Send both, follow the video while it is made, download an MP4 in sync."


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Make the application; nothing is opened before it starts.

    Raises: pydantic.ValidationError when a setting is wrong.
    """
    settings = settings or ServiceSettings()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        await run_in_threadpool(sweep_temp_dir, settings)
        store = await run_in_threadpool(open_job_store, settings)
        announce(store.database.schema())
        keys = KeyStore(store.database, default_limits=default_limits(settings))
        storage = await run_in_threadpool(open_storage, settings)
        broker = open_broker(settings)
        bell = Bell(broker.send_ticket)
        tracer = open_tracer(settings, process="api")
        await run_in_threadpool(partial(SANDBOXES.start, at_once=settings.max_probes))
        places = QueuePlaces(store)
        feed = EventFeed(store, poll_seconds=settings.event_poll_seconds, max_streams=settings.max_event_streams)
        following = asyncio.create_task(feed.run())
        try:
            yield State(
                resources=Resources(
                    settings=settings,
                    store=store,
                    storage=storage,
                    bell=bell,
                    is_broker_up=broker.is_up,
                    feed=feed,
                    forecasts=Forecasts(store.database),
                    installation=InstallationMetrics(store.database),
                    places=places,
                    polls=Polls(Glances(store.database), places),
                    gate=Gate(keys, BrowserSessions(store.database, keys), settings),
                    tickets=EventTickets(store.database),
                    uploads=Uploads(store.database),
                    keys=keys,
                    webhooks=WebhookStore(store.database),
                    roster=Roster(store.database),
                    quarantine=Quarantine(store.database),
                    audit=AuditLog(store.database),
                    tracer=tracer,
                    listener=ListenerLine(settings.listener_url),
                    readiness=SharedLook(fresh_s=FRESH_S),
                    intake_limiter=anyio.CapacityLimiter(settings.max_probes + STORING_THREADS),
                    hearing_limiter=anyio.CapacityLimiter(HEARING_THREADS),
                    resolving_limiter=anyio.CapacityLimiter(RESOLVING_THREADS),
                )
            )
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            tracer.close()
            bell.close()
            broker.close()
            store.close()

    app = FastAPI(
        title="keyvid", version=version("keyvid"), description=_DESCRIPTION, lifespan=lifespan, redoc_url=None
    )
    for router in ROUTERS:
        app.include_router(router)
    mount_front_page(app)
    install_error_handlers(app)
    install_openapi(app, ROUTERS)
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_body_bytes,
        file_routes=FILE_ROUTES,
        idle_seconds=settings.body_idle_seconds,
        total_seconds=settings.body_total_seconds,
    )
    app.add_middleware(PlainAddress)
    app.add_middleware(SameSite, origins=settings.cors_origins)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-None-Match",
                "Last-Event-ID",
                "Range",
            ],
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(RequestLog)
    app.add_middleware(SecurityHeaders, is_shared=bool(settings.cors_origins))  # added last, so it stands outermost
    return app
