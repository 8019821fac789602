"""What can be done with a file. Everything here blocks and runs in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.errors import PayloadTooLarge, ValidationFailed
from service.files.schemas import CreateFileFields, File, FileMedia
from service.forms import parse_fields
from service.media.intake import probe_limits, store_input
from service.media.validation import check_uploads, signature_of
from service.multipart import FormLimits
from workers.jobs import StoredFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.access.principal import Principal
    from service.media.signature import Kind
    from service.media.validation import Upload
    from service.multipart import Form
    from service.settings import ServiceSettings
    from workers.job_store import JobStore
    from workers.storage import BlobStore

FILE_FIELD = "file"
_KINDS: Mapping[str, Kind] = {"image": "image", "audio": "audio"}  # with other purposes the content decides


def form_limits(settings: ServiceSettings) -> FormLimits:
    """What the form of a new file may hold."""
    return FormLimits(
        max_file_bytes={FILE_FIELD: max_bytes(None, settings)},
        max_parts=settings.max_parts,
        max_field_bytes=settings.max_field_bytes,
    )


def max_bytes(purpose: str | None, settings: ServiceSettings) -> int:
    """The most bytes that a file of this purpose may have; one whose content decides may be the larger kind."""
    most = {"image": settings.max_image_bytes, "audio": settings.max_audio_bytes}
    return most.get(purpose or "", max(most.values()))


@dataclass(frozen=True, slots=True)
class FileService:
    """Operations on one tenant's files."""

    store: JobStore
    storage: BlobStore
    settings: ServiceSettings
    caller: Principal

    @property
    def tenant(self) -> str:
        """Whose files they are."""
        return self.caller.tenant

    def create(self, form: Form) -> File:
        """Check a picture or a sound and keep it.

        Raises: ValidationFailed, RefusedUpload, UnsupportedMedia, PayloadTooLarge.
        """
        fields = parse_fields(CreateFileFields, form.fields, file_fields=(FILE_FIELD,))
        upload = form.files.get(FILE_FIELD)
        if upload is None:
            raise ValidationFailed("Send the file in this field.", param=FILE_FIELD)
        file = self.check(upload, purpose=fields.purpose)
        return describe(self.store.add_file(file, keep_s=self.settings.file_retention_seconds))

    def check(self, upload: Upload, *, purpose: str) -> StoredFile:
        """Check what arrived and put its canonical form into storage; the store has yet to name and keep it.

        Raises: RefusedUpload, UnsupportedMedia, PayloadTooLarge; StorageUnavailable.
        """
        kind = signature_of(upload, kind=_KINDS.get(purpose)).kind
        most = max_bytes(kind, self.settings)
        if upload.size_bytes > most:
            raise PayloadTooLarge(f"The file may have at most {most / 1e6:g} MB.", param=upload.field)
        (checked,) = check_uploads([(upload, kind)], limits=probe_limits(self.settings))
        return StoredFile(
            id="",
            tenant=self.tenant,
            purpose=purpose,
            filename=upload.filename,
            media=store_input(self.storage, checked).model_dump(mode="json"),
            created_at=0.0,
        )

    def get(self, file_id: str) -> File:
        """Read one file. Raises: FileNotKnown."""
        return describe(self.store.get_file(file_id, tenant=self.tenant))

    def delete(self, file_id: str) -> None:
        """Forget a file; videos that use it keep it. Raises: FileNotKnown."""
        self.store.delete_file(file_id, tenant=self.tenant, actor=self.caller.actor)


def describe(file: StoredFile) -> File:
    """A kept file as its caller sees it."""
    return File(
        id=file.id,
        bytes=file.media["bytes"],
        created_at=int(file.created_at),
        expires_at=None if file.expires_at is None else int(file.expires_at),
        filename=file.filename,
        purpose=file.purpose,
        kind="image" if "width" in file.media else "audio",
        media=FileMedia.model_validate(dict(file.media)),
    )
