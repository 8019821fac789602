"""Polls that come together: one look answers them, and each gets its own answer."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from service.videos import polls
from service.videos.polls import Polls, Version
from workers.errors import JobExpired, JobNotFound, StoreUnavailable
from workers.glances import Asked, Glance
from workers.jobs import JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL = "keyvid-mini"
RUNNING = Glance("a", JobStatus.IN_PROGRESS, 3, MODEL)


@dataclass
class CountedGlances:
    """Jobs of the tenant `me`, a count of the looks at them, and a gate that holds a look up."""

    jobs: dict[str, Glance] = field(
        default_factory=lambda: {
            "a": RUNNING,
            "b": Glance("b", JobStatus.QUEUED, 1, MODEL),
            "old": Glance("old", JobStatus.COMPLETED, 9, MODEL, is_expired=True),
        }
    )
    looks: list[int] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    has_begun: threading.Event = field(default_factory=threading.Event)
    is_away: bool = False

    def at(self, asked: set[Asked]) -> Mapping[Asked, Glance]:
        """What there is of these jobs, as of the beginning of the look."""
        self.looks.append(len(asked))
        seen = {one: self.jobs[one.job_id] for one in asked if one.tenant == "me" and one.job_id in self.jobs}
        self.has_begun.set()
        self.gate.wait()
        if self.is_away:
            raise StoreUnavailable
        return seen

    def of_glance(self, glance: Glance) -> int | None:
        """The turn of a job that waits."""
        return 7 if glance.status is JobStatus.QUEUED else None


@pytest.fixture
def glances() -> CountedGlances:
    """Jobs whose looks are not held up."""
    counted = CountedGlances()
    counted.gate.set()
    return counted


def polls_of(glances: CountedGlances) -> Polls:
    """Polls that look at these jobs."""
    return Polls(glances, glances)  # type: ignore[arg-type]


async def test_polls_of_one_moment_cost_one_look(glances: CountedGlances) -> None:
    """A hundred polls of two videos are one query for two, and each is told its own video's version."""
    asking = polls_of(glances)

    told = await asyncio.gather(*(asking.version("ab"[number % 2], tenant="me") for number in range(100)))

    assert set(told[::2]) == {Version(JobStatus.IN_PROGRESS, 3, None)}
    assert set(told[1::2]) == {Version(JobStatus.QUEUED, 1, 7)}
    assert glances.looks == [2]


async def test_look_that_is_under_way_answers_nobody_who_comes_later(glances: CountedGlances) -> None:
    """Whoever asks behind a change is told the change, although an older look is not over yet."""
    asking = polls_of(glances)
    glances.gate.clear()
    early = asyncio.create_task(asking.version("a", tenant="me"))
    await asyncio.to_thread(glances.has_begun.wait)
    glances.jobs["a"] = Glance("a", JobStatus.COMPLETED, 4, MODEL)
    late = [asyncio.create_task(asking.version("a", tenant="me")) for _ in range(3)]
    await asyncio.sleep(0)
    glances.gate.set()

    assert (await early).seq == 3
    assert {(await task).seq for task in late} == {4}
    assert glances.looks == [1, 1]


async def test_each_is_told_why_there_is_nothing(glances: CountedGlances) -> None:
    """A video of another tenant, one that never was and one that has expired, among others that are there."""
    asking = polls_of(glances)

    told = await asyncio.gather(
        asking.version("a", tenant="me"),
        asking.version("a", tenant="another"),
        asking.version("none", tenant="me"),
        asking.version("old", tenant="me"),
        return_exceptions=True,
    )

    assert [type(one) for one in told] == [Version, JobNotFound, JobNotFound, JobExpired]


async def test_one_who_leaves_takes_nobodys_answer_along(glances: CountedGlances) -> None:
    """A poller that hangs up while a look is under way does not end it for those who share it."""
    asking = polls_of(glances)
    glances.gate.clear()
    leaving = asyncio.create_task(asking.version("a", tenant="me"))
    staying = asyncio.create_task(asking.version("a", tenant="me"))
    await asyncio.to_thread(glances.has_begun.wait)
    leaving.cancel()
    await asyncio.sleep(0)
    glances.gate.set()

    assert (await staying).seq == 3
    assert leaving.cancelled()


async def test_outage_ends_with_the_database(glances: CountedGlances) -> None:
    """All who share a look are told that the database is away; the next look may succeed."""
    asking = polls_of(glances)
    glances.is_away = True
    told = await asyncio.gather(*(asking.version("a", tenant="me") for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in told] == [StoreUnavailable] * 3
    glances.is_away = False

    assert (await asking.version("a", tenant="me")).seq == 3


async def test_look_is_bounded(glances: CountedGlances, monkeypatch: pytest.MonkeyPatch) -> None:
    """More videos than a query may ask for are several queries."""
    monkeypatch.setattr(polls, "MAX_ASKED", 10)
    glances.jobs = {str(number): RUNNING for number in range(25)}
    asking = polls_of(glances)

    await asyncio.gather(*(asking.version(str(number), tenant="me") for number in range(25)))

    assert sorted(glances.looks) == [5, 10, 10]
