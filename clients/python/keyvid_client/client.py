"""The client for ordinary code; `async_client` has the same for asyncio."""

from __future__ import annotations

import time
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

import httpx
from httpx_sse import EventSource

from keyvid_client import calls
from keyvid_client.downloads import Download, whole_file
from keyvid_client.errors import ApiError, ConnectionFailed, KeyVIDError, error_of
from keyvid_client.events import SILENCE_S, EventReader
from keyvid_client.retries import Retries
from keyvid_client.schemas import id_of
from keyvid_client.waiting import Wait

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from typing import Self, Unpack

    from keyvid_client.calls import Call, Variant
    from keyvid_client.events import Event
    from keyvid_client.options import Content, Source, VideoOptions
    from keyvid_client.schemas import File, Localization, Page, Status, Video

Result = TypeVar("Result")


class KeyVID:
    """A KeyVID service. Close it, or use it in a `with` block; it may be shared by threads.

    Args:
        url: address of the service; KEYVID_URL by default, else this machine's port 8000.
        api_key: KEYVID_API_KEY by default; a service on the same machine may need none.
        timeout_s: longest silence within one request, in seconds.
        retries: how often requests are repeated. A new video carries an Idempotency-Key, so that repeating makes one.
        transport: how httpx sends, for proxies and tests.

    Every method raises ApiError (by its subclasses) for what the service refuses, and ConnectionFailed.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = calls.base_url(url)
        self._retries = retries or Retries()
        self._http = httpx.Client(
            base_url=self.url,
            headers=calls.usual_headers(api_key),
            timeout=timeout_s,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def create(
        self,
        image: Source,
        audio: Source,
        prompt: str,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[VideoOptions],
    ) -> Video:
        """Ask for a video; it is made from now on. `idempotency_key` makes repeating it across restarts safe, too."""
        return self._send(calls.create_video(image, audio, prompt, idempotency_key=idempotency_key, options=options))

    def localize(self, audio: Source, *, audio_start: float = 0.0) -> Localization:
        """Hear a sound at once, without making a video; change its keyframes and hand them on as `keyframes`."""
        return self._send(calls.create_localization(audio, audio_start=audio_start))

    def get(self, video: Video | str) -> Video:
        """Read a video."""
        return self._send(calls.get_video(id_of(video)))

    def wait(
        self,
        video: Video | str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[Video], object] | None = None,
    ) -> Video:
        """Wait until a video is completed; `on_progress` gets it after every change.

        Raises: VideoFailed, VideoCancelled; WaitTimeout after `timeout_s` seconds, while the video goes on.
        """
        wait = Wait(timeout_s=timeout_s, on_progress=on_progress)
        while True:
            glance = self._send(calls.glance_at_video(id_of(video), etag=wait.etag))
            done = wait.take(glance)
            if done is not None:
                return done
            time.sleep(wait.pause_s)

    def events(self, video: Video | str, *, after: int | None = None) -> Iterator[Event]:
        """Follow a video to its end: first a snapshot, then every change once, over as many connections as it takes.

        `after` begins behind the event of that number, for a reader that was stopped.
        """
        reader = EventReader(after=after)
        tried = 0
        while not reader.is_done:
            problem: KeyVIDError
            try:
                for event in self._connect_events(id_of(video), reader):
                    tried = 0
                    yield event
                if reader.is_done:
                    return
                problem = ConnectionFailed("The event stream ended before the video did.")
            except httpx.TransportError as error:
                problem = self._unreachable(error)
            except ApiError as error:
                problem = error
            tried += 1
            time.sleep(max(self._pause_s(tried, problem), reader.reconnect_s))

    def list(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Literal["asc", "desc"] = "desc",
        status: Status | None = None,
    ) -> Page[Video]:
        """Read one page of videos; `iterate` reads them all."""
        return self._send(calls.list_videos(after=after, limit=limit, order=order, status=status))

    def iterate(self, *, order: Literal["asc", "desc"] = "desc", status: Status | None = None) -> Iterator[Video]:
        """Go through all videos, page by page."""
        after = None
        while True:
            page = self.list(after=after, limit=100, order=order, status=status)
            yield from page.data
            if not page.has_more:
                return
            after = page.last_id

    def cancel(self, video: Video | str) -> Video:
        """Stop a video: at once while it waits, within a step while it runs; a finished one stays as it is."""
        return self._send(calls.act_on_video(id_of(video), "cancel"))

    def retry(self, video: Video | str) -> Video:
        """Make a failed or cancelled video once more, as a video of its own."""
        return self._send(calls.act_on_video(id_of(video), "retry"))

    def delete(self, video: Video | str) -> None:
        """Stop a video if it is still being made, and delete it."""
        self._send(calls.delete_video(id_of(video)))

    def download(self, video: Video | str, path: str | os.PathLike[str], *, variant: Variant = "video") -> Path:
        """Save the MP4 (or its `thumbnail`) at `path`, complete or not at all; returns the path.

        Raises: Conflict while it is not ready, Expired, BrokenContent.
        """
        with whole_file(path) as file:
            self._receive(id_of(video), variant, file)
        return Path(path)

    def content(self, video: Video | str, *, variant: Variant = "video") -> bytes:
        """The MP4 (or its `thumbnail`) in memory. Raises as `download`."""
        memory = BytesIO()
        self._receive(id_of(video), variant, memory)
        return memory.getvalue()

    def content_url(self, video: Video | str, *, variant: Variant = "video") -> str:
        """A link to the content that anybody may follow until it expires."""
        return self._send(calls.content_url(id_of(video), variant))

    def upload(self, source: Content, *, purpose: Literal["image", "audio"]) -> File:
        """Send a picture or a sound ahead, to be used in several videos."""
        return self._send(calls.create_file(source, purpose=purpose))

    def get_file(self, file_id: str) -> File:
        """Read what is known of a file."""
        return self._send(calls.get_file(file_id))

    def delete_file(self, file: File | str) -> None:
        """Forget a file; videos that use it keep it."""
        self._send(calls.delete_file(id_of(file)))

    def request(self, method: str, path: str, *, params: Mapping[str, str] | None = None, json: object = None) -> Any:  # noqa: ANN401  (any JSON)
        """Use any other operation of the service by its path, such as `/v1/usage`; returns the JSON it answers.

        It is repeated as other requests are: do not send what must not be done twice.
        """
        return self._send(calls.any_call(method, path, params=params or {}, json=json))

    def _send(self, call: Call[Result]) -> Result:
        tried = 0
        while True:
            tried += 1
            problem: KeyVIDError
            with ExitStack() as opened:
                try:
                    reply = self._http.request(**call.arguments(opened))
                except httpx.TransportError as error:
                    problem = self._unreachable(error)
                else:
                    if reply.is_success or reply.status_code == httpx.codes.NOT_MODIFIED:
                        return call.read(reply)
                    problem = error_of(reply)
            time.sleep(self._pause_s(tried, problem))

    def _connect_events(self, video_id: str, reader: EventReader) -> Iterator[Event]:
        """Events of one connection."""
        path = f"/v1/videos/{video_id}/events"
        with self._http.stream("GET", path, headers=reader.headers(), timeout=SILENCE_S) as reply:
            if reply.is_error:
                reply.read()
                raise error_of(reply)
            if reply.status_code == 204:
                reader.is_done = True
                return
            for sent in EventSource(reply).iter_sse():
                event = reader.read(sent)
                if event is not None:
                    yield event

    def _receive(self, video_id: str, variant: Variant, target: BinaryIO) -> None:
        download = Download(target)
        path = f"/v1/videos/{video_id}/content"
        tried = 0
        while True:
            problem: KeyVIDError
            had = download.size
            try:
                with self._http.stream("GET", path, params={"variant": variant}, headers=download.headers()) as reply:
                    if reply.is_error:
                        reply.read()
                        raise error_of(reply)
                    download.begin(reply)
                    for chunk in reply.iter_bytes():
                        download.add(chunk)
            except httpx.TransportError as error:
                problem = self._unreachable(error)
            except ApiError as error:
                problem = error
            else:
                download.check()
                return
            tried = 1 if download.size > had else tried + 1
            time.sleep(self._pause_s(tried, problem))

    def _pause_s(self, tried: int, problem: KeyVIDError) -> float:
        """Seconds until the next try. Raises: `problem`, if there is to be none."""
        pause_s = self._retries.pause_s(tried, problem)
        if pause_s is None:
            raise problem
        return pause_s

    def _unreachable(self, error: httpx.TransportError) -> ConnectionFailed:
        return ConnectionFailed(f"No answer from {self.url}: {error or type(error).__name__}")
