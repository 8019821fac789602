"""The part of a canonical sound that a video uses."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def cut_window(sound: Path, *, start_s: float, seconds: float) -> bytes:
    """Cut `seconds` from `start_s` out of a WAV of ours, as a WAV; shorter where the sound ends before."""
    cut = io.BytesIO()
    with wave.open(str(sound)) as source, wave.open(cut, "wb") as target:
        rate = source.getframerate()
        first = min(round(start_s * rate), source.getnframes())
        source.setpos(first)
        target.setparams(source.getparams())
        target.writeframes(source.readframes(round(seconds * rate)))
    return cut.getvalue()
