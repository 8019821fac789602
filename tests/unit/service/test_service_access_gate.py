"""The gate: whom it believes, for how long, and at what cost."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from service.access.gate import BELIEVED_S, Gate
from service.errors import Unauthorized
from service.settings import ServiceSettings
from workers.access import ApiKey, Scope
from workers.errors import StoreUnavailable
from workers.key_store import Grant

SECRET = "kv_live_" + "a" * 8 + "_" + "b" * 52
BEARER = f"Bearer {SECRET}"


@dataclass
class CountedKeys:
    """A key store with one key, which counts how often it is asked."""

    key: ApiKey = field(
        default_factory=lambda: ApiKey("key_1", "acme", "site", "kv_live_aaaaaaaa", "bbbb", frozenset(Scope), 0.0)
    )
    is_known: bool = True
    has_any: bool = True
    is_down: bool = False
    may_answer: threading.Event | None = None
    lookups: int = 0
    looks: int = 0

    def verify(self, token: str) -> Grant | None:
        """The key, while it is known."""
        self.lookups += 1
        return Grant(self.key, 60) if self.is_known and token == SECRET else None

    def has_keys(self) -> bool:
        """Whether there is a key."""
        self.looks += 1
        if self.may_answer is not None:
            assert self.may_answer.wait(10)
        if self.is_down:
            raise StoreUnavailable
        return self.has_any


class CountedSessions:
    """Sessions, of which there are none."""

    def verify(self, secret: str) -> Grant | None:
        """Nothing, whatever the secret."""
        assert secret


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The gate's clock, in one mutable element."""
    moment = [1000.0]
    monkeypatch.setattr("service.access.gate.time.monotonic", lambda: moment[0])
    return moment


def gate(keys: CountedKeys, **settings: object) -> Gate:
    """A gate on a key store."""
    return Gate(keys, CountedSessions(), ServiceSettings(**settings))  # type: ignore[arg-type]


async def test_polling_asks_the_database_once_per_moment(now: list[float]) -> None:
    """A thousand requests within two seconds cost one look-up; the next moment costs another."""
    keys = CountedKeys()
    door = gate(keys, auth="required")
    for _ in range(1000):
        principal = await door.admit(authorization=BEARER, host=None)

    assert (principal.tenant, principal.key_id, principal.requests_per_minute) == ("acme", "key_1", 60)
    assert keys.lookups == 1
    now[0] += BELIEVED_S + 0.1
    await door.admit(authorization=BEARER, host=None)
    assert keys.lookups == 2


async def test_requests_at_the_same_moment_share_a_look_up() -> None:
    """A crowd that arrives at once does not storm the database."""
    keys = CountedKeys()
    door = gate(keys, auth="required")

    await asyncio.gather(*(door.admit(authorization=BEARER, host=None) for _ in range(50)))

    assert keys.lookups == 1


async def test_revoked_key_is_believed_no_longer_than_promised(now: list[float]) -> None:
    """Two seconds after it is gone from the database it opens nothing."""
    keys = CountedKeys()
    door = gate(keys, auth="required")
    await door.admit(authorization=BEARER, host=None)
    keys.is_known = False
    now[0] += BELIEVED_S

    with pytest.raises(Unauthorized):
        await door.admit(authorization=BEARER, host=None)


async def test_key_that_expires_is_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is known, so it is not believed a moment longer."""
    keys = CountedKeys(
        key=ApiKey("key_1", "acme", "site", "kv_live_aaaaaaaa", "bbbb", frozenset(Scope), 0.0, expires_at=50.0)
    )
    door = gate(keys, auth="required")
    monkeypatch.setattr("service.access.gate.time.time", lambda: 49.0)
    await door.admit(authorization=BEARER, host=None)
    monkeypatch.setattr("service.access.gate.time.time", lambda: 50.0)

    with pytest.raises(Unauthorized):
        await door.admit(authorization=BEARER, host=None)
    assert keys.lookups == 1


async def test_wrong_secrets_are_remembered_too_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that repeats a wrong key costs one look-up, and many wrong keys do not fill the memory."""
    keys = CountedKeys()
    door = gate(keys, auth="required")
    monkeypatch.setattr("service.access.gate.MAX_BELIEVED", 10)
    for number in range(30):
        for _ in range(2):
            with pytest.raises(Unauthorized):
                await door.admit(authorization=f"Bearer wrong{number}", host=None)

    assert keys.lookups == 30
    assert len(door._findings) == 10


async def test_open_server_asks_now_and_then_whether_a_key_was_made(now: list[float]) -> None:
    """Every two seconds while there is none, never again once there is one."""
    keys = CountedKeys(has_any=False)
    door = gate(keys)
    for _ in range(100):
        assert (await door.admit(authorization=None, host="localhost")).key_id is None
    assert keys.looks == 1
    keys.has_any = True
    now[0] += BELIEVED_S

    for _ in range(100):
        with pytest.raises(Unauthorized):
            await door.admit(authorization=None, host="localhost")
    assert keys.looks == 2


async def test_nobody_is_let_in_before_it_is_known_whether_there_are_keys() -> None:
    """Requests that come while the first one asks wait for its answer, and are refused with it."""
    keys = CountedKeys(may_answer=threading.Event())
    door = gate(keys)
    callers = [asyncio.create_task(door.admit(authorization=None, host="localhost")) for _ in range(5)]
    _, waiting = await asyncio.wait(callers, timeout=0.05)
    assert len(waiting) == 5
    assert keys.may_answer is not None
    keys.may_answer.set()

    outcomes = await asyncio.gather(*callers, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [Unauthorized] * 5
    assert keys.looks == 1


async def test_database_that_does_not_answer_opens_nothing(now: list[float]) -> None:
    """Every request without a key fails with it, and the first one behind its return asks again."""
    keys = CountedKeys(is_down=True)
    door = gate(keys)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await door.admit(authorization=None, host="localhost")
    keys.is_down = False

    with pytest.raises(Unauthorized):
        await door.admit(authorization=None, host="localhost")
    assert now == [1000.0]


@pytest.mark.parametrize(
    ("host", "is_operator"),
    [
        ("127.0.0.1:8000", True),
        ("localhost", True),
        ("[::1]:8000", True),
        ("videos.example", True),
        ("evil.example:8000", False),
        ("127.0.0.1.evil.example", False),
        (None, False),
        ("[", False),
    ],
)
async def test_operator_of_an_open_server_calls_it_by_its_name(host: str | None, is_operator: bool) -> None:  # noqa: FBT001
    """A name that somebody else's page could have bound to this address is not one of ours."""
    door = gate(CountedKeys(has_any=False), public_url="https://videos.example/")

    principal = await door.admit(authorization=None, host=host)

    assert (Scope.ADMIN in principal.scopes) == is_operator
    assert Scope.VIDEOS_WRITE in principal.scopes
