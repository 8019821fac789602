"""The public shape of a file. Times are unix seconds, sizes bytes, lengths seconds."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Purpose = Literal["image", "audio", "user_data", "vision", "assistants", "batch", "fine-tune", "evals"]


class CreateFileFields(BaseModel):
    """The text field that comes with a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    purpose: Purpose = Field(
        description="What it is for: `image` or `audio`; OpenAI's purposes are taken too, and the content decides."
    )


class FileMedia(BaseModel):
    """What was measured in a file: of a picture its size, of a sound its length, rate and channels."""

    model_config = ConfigDict(frozen=True)

    sha256: str = Field(
        description="SHA-256 of the file as it was sent, in hex.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    width: int | None = Field(None, description="Pixels, of a picture.", examples=[1024])
    height: int | None = Field(None, description="Pixels, of a picture.", examples=[768])
    duration_s: float | None = Field(None, description="Seconds, of a sound.", examples=[3.5])
    sample_rate: int | None = Field(None, description="Samples per second, of a sound.", examples=[48_000])
    channels: int | None = Field(None, description="1 is mono, 2 is stereo.", examples=[2])


class File(BaseModel):
    """One file: OpenAI's object of that name, and what was measured."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Its id.", examples=["file_01m88svcp4ezcvdpnpynbpjcnx"])
    object: Literal["file"] = "file"
    bytes: int = Field(description="Size of the file.", examples=[336_044])
    created_at: int = Field(description="When it was sent, in unix seconds.", examples=[1_795_478_400])
    expires_at: int | None = Field(None, description="From then on it is answered with 410.", examples=[1_796_083_200])
    filename: str = Field(description="The caller's name for it.", examples=["bark.wav"])
    purpose: str = Field(description="What the caller said that it is for.", examples=["audio"])
    status: Literal["processed"] = Field(
        "processed", description="Always `processed`: a file that was accepted can be used."
    )
    kind: Literal["image", "audio"] = Field(description="What it is, by its content.")
    media: FileMedia = Field(description="What was measured.")


class FileDeleted(BaseModel):
    """A file that is gone."""

    id: str = Field(description="The id that the file had.", examples=["file_01m88svcp4ezcvdpnpynbpjcnx"])
    object: Literal["file"] = "file"
    deleted: bool = True
