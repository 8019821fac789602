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

    sha256: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    sample_rate: int | None = None
    channels: int | None = None


class File(BaseModel):
    """One file: OpenAI's object of that name, and what was measured."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None = Field(None, description="From then on it is answered with 410.")
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    kind: Literal["image", "audio"]
    media: FileMedia


class FileDeleted(BaseModel):
    """A file that is gone."""

    id: str
    object: Literal["file"] = "file"
    deleted: bool = True
