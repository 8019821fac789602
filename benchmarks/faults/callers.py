"""Callers of an installation whose processes die: they ask until they have an answer, and keep what they were told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from tests import uploads

if TYPE_CHECKING:
    from collections.abc import Collection

PATIENCE_S = 180.0  # how long a caller asks again
PAUSE_S = 0.2
ANSWER_S = 30.0
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One video as its caller knows it: how it may end, and the codes if it may fail."""

    video_id: str
    may_end: frozenset[str]
    codes: tuple[str, ...] = ()


@dataclass
class Ledger:
    """What callers were told, by all threads."""

    accepted: dict[str, Accepted] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, video_id: str, *may_end: str, codes: tuple[str, ...] = ()) -> None:
        """Keep that a video was accepted, and how it may end."""
        with self.lock:
            self.accepted[video_id] = Accepted(video_id, frozenset(may_end), codes)

    def delete(self, video_id: str) -> None:
        """Keep that a video was deleted at its caller's wish."""
        with self.lock:
            self.deleted.add(video_id)

    def count(self, status: int) -> None:
        """Count an answer."""
        with self.lock:
            self.statuses[status] += 1


class Caller:
    """One caller with its own connections. Use it from one thread."""

    def __init__(self, url: str, ledger: Ledger, *, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=url, timeout=ANSWER_S, headers=headers)
        self.ledger = ledger

    def ask(self, method: str, path: str, *, expected: Collection[int] = (), **request: Any) -> httpx.Response:  # noqa: ANN401
        """Send a request until something is there that answers it: connections that break and 503 are tried again.

        `expected` are answers that are no news. Raises: TimeoutError, httpx.HTTPStatusError.
        """
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                reply = self._client.request(method, path, **request)
            except httpx.TransportError:
                time.sleep(PAUSE_S)
                continue
            self.ledger.count(reply.status_code)
            if reply.status_code not in (httpx.codes.SERVICE_UNAVAILABLE, *expected):
                reply.raise_for_status()
            if reply.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return reply
            time.sleep(PAUSE_S)
        raise TimeoutError(f"nobody answered {method} {path}")

    def send_file(self, content: bytes, purpose: str) -> str:
        """Send a picture or a sound ahead; answers its id."""
        files = {"file": (purpose, content)}
        return str(self.ask("POST", "/v1/files", data={"purpose": purpose}, files=files).json()["id"])

    def create(self, script: str, *, inputs: Inputs, key: str, **fields: str) -> str:
        """Ask for a video under an Idempotency-Key; answers its id. Enter it into the ledger yourself."""
        form = {"prompt": script, "image_file_id": inputs.image_id, "audio_file_id": inputs.audio_id, **fields}
        files = {name: (None, value) for name, value in form.items()}  # multipart, as the API wants it
        return str(self.ask("POST", "/v1/videos", files=files, headers={"Idempotency-Key": key}).json()["id"])

    def get(self, video_id: str) -> dict[str, Any]:
        """Read a video."""
        video: dict[str, Any] = self.ask("GET", f"/v1/videos/{video_id}").json()
        return video

    def wait_until(self, video_id: str, *statuses: str, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """Poll until a video has one of these states, or has ended."""
        wanted = {*statuses, COMPLETED, FAILED, CANCELLED}
        deadline = time.monotonic() + within_s
        while True:
            video = self.get(video_id)
            if video["status"] in wanted:
                return video
            if time.monotonic() > deadline:
                raise TimeoutError(f"video {video_id} is still {video['status']} in stage {video['stage']}")
            time.sleep(0.05)

    def forget_cookies(self) -> None:
        """Come without the cookies that answers have set."""
        self._client.cookies.clear()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


@dataclass(frozen=True, slots=True)
class Inputs:
    """A picture and a sound that were sent ahead."""

    image_id: str
    audio_id: str


def send_inputs(caller: Caller, *, number: int = 0) -> Inputs:
    """Send a picture and a sound ahead; each number has a picture of its own."""
    return Inputs(caller.send_file(uploads.jpeg(64 + number, 48), "image"), caller.send_file(uploads.wav(1.0), "audio"))
