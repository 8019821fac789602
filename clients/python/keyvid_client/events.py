"""The events of one video, without a gap, however often the connection breaks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keyvid_client.schemas import FINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpx_sse import ServerSentEvent

SNAPSHOT = "video.snapshot"
FINAL_TYPES = tuple(f"video.{status}" for status in FINAL_STATUSES)
SILENCE_S = 45.0  # the service says something every 15 seconds


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a video; `seq` goes up by one with each. The first is `video.snapshot`: the Video object."""

    type: str
    seq: int
    data: Mapping[str, Any]


class EventReader:
    """Where a reader of a stream is: what to ask for next, and whether there is more."""

    def __init__(self, *, after: int | None) -> None:
        """Begin with a snapshot, or behind the event numbered `after`."""
        self._seq = after
        self._has_begun = False
        self.is_done = False
        self.reconnect_s = 0.0
        """Shortest pause before the next connection, as the service last asked."""

    def headers(self) -> dict[str, str]:
        """Headers of the next connection."""
        return {"Accept": "text/event-stream", **({} if self._seq is None else {"Last-Event-ID": str(self._seq)})}

    def read(self, sent: ServerSentEvent) -> Event | None:
        """The event that was sent; None for what the reader of a resumed stream has had."""
        if sent.retry is not None:
            self.reconnect_s = sent.retry / 1000
        if not sent.data:  # a ping
            return None
        event = Event(sent.event, int(sent.id), json.loads(sent.data))
        is_snapshot = event.type == SNAPSHOT
        is_final = event.type in FINAL_TYPES
        if is_snapshot and event.data["status"] in FINAL_STATUSES:
            is_final = event.seq >= event.data["seq"]
        is_repeated = is_snapshot and self._has_begun and not is_final
        self._seq, self._has_begun, self.is_done = event.seq, True, is_final
        return None if is_repeated else event
