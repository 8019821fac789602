"""The listener: what it answers, how many may wait, and what happens when it hangs."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import wave
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from tests import uploads
from workers.jobs import Keyframes
from workers.listening.hearing import CannotHear, Hearing, NotASound, load_hearing
from workers.listening.protocol import MAX_WAV_BYTES
from workers.listening.server import HUNG_EXIT_STATUS, MAX_WAITING, ListenerApp
from workers.settings import Settings

HEARD = Keyframes((0, 4), (0.5,) * 48, (8,), (), source="keyvid-mini")


async def ask(app: ListenerApp, body: bytes = b"wav", path: str = "/hear", method: str = "POST") -> tuple[int, Any]:
    """Send one request; answers status and document."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"x-request-id", b"req-1")]
    await app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def test_answers_what_is_heard() -> None:
    """The keyframes travel as JSON; other paths are unknown, and a live listener says so."""
    app = ListenerApp(lambda _wav: HEARD)

    status, document = await ask(app)

    assert (status, document["indices"], document["source"]) == (200, [0, 4], "keyvid-mini")
    assert (await ask(app, path="/livez", method="GET"))[0] == 200
    assert (await ask(app, path="/other"))[0] == 404


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, (200, {"status": "ready", "checks": {"localizer": "ok"}})),
        (CannotHear, (200, {"status": "ready", "checks": {"localizer": "none"}})),
    ],
)
async def test_readiness_is_asked_by_a_sound(
    error: type[Exception] | None, expected: tuple[int, dict[str, object]]
) -> None:
    """Two seconds of silence are heard; they are in no count and no line of the log."""
    heard: list[bytes] = []

    def hear(wav: bytes) -> Keyframes:
        heard.append(wav)
        if error:
            raise error
        return HEARD

    with capture_logs() as lines:
        assert await ask(ListenerApp(hear), path="/readyz", method="GET") == expected

    with wave.open(io.BytesIO(heard[0])) as silence:
        assert silence.getnframes() == 2 * silence.getframerate()
        assert not any(silence.readframes(silence.getnframes()))
    assert lines == []


async def test_line_of_the_log_names_the_request() -> None:
    """The id that the API's own lines of the same request have."""
    with capture_logs(processors=[merge_contextvars]) as lines:
        await ask(ListenerApp(lambda _wav: HEARD))

    assert [(line["event"], line["request_id"], line["status"]) for line in lines] == [("sound_heard", "req-1", 200)]


@pytest.mark.parametrize(("error", "expected"), [(CannotHear, 409), (NotASound, 422)])
async def test_errors_have_their_status(error: type[Exception], expected: int) -> None:
    """Whoever cannot hear says 409; what is no sound is 422."""

    def hear(_wav: bytes) -> Keyframes:
        raise error

    assert (await ask(ListenerApp(hear)))[0] == expected


async def test_too_large_a_body_is_refused() -> None:
    """No sound is larger than two seconds."""
    app = ListenerApp(lambda _wav: HEARD)

    assert (await ask(app, b"0" * (MAX_WAV_BYTES + 1)))[0] == 422


async def test_only_so_many_wait() -> None:
    """While one sound is heard, a bounded number waits; the rest is told to come back."""
    go_on = threading.Event()

    def hear(_wav: bytes) -> Keyframes:
        go_on.wait(10)
        return HEARD

    app = ListenerApp(hear)
    asked = [asyncio.create_task(ask(app)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)  # until all of them wait

    assert (await ask(app))[0] == 503
    assert await ask(app, path="/readyz", method="GET") == (
        503,
        {"status": "unavailable", "checks": {"localizer": "busy"}},
    )
    go_on.set()
    assert [status for status, _ in await asyncio.gather(*asked)] == [200] * MAX_WAITING
    assert (await ask(app))[0] == 200


async def test_hung_listener_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sound that takes for ever ends the process, so that its supervisor starts a fresh one."""
    ended: list[int] = []
    go_on = threading.Event()

    def end(status: int) -> None:
        ended.append(status)
        go_on.set()
        raise SystemExit(status)

    monkeypatch.setattr("workers.listening.server.os._exit", end)

    def hang(_wav: bytes) -> Keyframes:
        go_on.wait(10)
        return HEARD

    app = ListenerApp(hang, hung_s=0.05)

    with pytest.raises(SystemExit):
        await ask(app)
    assert ended == [HUNG_EXIT_STATUS]


def test_hears_only_sounds() -> None:
    """A loaded localizer hears WAVs in mono and stereo, at any rate, and nothing else."""
    hearing = load_hearing(Settings())

    for sound in (uploads.beats(2.0, at=(0.5,)), uploads.wav(0.3, rate=48_000, channels=2)):
        heard = hearing.hear(sound)
        assert (len(heard.indices), len(heard.curve), heard.source) == (12, 48, "keyvid-mini")
    for damaged in (b"", b"RIFF", uploads.float_wav(uploads.tone(1.0))):
        with pytest.raises(NotASound):
            hearing.hear(damaged)


def test_model_without_localizer_cannot_hear() -> None:
    """Where the settings name nobody, the caller must choose the keyframes."""
    with pytest.raises(CannotHear):
        Hearing(None, 12).hear(uploads.wav(1.0))
