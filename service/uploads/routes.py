"""/v1/uploads: announce a file, send it straight to storage, complete it."""

from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, Request, Response

from service.access.guard import GUARD_FILES
from service.dependencies import FilesDep, ResourcesDep
from service.files.schemas import File
from service.openapi import headers, problems
from service.readiness import check_free_disk
from service.uploads.schemas import CreateUpload, Upload
from service.uploads.service import UploadService

router = APIRouter(prefix="/v1/uploads", tags=["files"], dependencies=[Depends(GUARD_FILES)])


async def get_uploads(resources: ResourcesDep, files: FilesDep) -> UploadService:
    """Operations on the caller's uploads."""
    return UploadService(uploads=resources.uploads, files=files)


UploadsDep = Annotated[UploadService, Depends(get_uploads)]


@router.post(
    "",
    operation_id="createUpload",
    status_code=201,
    responses={201: headers("Location"), **problems(413, 422, 503)},
)
def create_upload(
    request: Request, response: Response, announced: CreateUpload, resources: ResourcesDep, uploads: UploadsDep
) -> Upload:
    """Announce a picture or a sound, and get a link that takes its bytes past this API."""
    check_free_disk(resources.settings)
    upload = uploads.create(announced, base_url=resources.settings.public_url or str(request.base_url))
    response.headers["Location"] = f"/v1/uploads/{upload.id}"
    return upload


@router.post(
    "/{upload_id}/complete",
    operation_id="completeUpload",
    status_code=201,
    responses={
        200: {"description": "It is completed already: this is its file.", "model": File, **headers("Location")},
        201: headers("Location"),
        **problems(404, 409, 410, 413, 415, 422, 503),
    },
)
async def complete_upload(upload_id: str, response: Response, resources: ResourcesDep, uploads: UploadsDep) -> File:
    """Make a file of what arrived: its size, its hash and its content are checked now."""
    file, is_new = await anyio.to_thread.run_sync(uploads.complete, upload_id, limiter=resources.intake_limiter)
    if not is_new:
        response.status_code = 200
    response.headers["Location"] = f"/v1/files/{file.id}"
    return file
