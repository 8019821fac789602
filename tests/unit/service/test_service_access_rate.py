"""The rate of requests, on a clock of the test's own."""

from __future__ import annotations

import pytest

from service.access.rate import RateLimiter
from service.errors import RateLimited


@pytest.fixture
def now() -> list[float]:
    """The present, in one mutable element."""
    return [0.0]


@pytest.fixture
def limiter(now: list[float]) -> RateLimiter:
    """A limiter on that clock."""
    return RateLimiter(clock=lambda: now[0])


def left(fields: dict[str, str]) -> int:
    """How many requests are left, as the header says."""
    return int(fields["RateLimit"].split("r=")[1].split(";")[0])


def test_minute_can_be_used_at_once_and_no_more(limiter: RateLimiter) -> None:
    """Ten of ten pass, the eleventh does not, and says when the next one will."""
    remaining = [left(limiter.count("a", per_minute=10)) for _ in range(10)]

    assert remaining == list(range(9, -1, -1))
    with pytest.raises(RateLimited) as refused:
        limiter.count("a", per_minute=10)
    assert refused.value.headers["Retry-After"] == "6"


def test_allowance_comes_back_evenly(limiter: RateLimiter, now: list[float]) -> None:
    """After the time that was told exactly one more passes; after a minute all of them."""
    for _ in range(10):
        limiter.count("a", per_minute=10)
    now[0] += 6.0
    limiter.count("a", per_minute=10)
    with pytest.raises(RateLimited):
        limiter.count("a", per_minute=10)
    now[0] += 60.0

    assert left(limiter.count("a", per_minute=10)) == 9


def test_steady_rate_is_never_refused(limiter: RateLimiter, now: list[float]) -> None:
    """Whoever keeps to the rate never meets the limit."""
    for _ in range(500):
        limiter.count("a", per_minute=600)
        now[0] += 0.1


def test_refused_requests_cost_nothing(limiter: RateLimiter, now: list[float]) -> None:
    """Asking too often does not put the next allowance off."""
    limiter.count("a", per_minute=1)
    for _ in range(20):
        with pytest.raises(RateLimited):
            limiter.count("a", per_minute=1)
    now[0] += 60.0

    limiter.count("a", per_minute=1)


def test_callers_are_forgotten_when_they_owe_nothing(
    limiter: RateLimiter, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded, and nobody gains by it."""
    monkeypatch.setattr("service.access.rate.MAX_CALLERS", 5)
    for name in "abcde":
        limiter.count(name, per_minute=60)
    now[0] += 2.0
    for _ in range(60):
        limiter.count("busy", per_minute=60)
    limiter.count("f", per_minute=60)

    assert set(limiter._whole_at) == {"busy", "f"}
    with pytest.raises(RateLimited):
        limiter.count("busy", per_minute=60)
