"""GET /v1/blobs/{key}: signed, expiring links to local blobs; in production the links lead to S3 instead."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.content import ANSWERS, Content, content_response
from service.dependencies import SettingsDep, StorageDep
from service.errors import NotFound
from service.openapi import problems
from workers.storage import checked_key, is_local_link_valid

router = APIRouter(prefix="/v1/blobs", tags=["videos"])

_MEDIA_TYPES = {"mp4": "video/mp4", "png": "image/png", "jpg": "image/jpeg"}


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
    try:
        checked_key(key)
    except ValueError as error:
        raise NotFound from error
    if settings.storage != "local" or not is_local_link_valid(
        settings.signing_key(), key, expires=expires, filename=filename, signature=signature
    ):
        raise NotFound("This link is not valid, or no longer.")
    stat = storage.stat(key)
    media_type = _MEDIA_TYPES.get(key.rpartition(".")[2], "application/octet-stream")
    return content_response(request, storage, Content(key, f'"{stat.etag}"', media_type, filename or "download"))
