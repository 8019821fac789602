"""What can be done with a video. Everything here blocks and runs in a thread."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from service.errors import (
    ContentExpired,
    FieldError,
    InsufficientScope,
    ValidationFailed,
    invalid_fields,
)
from service.forms import parse_fields
from service.media.intake import kept_input, probe_limits, store_input
from service.media.validation import check_uploads
from service.multipart import FormLimits
from service.videos.downloads import Variant, find_content
from service.videos.presentation import describe
from service.videos.results import copy_result
from service.videos.schemas import MAX_SEED, ContentUrl, CreateVideoFields, Video, VideoList
from workers.access import Scope
from workers.contract import AudioInput, ImageInput, VideoRequest
from workers.errors import JobExpired, JobNotFound
from workers.idempotency import IdempotencyKey
from workers.jobs import EventType, JobStage, JobStatus, Priority, Terms
from workers.result_cache import seed_of

if TYPE_CHECKING:
    from service.access.principal import Principal
    from service.bell import Bell
    from service.content import Content
    from service.media.signature import Kind
    from service.media.validation import CheckedUpload, Upload
    from service.multipart import Form
    from service.settings import ServiceSettings
    from service.videos.forecasts import Forecasts
    from service.videos.queue_places import QueuePlaces
    from workers.job_store import JobStore
    from workers.jobs import Job, JobEvent
    from workers.storage import BlobStore

logger = structlog.get_logger(__name__)


IMAGE_FIELD = "input_reference"
AUDIO_FIELD = "audio"
PAINTING_MODEL = "keyvid-512"
"""The model whose frames are painted anew; the others move the caller's picture, as far as is asked for."""


def form_limits(settings: ServiceSettings) -> FormLimits:
    """What the form of a new video may hold."""
    return FormLimits(
        max_file_bytes={IMAGE_FIELD: settings.max_image_bytes, AUDIO_FIELD: settings.max_audio_bytes},
        max_parts=settings.max_parts,
        max_field_bytes=settings.max_field_bytes,
    )


@dataclass(frozen=True, slots=True)
class VideoService:
    """Operations on one tenant's videos."""

    store: JobStore
    storage: BlobStore
    settings: ServiceSettings
    forecasts: Forecasts
    places: QueuePlaces
    bell: Bell
    caller: Principal

    @property
    def tenant(self) -> str:
        """Whose videos they are."""
        return self.caller.tenant

    def check_room(self) -> None:
        """Look whether a new video would be accepted now, before its files are received. Raises: QuotaExceeded."""
        self.store.check_room(tenant=self.tenant)

    def create(self, form: Form, *, idempotency_key: str | None = None) -> Video:
        """Check a request completely, keep its inputs, and accept it: a returned video is never lost.

        The same request under the same `idempotency_key` gets the same video.
        Raises: ValidationFailed, RefusedUpload, UnsupportedMedia, InsufficientScope; QuotaExceeded, InputQuarantined,
        IdempotencyKeyReused and Transient errors of the queue side.
        """
        fields = parse_fields(CreateVideoFields, form.fields, file_fields=(IMAGE_FIELD, AUDIO_FIELD))
        idempotency = self._idempotency(idempotency_key, form)
        made = self.store.made_with(idempotency, tenant=self.tenant) if idempotency else None
        if made is not None:
            return self._describe(made)
        if fields.priority == "high" and Scope.VIDEOS_PRIORITY not in self.caller.scopes:
            raise InsufficientScope(f"This priority needs a key with the scope {Scope.VIDEOS_PRIORITY.value}.")
        if fields.model not in (None, self.settings.model_name):
            raise ValidationFailed("There is no model of this name: see /v1/models.", param="model")
        if fields.motion_strength != 1 and self.settings.model_name == PAINTING_MODEL:
            raise ValidationFailed(f"{PAINTING_MODEL} has no motion strength: leave it out.", param="motion_strength")
        image, audio = self._inputs(form, fields)
        width, height = (int(side) for side in fields.size.split("x"))
        request = VideoRequest(
            model=self.settings.model_name,
            image=image,
            audio=audio,
            width=width,
            height=height,
            seed=secrets.randbelow(MAX_SEED + 1) if fields.seed is None else fields.seed,
            **fields.model_dump(
                include={
                    "prompt",
                    "image_fit",
                    "image_crop",
                    "audio_start",
                    "num_inference_steps",
                    "guidance_text",
                    "guidance_image",
                    "guidance_audio",
                    "interpolation_mode",
                    "motion_strength",
                    "preset",
                    "keyframes",
                    "reference_compat",
                    "preview",
                }
            ),
        )
        cached = None
        if fields.cache == "use":
            if fields.seed is None:
                request = request.model_copy(update={"seed": seed_of(request)})
            found = self.store.find_result(request, tenant=self.tenant)
            cached = copy_result(found, self.storage, temp_dir=self.settings.temp_dir) if found else None
        job = self.store.create(
            request,
            tenant=self.tenant,
            metadata=fields.metadata,
            priority=Priority[fields.priority.upper()],
            api_key_id=self.caller.key_id,
            idempotency=idempotency,
            terms=self._terms(fields),
            cached=cached,
            origin=self.caller.origin,
        )
        self.bell.ring()
        logger.info("video_accepted", job_id=job.id)
        return self._describe(job)

    def get(self, video_id: str) -> Video:
        """Read one video. Raises: JobNotFound."""
        return self._describe(self.store.get(video_id, tenant=self.tenant))

    def list(self, *, after: str | None, limit: int, order: str, status: JobStatus | None) -> VideoList:
        """Read one page of videos. Raises: ValidationFailed when `after` is no video."""
        try:
            jobs = self.store.list(tenant=self.tenant, after=after, limit=limit + 1, order=order, status=status)
        except JobNotFound as error:
            raise ValidationFailed("There is no such video.", param="after") from error
        page = [describe(job, eta_seconds=self._eta_seconds(job)) for job in jobs[:limit]]
        return VideoList(
            data=page,
            first_id=page[0].id if page else None,
            last_id=page[-1].id if page else None,
            has_more=len(jobs) > limit,
        )

    def eta_after(self, event: JobEvent, *, model: str) -> float | None:
        """Seconds until a running video is completed, as of an event that tells its step."""
        if event.type not in (EventType.STAGE, EventType.PROGRESS) or "step" not in event.data:
            return None
        pace = self.forecasts.pace(model)
        left_s = pace.left_after(JobStage(event.data["stage"]), step=event.data["step"], total=event.data["total"])
        return None if left_s is None else round(left_s, 1)

    def cancel(self, video_id: str) -> Video:
        """Ask a video to stop; a finished one stays as it is. Raises: JobNotFound."""
        return self._describe(self.store.request_cancel(video_id, tenant=self.tenant))

    def retry(self, video_id: str) -> tuple[Video, bool]:
        """Make a failed or cancelled video once more, from the same inputs and seed; says whether that is new.

        Its priority is the same, but normal in place of high where the caller may not ask for that.
        Raises: JobNotFound, IllegalTransition, QuotaExceeded, InputQuarantined.
        """
        may_be_high = Scope.VIDEOS_PRIORITY in self.caller.scopes
        job, is_new = self.store.create_again(
            video_id,
            tenant=self.tenant,
            highest=Priority.HIGH if may_be_high else Priority.NORMAL,
            api_key_id=self.caller.key_id,
            origin=self.caller.origin,
        )
        if is_new:
            self.bell.ring()
            logger.info("video_accepted", job_id=job.id, retried_from=video_id)
        return self._describe(job), is_new

    def delete(self, video_id: str) -> None:
        """Cancel a video and remove it from view. Raises: JobNotFound."""
        self.store.delete(video_id, tenant=self.tenant, actor=self.caller.actor)

    def content(self, video_id: str, variant: Variant) -> Content:
        """Find a file of a video. Raises: JobNotFound, NotReady, ContentExpired, NotFound."""
        try:
            job = self.store.get(video_id, tenant=self.tenant)
        except JobExpired as error:
            raise ContentExpired from error
        return find_content(job, variant, self.storage)

    def content_url(self, video_id: str, variant: Variant, *, base_url: str) -> ContentUrl:
        """Make a link to a finished video's file. Raises: JobNotFound, NotReady, ContentExpired, NotFound."""
        content = self.content(video_id, variant)
        expires_s = self.settings.link_seconds
        url = self.storage.signed_url(content.key, expires_s=expires_s, filename=content.filename)
        if url.startswith("/"):
            url = base_url.rstrip("/") + url
        return ContentUrl(url=url, expires_at=int(time.time()) + expires_s)

    def _describe(self, job: Job) -> Video:
        position = self.places.of_job(job)
        return describe(job, queue_position=position, eta_seconds=self._eta_seconds(job, position=position))

    def _terms(self, fields: CreateVideoFields) -> Terms:
        ttl_s = fields.ttl_seconds
        kept_s = None if ttl_s is None else min(ttl_s, self.settings.retention_seconds)
        return Terms(deadline_s=fields.deadline_seconds, retention_s=kept_s)

    def _eta_seconds(self, job: Job, *, position: int | None = None) -> float | None:
        if job.status.is_terminal:
            return None
        return self.forecasts.pace(job.request.model).eta_seconds(job, position=position)

    def _idempotency(self, key: str | None, form: Form) -> IdempotencyKey | None:
        """What an Idempotency-Key stands for: every field and every file of the form."""
        if key is None:
            return None
        files = {name: upload.sha256 for name, upload in form.files.items()}
        said = json.dumps([form.fields, files], sort_keys=True)
        fingerprint = hashlib.sha256(said.encode()).hexdigest()
        return IdempotencyKey(key, fingerprint, life_s=self.settings.idempotency_seconds)

    def _inputs(self, form: Form, fields: CreateVideoFields) -> tuple[ImageInput, AudioInput]:
        """The picture and the sound, from files of the form or kept ones; nothing is stored unless both can be used."""
        errors = []
        for name, file_id, noun in (
            (IMAGE_FIELD, fields.image_file_id, "image"),
            (AUDIO_FIELD, fields.audio_file_id, "audio"),
        ):
            if (name in form.files) == (file_id is not None):
                errors.append(FieldError(f"/{name}", f"Send exactly one of {name} (a file) and {noun}_file_id."))
        if errors:
            raise invalid_fields(errors)
        kept_image = kept_input(self.store, ImageInput, fields.image_file_id, tenant=self.tenant, param="image_file_id")
        kept_audio = kept_input(self.store, AudioInput, fields.audio_file_id, tenant=self.tenant, param="audio_file_id")
        sent: list[tuple[Upload, Kind | None]] = []
        if kept_image is None:
            sent.append((form.files[IMAGE_FIELD], "image"))
        if kept_audio is None:
            sent.append((form.files[AUDIO_FIELD], "audio"))
        checked = check_uploads(sent, limits=probe_limits(self.settings)) if sent else []
        duration_s = kept_audio.duration_s if kept_audio else checked[-1].measured["duration_s"]
        if fields.audio_start >= duration_s:
            raise ValidationFailed(f"The sound ends after {duration_s:.2f} seconds.", param="audio_start")
        size = (kept_image.width, kept_image.height) if kept_image else _size_of(checked[0])
        _check_crop(fields, size)
        inputs = [kept_image, kept_audio, *(store_input(self.storage, upload) for upload in checked)]
        image = next(item for item in inputs if isinstance(item, ImageInput))
        audio = next(item for item in inputs if isinstance(item, AudioInput))
        return image, audio


def _size_of(picture: CheckedUpload) -> tuple[int, int]:
    return picture.measured["width"], picture.measured["height"]


def _check_crop(fields: CreateVideoFields, size: tuple[int, int]) -> None:
    """Raises: ValidationFailed when the crop reaches out of a picture of `size` (width, height)."""
    if fields.image_crop is None:
        return
    left, top, width, height = fields.image_crop
    if left + width > size[0] or top + height > size[1]:
        raise ValidationFailed(
            f"The picture is {size[0]}x{size[1]} px: the crop reaches out of it.", param="image_crop"
        )
