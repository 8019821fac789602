"""Requests that fail: what is repeated, what is not, and which error the caller gets."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import httpx
import pytest
from keyvid_client import (
    ApiError,
    Conflict,
    ConnectionFailed,
    Expired,
    Forbidden,
    InvalidRequest,
    KeyVID,
    NotFound,
    RateLimited,
    Retries,
    ServerError,
    Unauthorized,
    Unavailable,
)
from scripted_service import video_json

if TYPE_CHECKING:
    from pathlib import Path

    from scripted_service import Caller


def problem(status: int, code: str = "some_code", **headers: str) -> httpx.Response:
    """A problem document."""
    body = {
        "status": status,
        "code": code,
        "detail": "Because.",
        "request_id": "r1",
        "errors": [{"pointer": "/seed", "detail": "Too large."}],
    }
    return httpx.Response(status, json=body, headers={name.replace("_", "-"): text for name, text in headers.items()})


def test_broken_connection_is_repeated_under_the_same_key(caller: Caller, tmp_path: Path) -> None:
    """A new video whose answer was lost is asked for again with the same form and Idempotency-Key."""
    picture = tmp_path / "dog.jpg"
    picture.write_bytes(b"picture")
    caller.script.turns += [httpx.ReadError("reset"), httpx.Response(202, json=video_json())]

    video = caller.do(lambda client: client.create(picture, io.BytesIO(b"sound"), "a dog barks", seed=7))

    first, second = caller.script.requests
    assert video.id == "video_1"
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.headers["authorization"] == "Bearer kv_test"
    for body in caller.script.bodies:
        assert all(part in body for part in (b'filename="dog.jpg"', b"picture", b"sound", b'name="seed"\r\n\r\n7'))


def test_each_video_has_a_key_of_its_own(caller: Caller) -> None:
    """Two requests are two videos, unless the caller gives the key."""
    caller.script.turns += [httpx.Response(202, json=video_json()) for _ in range(3)]

    caller.do(lambda client: client.create(b"p", b"s", "x"))
    caller.do(lambda client: client.create(b"p", b"s", "x"))
    caller.do(lambda client: client.create(b"p", b"s", "x", idempotency_key="mine"))

    keys = [request.headers["idempotency-key"] for request in caller.script.requests]
    assert keys[0] != keys[1]
    assert keys[2] == "mine"


def test_pause_is_what_the_service_asks(caller: Caller) -> None:
    """`Retry-After` decides; without it pauses double."""
    caller.script.turns += [
        problem(503, retry_after="4"),
        httpx.Response(502, text="<html>Bad gateway</html>"),
        problem(429, retry_after="2"),
        httpx.Response(200, json=video_json()),
    ]

    caller.do(lambda client: client.get("video_1"))

    assert caller.pauses[0] == 4
    assert 1 <= caller.pauses[1] <= 1.25
    assert caller.pauses[2] == 2


def test_long_wait_is_the_callers_choice(caller: Caller) -> None:
    """A quota that opens tomorrow is raised at once, and says when."""
    caller.script.turns.append(problem(429, "quota_exceeded", retry_after="36000"))

    with pytest.raises(RateLimited) as refused:
        caller.do(lambda client: client.get("video_1"))

    assert (refused.value.code, refused.value.retry_after_s, caller.pauses) == ("quota_exceeded", 36_000, [])


def test_gives_up_in_the_end(caller: Caller) -> None:
    """After as many tries as were asked for the last error is raised."""
    caller.script.turns += [httpx.ConnectError("refused"), problem(503)]

    with pytest.raises(Unavailable):
        caller.do(lambda client: client.get("video_1"), retries=Retries(tries=2))
    caller.script.turns.append(httpx.ConnectError("refused"))
    with pytest.raises(ConnectionFailed, match=r"keyvid\.test: refused"):
        caller.do(lambda client: client.get("video_1"), retries=Retries(tries=1))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Expired),
        (415, InvalidRequest),
        (418, ApiError),
        (422, InvalidRequest),
        (500, ServerError),
    ],
)
def test_refusal_is_a_typed_error_at_once(caller: Caller, status: int, kind: type[ApiError]) -> None:
    """What would fail again is not repeated; the error holds the problem."""
    caller.script.turns.append(problem(status))

    with pytest.raises(kind, match=f"{status} some_code: Because.") as refused:
        caller.do(lambda client: client.get("video_1"))

    error = refused.value
    assert type(error) is kind
    assert (error.status, error.request_id, error.errors[0].pointer) == (status, "r1", "/seed")
    assert len(caller.script.requests) == 1


def test_service_may_forbid_repeating(caller: Caller) -> None:
    """`x-should-retry: false` is obeyed."""
    caller.script.turns.append(problem(503, x_should_retry="false"))

    with pytest.raises(Unavailable):
        caller.do(lambda client: client.get("video_1"))


def test_answer_that_is_no_problem_document_is_an_error_all_the_same(caller: Caller) -> None:
    """A login page in the way does not end in a parser's error."""
    caller.script.turns.append(httpx.Response(302, text="<html>", headers={"location": "/login"}))

    with pytest.raises(ApiError, match="302 unknown: Found"):
        caller.do(lambda client: client.get("video_1"))


def test_missing_file_is_told_before_anything_is_sent(caller: Caller) -> None:
    """A wrong path costs no request."""
    with pytest.raises(FileNotFoundError, match=r"no file nowhere\.png"):
        caller.do(lambda client: client.create("nowhere.png", b"s", "x"))

    assert caller.script.requests == []


def test_newer_service_is_understood(caller: Caller) -> None:
    """Fields that this version does not know stay readable."""
    error = {"code": "worker_crashed", "message": "x", "hint": "y"}
    caller.script.turns.append(httpx.Response(200, json=video_json(status="failed", error=error)))

    video = caller.do(lambda client: client.get("video_1"))

    assert (video.is_done, video.error.code, video.stages[0].steps_total) == (True, "worker_crashed", 8)
    assert video.raw["a_field_of_tomorrow"] is True


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """KEYVID_URL may end in /v1, as addresses for the OpenAI client do."""
    monkeypatch.setenv("KEYVID_URL", "https://videos.example.com/v1/")
    monkeypatch.setenv("KEYVID_API_KEY", "kv_live_x")
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=video_json())

    with KeyVID(transport=httpx.MockTransport(answer)) as client:
        client.get("video_1")

    assert str(seen[0].url) == "https://videos.example.com/v1/videos/video_1"
    assert seen[0].headers["authorization"] == "Bearer kv_live_x"
    assert seen[0].headers["user-agent"].startswith("keyvid-client/")


def test_sound_can_be_heard_alone(caller: Caller) -> None:
    """A localization gives the keyframes that a new video takes."""
    plan = {"indices": [0, 4, 9], "seconds": [0.0, 0.17, 0.38]}
    heard = {"curve": [0.1, 0.9], "peaks": [1], "valleys": [0], "keyframes": plan}
    caller.script.turns += [httpx.Response(200, json=heard), httpx.Response(202, json=video_json())]

    found = caller.do(lambda client: client.localize(b"sound", audio_start=0.5))
    caller.do(
        lambda client: client.create(b"p", b"s", "x", keyframes=found.keyframes.indices, image_crop=(0, 0, 64, 48))
    )

    assert (found.keyframes.indices, found.seconds, found.keyframes.peaks) == ((0, 4, 9), (0.0, 0.17, 0.38), (1,))
    assert b'name="audio_start"\r\n\r\n0.5' in caller.script.bodies[0]
    assert b'name="keyframes"\r\n\r\n0,4,9' in caller.script.bodies[1]
    assert b'name="image_crop"\r\n\r\n0,0,64,48' in caller.script.bodies[1]
