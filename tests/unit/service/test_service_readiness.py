"""How often readiness is looked at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from service.readiness import FRESH_S, Readiness, ReadinessLooks

if TYPE_CHECKING:
    import pytest

    from service.dependencies import Resources


async def test_who_asks_within_a_second_shares_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd costs one look, those who come soon after cost none, and a second later there is another."""
    looks: list[object] = []
    moment = [1000.0]

    def look(resources: object) -> Readiness:
        looks.append(resources)
        return Readiness(status="ready", checks={})

    monkeypatch.setattr("service.readiness.check_readiness", look)
    monkeypatch.setattr("service.readiness.time.monotonic", lambda: moment[0])
    readiness, resources = ReadinessLooks(), cast("Resources", object())

    await asyncio.gather(*(readiness.latest(resources) for _ in range(50)))
    await readiness.latest(resources)
    assert looks == [resources]
    moment[0] += FRESH_S

    assert (await readiness.latest(resources)).status == "ready"
    assert looks == [resources] * 2
