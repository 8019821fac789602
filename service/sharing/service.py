"""What can be done with share links. Everything here blocks and runs in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from service.content import Content
from service.errors import Conflict, ContentExpired, NotFound, NotReady
from service.sharing.schemas import SharedVideo, ShareLink, ShareLinkList
from service.videos.downloads import find_content
from workers.contract import CLIP_SECONDS, FPS, NUM_FRAMES
from workers.errors import IllegalTransition
from workers.share_links import (
    ShareLinkExpired,
    ShareLinkNotKnown,
    ShareLinkRevoked,
    TooManyShareLinks,
    link_id_of,
    share_token,
)

if TYPE_CHECKING:
    from service.access.principal import Principal
    from workers import share_links as kept
    from workers.jobs import Job
    from workers.storage import BlobStore

SharedVariant = Literal["video", "thumbnail", "spritesheet"]


class NoSuchLink(NotFound):
    """There is no such link."""


class LinkExpired(ContentExpired):
    """This link has expired: ask whoever shared it for a new one."""

    code = "share_link_expired"
    title = "Link expired"


class LinkRevoked(ContentExpired):
    """This link was revoked by whoever shared it."""

    code = "share_link_revoked"
    title = "Link revoked"


class TooManyLinks(Conflict):
    """This video has as many links as it may: revoke one."""

    code = "too_many_share_links"


@dataclass(frozen=True, slots=True)
class SharingService:
    """The links of one tenant's videos; `base_url` is this server as its callers see it."""

    links: kept.ShareLinks
    signing_key: bytes
    base_url: str
    caller: Principal

    def create(self, video_id: str, *, life_s: float) -> ShareLink:
        """Share a finished video. Raises: JobNotFound, JobExpired, NotReady, TooManyLinks."""
        try:
            link = self.links.create(video_id, tenant=self.caller.tenant, life_s=life_s, actor=self.caller.actor)
        except IllegalTransition as error:
            raise NotReady("Only a completed video can be shared.") from error
        except TooManyShareLinks as error:
            raise TooManyLinks from error
        return self._describe(link)

    def list(self, video_id: str) -> ShareLinkList:
        """All links of a video. Raises: JobNotFound, JobExpired."""
        links = self.links.of_job(video_id, tenant=self.caller.tenant)
        return ShareLinkList(data=[self._describe(link) for link in links])

    def revoke(self, video_id: str, link_id: str) -> ShareLink:
        """End a link now. Raises: NoSuchLink."""
        try:
            link = self.links.revoke(link_id, job_id=video_id, tenant=self.caller.tenant, actor=self.caller.actor)
        except ShareLinkNotKnown as error:
            raise NoSuchLink from error
        return self._describe(link)

    def _describe(self, link: kept.ShareLink) -> ShareLink:
        about = f"{self.base_url.rstrip('/')}/v1/shared/{share_token(self.signing_key, link.id)}"
        return ShareLink(
            id=link.id,
            video_id=link.job_id,
            url=f"{about}/content",
            about_url=about,
            created_at=int(link.created_at),
            expires_at=int(link.expires_at),
            revoked_at=None if link.revoked_at is None else int(link.revoked_at),
        )


@dataclass(frozen=True, slots=True)
class SharedVideos:
    """What links show to anybody."""

    links: kept.ShareLinks
    storage: BlobStore
    signing_key: bytes

    def describe(self, token: str) -> SharedVideo:
        """What a link shows. Raises: NoSuchLink, LinkExpired, LinkRevoked."""
        job, link = self._open(token)
        return SharedVideo(
            expires_at=int(link.expires_at),
            seconds=f"{CLIP_SECONDS:g}",
            size=f"{job.request.width}x{job.request.height}",
            fps=FPS,
            num_frames=NUM_FRAMES,
            content_url=f"/v1/shared/{token}/content",
            thumbnail_url=f"/v1/shared/{token}/content?variant=thumbnail",
        )

    def content(self, token: str, variant: SharedVariant) -> Content:
        """Find a file that a link shows; its name tells nothing of the video.

        Raises: NoSuchLink, LinkExpired, LinkRevoked.
        """
        job, _ = self._open(token)
        found = find_content(job, variant, self.storage)
        suffix = found.filename.rpartition(".")[2]
        return Content(found.key, found.etag, found.media_type, f"keyvid-{variant}.{suffix}")

    def _open(self, token: str) -> tuple[Job, kept.ShareLink]:
        try:
            return self.links.open(link_id_of(self.signing_key, token))
        except ShareLinkNotKnown as error:
            raise NoSuchLink from error
        except ShareLinkExpired as error:
            raise LinkExpired from error
        except ShareLinkRevoked as error:
            raise LinkRevoked from error
