"""The public shape of an upload. Times are unix seconds, sizes bytes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.files.schemas import Purpose
from service.multipart import MAX_FILENAME


class CreateUpload(BaseModel):
    """What will be sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    purpose: Purpose = Field(
        description="As for a file: `image` or `audio`, or another one, and the content decides.", examples=["audio"]
    )
    bytes: Annotated[int, Field(strict=True, ge=1, le=1 << 40, description="Exact size.", examples=[336_044])]
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the bytes, in lowercase hexadecimal.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    filename: str = Field(
        "", max_length=MAX_FILENAME, description="The name that you know the file by.", examples=["bark.wav"]
    )


class Upload(BaseModel):
    """A file that is expected: PUT its bytes to `upload_url` with `headers`, then complete it."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Its id.", examples=["upload_01m88svcp4ezcvdpnpynbpjcnx"])
    object: Literal["upload"] = "upload"
    file_id: str = Field(
        description="The id of the file once the upload is completed.", examples=["file_01m88svcp4ezcvdpnpynbpjcnx"]
    )
    upload_url: str = Field(
        description="Takes exactly the announced size, without a key, until `expires_at`.",
        examples=["https://s3.example.com/keyvid/uploads/upload_01m88svcp4ezcvdpnpynbpjcnx?X-Amz-Signature=..."],
    )
    method: Literal["PUT"] = Field("PUT", description="How the bytes are sent.")
    headers: dict[str, str] = Field(
        description="Header fields that must come with the bytes.",
        examples=[{"Content-Type": "application/octet-stream"}],
    )
    bytes: int = Field(description="Size that was announced.", examples=[336_044])
    created_at: int = Field(description="When it was announced, in unix seconds.", examples=[1_795_478_400])
    expires_at: int = Field(description="Until when it can be completed, in unix seconds.", examples=[1_795_482_000])
