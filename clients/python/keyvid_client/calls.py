"""The operations of the service as values: what to send, and how to read the answer. Both clients send these."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from keyvid_client.options import Upload, VideoOptions, form_fields
from keyvid_client.schemas import File, Localization, Page, Video
from keyvid_client.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack

    import httpx

    from keyvid_client.options import Content, Source

Result = TypeVar("Result")

DEFAULT_URL = "http://127.0.0.1:8000"
Variant = Literal["video", "thumbnail", "spritesheet", "preview", "image", "audio"]
"""The MP4; JPEGs of its first frame, its keyframes, or while it is made; the picture and the sound it is made from."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One request that may be sent several times."""

    method: str
    path: str
    read: Callable[[httpx.Response], Result]
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str | Upload] = field(default_factory=dict)
    json: object = None

    def arguments(self, opened: ExitStack) -> dict[str, Any]:
        """Arguments for one try with httpx."""
        parts = {
            name: value.part(opened)
            if isinstance(value, Upload)
            else (None, value)  # without a file name: a text field
            for name, value in self.form.items()
        }
        sent = {"params": self.params, "headers": self.headers, "files": parts, "json": self.json}
        return {"method": self.method, "url": self.path, **{name: value for name, value in sent.items() if value}}


@dataclass(frozen=True, slots=True)
class Glance:
    """What one poll found: the video unless nothing has changed, its ETag, and when to ask again."""

    video: Video | None
    etag: str
    pause_s: float


def base_url(url: str | None) -> str:
    """The service's address: as given, from KEYVID_URL, or this machine; with or without `/v1` behind."""
    chosen = url or os.environ.get("KEYVID_URL") or DEFAULT_URL
    return chosen.rstrip("/").removesuffix("/v1")


def usual_headers(api_key: str | None) -> dict[str, str]:
    """Headers of every request: who sends it, and the key as given or from KEYVID_API_KEY."""
    key = api_key or os.environ.get("KEYVID_API_KEY")
    authorization = {"Authorization": f"Bearer {key}"} if key else {}
    return {"User-Agent": f"keyvid-client/{VERSION}", **authorization}


def create_video(
    image: Source, audio: Source, prompt: str, *, idempotency_key: str | None, options: VideoOptions
) -> Call[Video]:
    """POST /v1/videos; a key of its own makes it safe to repeat."""
    form: dict[str, str | Upload] = {"prompt": prompt, **form_fields(options)}
    for source, file_field, id_field in (
        (image, "input_reference", "image_file_id"),
        (audio, "audio", "audio_file_id"),
    ):
        if isinstance(source, File):
            form[id_field] = source.id
        else:
            form[file_field] = Upload(source, name=file_field)
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    return Call("POST", "/v1/videos", _video, headers=headers, form=form)


def get_video(video_id: str) -> Call[Video]:
    """GET /v1/videos/{id}."""
    return Call("GET", f"/v1/videos/{video_id}", _video)


def glance_at_video(video_id: str, *, etag: str | None) -> Call[Glance]:
    """GET /v1/videos/{id}, cheap where nothing has changed."""
    return Call("GET", f"/v1/videos/{video_id}", _glance, headers={"If-None-Match": etag} if etag else {})


def list_videos(*, after: str | None, limit: int, order: str, status: str | None) -> Call[Page[Video]]:
    """GET /v1/videos."""
    asked = {"after": after, "limit": str(limit), "order": order, "status": status}
    return Call("GET", "/v1/videos", _page, params={name: value for name, value in asked.items() if value})


def act_on_video(video_id: str, action: Literal["cancel", "retry"]) -> Call[Video]:
    """POST /v1/videos/{id}/cancel or /retry; both may be repeated."""
    return Call("POST", f"/v1/videos/{video_id}/{action}", _video)


def delete_video(video_id: str) -> Call[None]:
    """DELETE /v1/videos/{id}."""
    return Call("DELETE", f"/v1/videos/{video_id}", _nothing)


def content_url(video_id: str, variant: Variant) -> Call[str]:
    """GET /v1/videos/{id}/content-url."""
    return Call("GET", f"/v1/videos/{video_id}/content-url", _url, params={"variant": variant})


def create_localization(audio: Source, *, audio_start: float) -> Call[Localization]:
    """POST /v1/localizations, which keeps nothing."""
    form: dict[str, str | Upload] = {"audio_start": str(audio_start)}
    if isinstance(audio, File):
        form["audio_file_id"] = audio.id
    else:
        form["audio"] = Upload(audio, name="audio")
    return Call("POST", "/v1/localizations", _localization, form=form)


def create_file(source: Content, *, purpose: Literal["image", "audio"]) -> Call[File]:
    """POST /v1/files; repeating it at worst leaves a second file, which expires."""
    return Call("POST", "/v1/files", _file, form={"purpose": purpose, "file": Upload(source, name=purpose)})


def get_file(file_id: str) -> Call[File]:
    """GET /v1/files/{id}."""
    return Call("GET", f"/v1/files/{file_id}", _file)


def delete_file(file_id: str) -> Call[None]:
    """DELETE /v1/files/{id}."""
    return Call("DELETE", f"/v1/files/{file_id}", _nothing)


def any_call(method: str, path: str, *, params: Mapping[str, str], json: object) -> Call[Any]:
    """An operation that this package has no name for."""
    return Call(method, path, lambda reply: reply.json() if reply.content else None, params=params, json=json)


def _video(reply: httpx.Response) -> Video:
    return Video.from_json(reply.json())


def _file(reply: httpx.Response) -> File:
    return File.from_json(reply.json())


def _localization(reply: httpx.Response) -> Localization:
    return Localization.from_json(reply.json())


def _url(reply: httpx.Response) -> str:
    return str(reply.json()["url"])


def _nothing(_reply: httpx.Response) -> None:
    return None


def _page(reply: httpx.Response) -> Page[Video]:
    body = reply.json()
    return Page(tuple(Video.from_json(item) for item in body["data"]), body["last_id"], body["has_more"])


def _glance(reply: httpx.Response) -> Glance:
    video = None if reply.status_code == 304 else _video(reply)
    pause_ms = float(reply.headers.get("openai-poll-after-ms", 1000))
    return Glance(video, reply.headers.get("etag", ""), pause_ms / 1000)
