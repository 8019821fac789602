"""The public shape of an upload. Times are unix seconds, sizes bytes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.files.schemas import Purpose
from service.multipart import MAX_FILENAME


class CreateUpload(BaseModel):
    """What will be sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    purpose: Purpose = Field(description="As for a file: `image` or `audio`, or another one, and the content decides.")
    bytes: Annotated[int, Field(strict=True, ge=1, le=1 << 40, description="Exact size.")]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the bytes, in lowercase hexadecimal.")
    filename: str = Field("", max_length=MAX_FILENAME, description="The name that you know the file by.")


class Upload(BaseModel):
    """A file that is expected: PUT its bytes to `upload_url` with `headers`, then complete it."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["upload"] = "upload"
    file_id: str = Field(description="The id of the file once the upload is completed.")
    upload_url: str = Field(description="Takes exactly the announced size, without a key, until `expires_at`.")
    method: Literal["PUT"] = "PUT"
    headers: dict[str, str] = Field(description="Header fields that must come with the bytes.")
    bytes: int
    created_at: int
    expires_at: int
