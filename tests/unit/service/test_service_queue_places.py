"""The turns that pollers are told: fresh enough, and worked out once for all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from service.videos.queue_places import FRESH_S, QueuePlaces
from workers.glances import Glance
from workers.jobs import JobStatus

MODEL = "keyvid-mini"


@dataclass
class CountedQueue:
    """A queue that counts how often it is worked out."""

    places: dict[str, int] = field(default_factory=lambda: {"a": 1, "b": 2})
    reads: int = 0

    def queue_places(self, _model: str) -> dict[str, int]:
        """The turns."""
        self.reads += 1
        return dict(self.places)


def waiting(name: str) -> Glance:
    """A job that waits."""
    return Glance(name, JobStatus.QUEUED, 1, MODEL)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, in one mutable element."""
    moment = [1000.0]
    monkeypatch.setattr("service.videos.queue_places.time.monotonic", lambda: moment[0])
    return moment


@pytest.mark.usefixtures("now")
def test_many_pollers_cost_one_reading() -> None:
    """A thousand polls of two videos within a second are one query."""
    queue = CountedQueue()
    places = QueuePlaces(queue)  # type: ignore[arg-type]

    told = {(places.of_glance(waiting("a")), places.of_glance(waiting("b"))) for _ in range(500)}

    assert (told, queue.reads) == ({(1, 2)}, 1)


def test_turns_move_within_a_second(now: list[float]) -> None:
    """What has changed is told a second later."""
    queue = CountedQueue()
    places = QueuePlaces(queue)  # type: ignore[arg-type]
    places.of_glance(waiting("b"))
    queue.places = {"b": 1}
    now[0] += FRESH_S

    assert places.of_glance(waiting("b")) == 1


@pytest.mark.usefixtures("now")
def test_new_video_is_told_its_turn_at_once() -> None:
    """A video that is younger than the last reading is read anew."""
    queue = CountedQueue()
    places = QueuePlaces(queue)  # type: ignore[arg-type]
    places.of_glance(waiting("a"))
    queue.places["c"] = 3

    assert places.of_glance(waiting("c")) == 3


def test_those_who_join_a_long_queue_wait_for_their_turn(now: list[float]) -> None:
    """However many come, a queue of thousands is worked out for a twentieth of the time at most."""
    queue = CountedQueue({str(number): number for number in range(1, 2001)})
    places = QueuePlaces(queue)  # type: ignore[arg-type]

    def slow(_model: str) -> dict[str, int]:
        queue.reads += 1
        now[0] += 0.03
        return dict(queue.places)

    queue.queue_places = slow  # type: ignore[method-assign]
    assert places.of_glance(waiting("1")) == 1
    queue.places |= {f"new {number}": 2000 + number for number in range(1, 11)}
    early = [places.of_glance(waiting(f"new {number}")) for number in range(1, 11)]
    now[0] += 20 * 0.03

    assert (early, queue.reads) == ([None] * 10, 1)
    assert [places.of_glance(waiting(f"new {number}")) for number in range(1, 11)] == list(range(2001, 2011))
    assert queue.reads == 2


@pytest.mark.usefixtures("now")
def test_video_that_does_not_wait_has_no_turn() -> None:
    """And costs nothing."""
    queue = CountedQueue()

    assert QueuePlaces(queue).of_glance(Glance("a", JobStatus.IN_PROGRESS, 1, MODEL)) is None  # type: ignore[arg-type]
    assert queue.reads == 0
