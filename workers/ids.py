"""Names of jobs and files: a word and a UUIDv7, so that they sort by time and cannot be guessed."""

from __future__ import annotations

from typing import Literal

from uuid_utils import uuid7

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u; sorts like the number
LENGTH = 26  # 128 bits in fives


def new_id(noun: Literal["video", "file", "key", "endpoint", "delivery", "share", "upload"]) -> str:
    """Make an id such as `video_01jd5m...`: 48 bits of time, then 74 random bits."""
    number = uuid7().int
    digits = (ALPHABET[(number >> shift) & 31] for shift in range(5 * (LENGTH - 1), -1, -5))
    return f"{noun}_{''.join(digits)}"
