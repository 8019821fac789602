"""One look for all who ask at the same moment, and for a while after."""

from __future__ import annotations

import asyncio

import pytest

from service.shared_look import SharedLook

FRESH_S = 2.0


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test moves on."""
    now = [1000.0]
    monkeypatch.setattr("service.shared_look.time.monotonic", lambda: now[0])
    return now


async def test_who_asks_while_it_is_fresh_shares_a_look(moment: list[float]) -> None:
    """A crowd costs one look, those who come soon after cost none, and later there is another."""
    looks: list[float] = []
    shared = SharedLook[int](fresh_s=FRESH_S)

    def look() -> int:
        looks.append(moment[0])
        return len(looks)

    assert await asyncio.gather(*(shared.found(look) for _ in range(50))) == [1] * 50
    assert await shared.found(look) == 1
    moment[0] += FRESH_S

    assert await shared.found(look) == 2
    assert looks == [1000.0, 1000.0 + FRESH_S]


@pytest.mark.usefixtures("moment")
async def test_look_that_fails_is_nobodys_later_answer() -> None:
    """All who waited are told why, and whoever comes next looks anew."""
    shared = SharedLook[int](fresh_s=FRESH_S)

    def fail() -> int:
        raise OSError("away")

    told = await asyncio.gather(*(shared.found(fail) for _ in range(3)), return_exceptions=True)

    assert [str(error) for error in told] == ["away"] * 3
    assert await shared.found(lambda: 7) == 7
