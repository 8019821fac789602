"""/v1/files: create, read, delete."""

import anyio
from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from service.access.guard import GUARD_FILES
from service.dependencies import FilesDep, ResourcesDep
from service.files.schemas import CreateFileFields, File, FileDeleted
from service.files.service import FILE_FIELD, form_limits
from service.multipart import receive_form
from service.openapi import form_body, headers, problems
from service.readiness import check_free_disk

router = APIRouter(prefix="/v1/files", tags=["files"], dependencies=[Depends(GUARD_FILES)])

_CREATE_BODY = form_body(
    CreateFileFields,
    files={FILE_FIELD: "A picture (JPEG, PNG, WebP) or a sound (WAV, FLAC, MP3, Ogg, M4A)."},
    required_files=(FILE_FIELD,),
)


@router.post(
    "",
    operation_id="createFile",
    status_code=201,
    openapi_extra=_CREATE_BODY,
    responses={201: headers("Location"), **problems(400, 408, 413, 415, 422, 503)},
)
async def create_file(request: Request, response: Response, resources: ResourcesDep, files: FilesDep) -> File:
    """Keep a picture or a sound for later videos, for clients that can send one file at a time."""
    settings = resources.settings
    await run_in_threadpool(check_free_disk, settings)
    async with receive_form(request, settings.temp_dir, form_limits(settings)) as form:
        file = await anyio.to_thread.run_sync(files.create, form, limiter=resources.intake_limiter)
    response.headers["Location"] = f"/v1/files/{file.id}"
    return file


@router.get("/{file_id}", operation_id="getFile", responses=problems(404, 410, 503))
def get_file(file_id: str, files: FilesDep) -> File:
    """Describe one file."""
    return files.get(file_id)


@router.delete("/{file_id}", operation_id="deleteFile", responses=problems(404, 503))
def delete_file(file_id: str, files: FilesDep) -> FileDeleted:
    """Forget a file; videos that use it keep it."""
    files.delete(file_id)
    return FileDeleted(id=file_id)
