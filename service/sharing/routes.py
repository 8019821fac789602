"""/v1/videos/{id}/share-links, and /v1/shared/{token}, which needs no key."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service.access.guard import GUARD_VIDEOS, PrincipalDep
from service.content import ANSWERS, content_response
from service.dependencies import ResourcesDep
from service.openapi import problems
from service.sharing.schemas import SharedVideo, ShareLink, ShareLinkFields, ShareLinkList
from service.sharing.service import SharedVariant, SharedVideos, SharingService
from workers.share_links import ShareLinks

links = APIRouter(prefix="/v1/videos", tags=["sharing"], dependencies=[Depends(GUARD_VIDEOS)])
shared = APIRouter(prefix="/v1/shared", tags=["sharing"])  # open: the token in the path is what lets one in

Token = Annotated[str, Path(max_length=120, description="What stands in the link's address.")]


async def get_sharing(request: Request, resources: ResourcesDep, principal: PrincipalDep) -> SharingService:
    """The links of the caller's videos."""
    return SharingService(
        links=ShareLinks(resources.store.database),
        signing_key=resources.settings.signing_key(),
        base_url=resources.settings.public_url or str(request.base_url),
        caller=principal,
    )


async def get_shared(resources: ResourcesDep) -> SharedVideos:
    """What links show."""
    return SharedVideos(
        links=ShareLinks(resources.store.database),
        storage=resources.storage,
        signing_key=resources.settings.signing_key(),
    )


SharingDep = Annotated[SharingService, Depends(get_sharing)]
SharedDep = Annotated[SharedVideos, Depends(get_shared)]


@links.post(
    "/{video_id}/share-links",
    operation_id="createShareLink",
    status_code=201,
    responses=problems(404, 409, 410, 422, 503),
)
def create_share_link(video_id: str, fields: ShareLinkFields, sharing: SharingDep) -> ShareLink:
    """Make a link with which anybody may watch and download one finished video, until it expires or is revoked."""
    return sharing.create(video_id, life_s=fields.expires_in_seconds)


@links.get("/{video_id}/share-links", operation_id="listShareLinks", responses=problems(404, 410, 503))
def list_share_links(video_id: str, sharing: SharingDep) -> ShareLinkList:
    """List the links of a video, ended ones included."""
    return sharing.list(video_id)


@links.delete("/{video_id}/share-links/{link_id}", operation_id="revokeShareLink", responses=problems(404, 503))
def revoke_share_link(video_id: str, link_id: Annotated[str, Path(max_length=64)], sharing: SharingDep) -> ShareLink:
    """End a link now; whoever has it is told so."""
    return sharing.revoke(video_id, link_id)


@shared.get("/{token}", operation_id="getSharedVideo", responses=problems(404, 410, 503))
def get_shared_video(token: Token, videos: SharedDep) -> SharedVideo:
    """Tell what a link shows."""
    return videos.describe(token)


@shared.get(
    "/{token}/content",
    operation_id="downloadSharedVideo",
    response_class=Response,
    responses={**ANSWERS, **problems(404, 410, 416, 503)},
)
@shared.head("/{token}/content", include_in_schema=False)
def download_shared_video(
    request: Request,
    token: Token,
    videos: SharedDep,
    resources: ResourcesDep,
    *,
    variant: Annotated[SharedVariant, Query(description="`thumbnail` and `spritesheet` are JPEG.")] = "video",
    download: Annotated[bool, Query(description="Have browsers save the file instead of showing it.")] = False,
) -> Response:
    """Watch or download what a link shows."""
    reply = content_response(request, resources.storage, videos.content(token, variant))
    if download:
        shown = reply.headers["Content-Disposition"]
        reply.headers["Content-Disposition"] = shown.replace("inline", "attachment", 1)
    return reply
