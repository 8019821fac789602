"""POST /v1/localizations."""

from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, Request

from service.access.guard import GUARD_VIDEOS, PrincipalDep
from service.dependencies import ResourcesDep
from service.errors import Busy
from service.localizations.schemas import CreateLocalizationFields, Localization
from service.localizations.service import AUDIO_FIELD, LocalizationService, form_limits
from service.multipart import receive_form
from service.openapi import form_body, problems

POLICY = "localizations"
MAX_WAITING = 16

_CREATE_BODY = form_body(
    CreateLocalizationFields,
    files={AUDIO_FIELD: "The sound: WAV, FLAC, MP3, Ogg (Vorbis, Opus) or M4A, 0.25 to 60 seconds."},
)


async def count_localization(resources: ResourcesDep, principal: PrincipalDep) -> None:
    """Count a localization on the caller's key, where its requests are counted. Raises: RateLimited."""
    per_minute = resources.settings.quota_localizations_per_minute
    if principal.key_id is not None and principal.requests_per_minute and per_minute:
        resources.gate.rates.count(f"{POLICY} {principal.key_id}", per_minute=per_minute, policy=POLICY)


async def get_localizations(resources: ResourcesDep, principal: PrincipalDep) -> LocalizationService:
    """Localizations for the caller."""
    return LocalizationService(
        store=resources.store,
        storage=resources.storage,
        settings=resources.settings,
        listener=resources.listener,
        caller=principal,
    )


router = APIRouter(
    prefix="/v1/localizations",
    tags=["localizations"],
    dependencies=[Depends(GUARD_VIDEOS), Depends(count_localization)],
)


@router.post(
    "",
    operation_id="createLocalization",
    openapi_extra=_CREATE_BODY,
    responses=problems(400, 408, 409, 410, 413, 415, 422, 503),
)
async def create_localization(
    request: Request,
    resources: ResourcesDep,
    localizations: Annotated[LocalizationService, Depends(get_localizations)],
) -> Localization:
    """Hear a sound at once, without making a video: its motion curve, and the keyframes that a video would have."""
    _check_room(resources.intake_limiter)
    async with receive_form(request, resources.settings.temp_dir, form_limits(resources.settings)) as form:
        part = await anyio.to_thread.run_sync(localizations.prepare, form, limiter=resources.intake_limiter)
    _check_room(resources.hearing_limiter)
    return await anyio.to_thread.run_sync(localizations.hear, part, limiter=resources.hearing_limiter)


def _check_room(limiter: anyio.CapacityLimiter) -> None:
    """Raises: Busy when as many wait as may."""
    if limiter.statistics().tasks_waiting >= MAX_WAITING:
        raise Busy("Too many sounds wait to be heard.")
