"""/v1/blobs/{key}: signed, expiring links to local blobs; in production the links lead to S3 instead."""

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from service.content import ANSWERS, Content, content_response
from service.dependencies import SettingsDep, StorageDep
from service.errors import NotFound, PayloadTooLarge, UploadMismatch
from service.multipart import BATCH_BYTES
from service.openapi import problems
from service.readiness import check_free_disk
from workers.storage import checked_key, is_local_link_valid, is_local_upload_valid

router = APIRouter(prefix="/v1/blobs", tags=["videos"])

_MEDIA_TYPES = {"mp4": "video/mp4", "png": "image/png", "jpg": "image/jpeg"}
_BODY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.get(
    "/{key:path}",
    operation_id="downloadBlob",
    response_class=Response,
    responses={**ANSWERS, **problems(404, 410, 416, 422, 503)},
)
def get_blob(  # noqa: PLR0917
    request: Request,
    key: str,
    expires: int,
    signature: Annotated[str, Query(max_length=128)],
    settings: SettingsDep,
    storage: StorageDep,
    filename: Annotated[str, Query(max_length=300)] = "",
) -> Response:
    """Follow a link from `content-url`."""
    _check_key(key)
    if settings.storage != "local" or not is_local_link_valid(
        settings.signing_key(), key, expires=expires, filename=filename, signature=signature
    ):
        raise NotFound("This link is not valid, or no longer.")
    stat = storage.stat(key)
    media_type = _MEDIA_TYPES.get(key.rpartition(".")[2], "application/octet-stream")
    return content_response(request, storage, Content(key, f'"{stat.etag}"', media_type, filename or "download"))


@router.put(
    "/{key:path}",
    operation_id="uploadBlob",
    status_code=204,
    openapi_extra={"requestBody": {"required": True, "content": _BODY}},
    responses=problems(404, 408, 413, 422, 503),
)
async def put_blob(  # noqa: PLR0917
    request: Request,
    key: str,
    expires: int,
    size: Annotated[int, Query(ge=1, description="How many bytes the link takes.", examples=[336_044])],
    signature: Annotated[str, Query(max_length=128)],
    settings: SettingsDep,
    storage: StorageDep,
) -> None:
    """Send the bytes of an upload to its `upload_url`: exactly as many as were announced."""
    _check_key(key)
    if settings.storage != "local" or not is_local_upload_valid(
        settings.signing_key(), key, expires=expires, size=size, signature=signature
    ):
        raise NotFound("This link is not valid, or no longer.")
    await run_in_threadpool(check_free_disk, settings)
    settings.temp_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix="upload-", dir=settings.temp_dir) as file:
        received, batch = 0, bytearray()
        async for chunk in request.stream():
            received += len(chunk)
            if received > size:
                raise PayloadTooLarge(f"The link takes {size} bytes.")
            batch += chunk
            if len(batch) >= BATCH_BYTES:
                await run_in_threadpool(file.write, bytes(batch))
                batch.clear()
        if received < size:
            raise UploadMismatch(f"The link takes {size} bytes, not {received}.")
        await run_in_threadpool(file.write, bytes(batch))
        await run_in_threadpool(file.flush)
        await run_in_threadpool(storage.put_file, key, Path(file.name), content_type="application/octet-stream")


def _check_key(key: str) -> None:
    try:
        checked_key(key)
    except ValueError as error:
        raise NotFound from error
