"""What an operator of the HTTP API can set, besides what all processes read."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from workers.settings import Settings


class ServiceSettings(Settings):
    """Settings of the API process: where it listens and what it lets in. Sizes are bytes, times seconds."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on.")
    api_processes: int = Field(
        1, ge=1, le=64, description="API processes that share the port; each counts requests a minute for itself."
    )
    public_url: str | None = Field(
        None, description="Address as callers see it, for links; absent means the request's."
    )

    auth: Literal["auto", "required", "gateway"] = Field(
        "auto",
        description="Who needs an API key. auto: everyone, except on a loopback address until the first key is made;"
        " required: everyone; gateway: nobody, because a gateway in front checks who calls.",
    )
    session_seconds: int = Field(
        8 * 3600, ge=60, le=7 * 86_400, description="How long a browser stays signed in after it showed a key."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may use this API, such as https://example.com, separated by commas."
    )

    max_body_bytes: int = Field(80_000_000, gt=0, description="Largest request body that carries files.")
    max_image_bytes: int = Field(20_000_000, gt=0, description="Largest picture file.")
    max_audio_bytes: int = Field(50_000_000, gt=0, description="Largest sound file.")
    max_image_pixels: int = Field(25_000_000, gt=0, description="Most pixels of a picture.")
    max_audio_seconds: float = Field(60.0, gt=0, description="Longest sound, decoded.")
    max_parts: int = Field(20, gt=0, description="Most parts of a form.")
    max_field_bytes: int = Field(65_536, gt=0, description="Largest text field of a form.")
    body_idle_seconds: float = Field(30.0, gt=0, description="Longest pause within a request body.")
    body_total_seconds: float = Field(600.0, gt=0, description="Longest time for a whole request body.")

    max_probes: int = Field(2, ge=1, le=64, description="Uploads that are checked at once.")
    max_event_streams: int = Field(500, ge=1, description="Event streams open at once.")
    event_poll_seconds: float = Field(0.25, gt=0, description="How often new events are looked for.")
    min_free_bytes: int = Field(200_000_000, ge=0, description="Free disk below which nothing is accepted.")
    upload_seconds: int = Field(3600, ge=60, le=604_800, description="How long a direct upload may take.")
    link_seconds: int = Field(3600, ge=1, le=604_800, description="How long a signed link to a video works.")

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if origin != f"{parts.scheme}://{parts.netloc}" or parts.scheme not in ("http", "https"):
                raise ValueError("must be origins such as https://example.com, without a path; * is not one")
        return origins
