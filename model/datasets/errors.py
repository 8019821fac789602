"""What is wrong with a data set: the whole folder, or one clip of it."""

from __future__ import annotations

from typing import Literal

Fault = Literal[
    "empty file",
    "not a video",
    "cut short",
    "damaged",
    "no sound",
    "sound too short",
    "too short",
    "variable frame rate",
]


class DataError(Exception):
    """The data set cannot be used; the message says what to do."""


class BrokenClip(DataError):
    """One clip cannot be trained on: `fault` is what is wrong in a word, `detail` the numbers."""

    def __init__(self, name: str, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{name}: {fault}" + (f" ({detail})" if detail else ""))
        self.name = name
        self.fault = fault
        self.detail = detail
