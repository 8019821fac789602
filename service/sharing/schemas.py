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

    id: str = Field(description="Its id.", examples=["share_01m88svcp4ezcvdpnpynbpjcnx"])
    object: Literal["share_link"] = "share_link"
    video_id: str = Field(description="The video it shows.", examples=["video_01m88svcp4ezcvdpnpynbpjcnx"])
    url: str = Field(
        description="The MP4's own address; add `?download=true` to save it.", examples=["/v1/shared/R1mJ8xF0/content"]
    )
    about_url: str = Field(
        description="The same link's SharedVideo, for pages that show more than the MP4.",
        examples=["/v1/shared/R1mJ8xF0"],
    )
    created_at: int = Field(description="When it was made, in unix seconds.", examples=[1_795_478_400])
    expires_at: int = Field(description="Until when it works, in unix seconds.", examples=[1_796_083_200])
    revoked_at: int | None = Field(None, description="When it was ended, in unix seconds.", examples=[1_795_478_460])


class ShareLinkList(BaseModel):
    """All links of a video, newest first."""

    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: list[ShareLink]


class SharedVideo(BaseModel):
    """What the holder of a link may know: nothing of who made the video, with which words, or from what."""

    model_config = ConfigDict(frozen=True)

    object: Literal["shared_video"] = "shared_video"
    expires_at: int = Field(description="Until when the link works, in unix seconds.", examples=[1_796_083_200])
    seconds: str = Field(description="Length in seconds, as text.", examples=["2"])
    size: str = Field(description="Width x height in pixels.", examples=["512x320"])
    fps: int = Field(description="Frames per second.", examples=[24])
    num_frames: int = Field(description="Number of frames.", examples=[48])
    content_url: str = Field(description="The MP4, relative to this server.", examples=["/v1/shared/R1mJ8xF0/content"])
    thumbnail_url: str = Field(
        description="Its first frame as JPEG, relative to this server.",
        examples=["/v1/shared/R1mJ8xF0/content?variant=thumbnail"],
    )
