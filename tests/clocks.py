"""Time that tests move by hand."""

from __future__ import annotations

START = 1_800_000_000.0  # unix seconds, some day in 2027


class FakeClock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        """The time in unix seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
