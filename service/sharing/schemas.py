"""The public shape of share links and of what they show. Times are unix seconds."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

WEEK_S = 7 * 86_400
MONTH_S = 30 * 86_400


class ShareLinkFields(BaseModel):
    """What a new link is to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expires_in_seconds: Annotated[float, Field(ge=60, le=MONTH_S, allow_inf_nan=False)] = Field(
        WEEK_S, description="How long the link works, 60 s to 30 days; never longer than the video is kept."
    )


class ShareLink(BaseModel):
    """One link to a finished video, for anybody who has it."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["share_link"] = "share_link"
    video_id: str
    url: str = Field(description="The MP4's own address; add `?download=true` to save it.")
    about_url: str = Field(description="The same link's SharedVideo, for pages that show more than the MP4.")
    created_at: int
    expires_at: int
    revoked_at: int | None = None


class ShareLinkList(BaseModel):
    """All links of a video, newest first."""

    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: list[ShareLink]


class SharedVideo(BaseModel):
    """What the holder of a link may know: nothing of who made the video, with which words, or from what."""

    model_config = ConfigDict(frozen=True)

    object: Literal["shared_video"] = "shared_video"
    expires_at: int
    seconds: str
    size: str
    fps: int
    num_frames: int
    content_url: str = Field(description="The MP4, relative to this server.")
    thumbnail_url: str = Field(description="Its first frame as JPEG, relative to this server.")
