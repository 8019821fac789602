"""What the API and the listener say to each other: HTTP over a Unix socket or over TCP.

`POST /hear` with two seconds of 16-bit WAV is answered with the keyframes as JSON, 409 where nobody can hear, 422 for
anything but such a sound, 503 while too many wait. `GET /livez` answers 200 while the event loop turns; `GET /readyz`
has two seconds of silence heard, and answers 503 where a sound could not be heard now.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAR_PATH = "/hear"
ALIVE_PATH = "/livez"
READY_PATH = "/readyz"
MAX_WAV_BYTES = 1 << 19  # two seconds at 48 kHz in stereo take 384 kB
UNIX = "unix:"
REQUEST_ID_HEADER = b"x-request-id"  # of the request that the API answers, for the log


@contextmanager
def short_path(socket: Path) -> Iterator[str]:
    """A name of a socket that is short enough for the kernel (107 bytes), however deep its folder lies."""
    folder = os.open(socket.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{socket.name}"
    finally:
        os.close(folder)
