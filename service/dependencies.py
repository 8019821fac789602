"""What endpoints are given: the resources that the application opened at its start."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypedDict

import anyio
from fastapi import Depends, Request

from service.access.gate import Gate
from service.access.guard import PrincipalDep
from service.bell import Bell
from service.events import EventFeed
from service.files.service import FileService
from service.localizations.listener import ListenerLine
from service.metrics import InstallationMetrics
from service.readiness import Readiness
from service.settings import ServiceSettings
from service.shared_look import SharedLook
from service.videos.forecasts import Forecasts
from service.videos.polls import Polls
from service.videos.queue_places import QueuePlaces
from service.videos.service import VideoService
from service.webhooks.service import WebhookService
from workers.audit import AuditLog
from workers.event_tickets import EventTickets
from workers.job_store import JobStore
from workers.key_store import KeyStore
from workers.quarantine import Quarantine
from workers.roster import Roster
from workers.storage import BlobStore
from workers.traces import Tracer
from workers.uploads import Uploads
from workers.webhooks.store import WebhookStore


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything that lives as long as the application."""

    settings: ServiceSettings
    store: JobStore
    storage: BlobStore
    bell: Bell
    is_broker_up: Callable[[], bool]
    feed: EventFeed
    forecasts: Forecasts
    installation: InstallationMetrics
    places: QueuePlaces
    polls: Polls
    gate: Gate
    tickets: EventTickets
    uploads: Uploads
    keys: KeyStore
    webhooks: WebhookStore
    roster: Roster
    quarantine: Quarantine
    audit: AuditLog
    tracer: Tracer
    listener: ListenerLine
    readiness: SharedLook[Readiness]
    intake_limiter: anyio.CapacityLimiter
    hearing_limiter: anyio.CapacityLimiter
    resolving_limiter: anyio.CapacityLimiter


class State(TypedDict):
    """What the lifespan yields; requests find it under `request.state`."""

    resources: Resources


async def get_resources(request: Request) -> Resources:
    """The application's resources."""
    resources: Resources = request.state.resources
    return resources


ResourcesDep = Annotated[Resources, Depends(get_resources)]


async def get_settings(resources: ResourcesDep) -> ServiceSettings:
    """The settings."""
    return resources.settings


async def get_storage(resources: ResourcesDep) -> BlobStore:
    """Blob storage."""
    return resources.storage


async def get_videos(resources: ResourcesDep, principal: PrincipalDep) -> VideoService:
    """Operations on the caller's videos."""
    return VideoService(
        store=resources.store,
        storage=resources.storage,
        settings=resources.settings,
        forecasts=resources.forecasts,
        places=resources.places,
        bell=resources.bell,
        caller=principal,
    )


async def get_files(resources: ResourcesDep, principal: PrincipalDep) -> FileService:
    """Operations on the caller's files."""
    return FileService(store=resources.store, storage=resources.storage, settings=resources.settings, caller=principal)


async def get_webhooks(resources: ResourcesDep, principal: PrincipalDep) -> WebhookService:
    """Operations on the caller's webhooks."""
    return WebhookService(webhooks=resources.webhooks, settings=resources.settings, caller=principal)


SettingsDep = Annotated[ServiceSettings, Depends(get_settings)]
StorageDep = Annotated[BlobStore, Depends(get_storage)]
VideosDep = Annotated[VideoService, Depends(get_videos)]
FilesDep = Annotated[FileService, Depends(get_files)]
WebhooksDep = Annotated[WebhookService, Depends(get_webhooks)]
