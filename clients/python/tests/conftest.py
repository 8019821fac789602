"""What the tests of this package share: a caller of each kind."""

from __future__ import annotations

import asyncio
import time

import pytest
from scripted_service import Caller, Script


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def caller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """A caller of each kind; its pauses take no time."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(asyncio, "sleep", pause)
    return Caller(Script(), request.param, pauses)
