"""POST /v1/localizations, with a real listener beside the API."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from http_service import Service, serving
from typer.testing import CliRunner

from model.cli import app as command_line
from service.settings import ServiceSettings
from tests import uploads
from tests.servers import free_port, wait_until
from workers.access import OPERATOR, Limits, Scope
from workers.jobs import Keyframes
from workers.key_store import KeyStore
from workers.listening.protocol import short_path
from workers.listening.server import ListenerApp, listening_socket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEARD = Keyframes((0, 4), (0.5,) * 48, (8,), (), source="keyvid-mini")
BEATS = uploads.beats(3.5, at=(0.5, 1.2, 2.6))


@contextmanager
def listening(path: Path, *, metrics_port: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """`keyvid listener` at a socket, from its first answer to the end of the block."""
    environment = {
        **os.environ,
        "KEYVID_LISTENER_URL": f"unix:{path}",
        "KEYVID_DATA_DIR": str(path.parent),
        "KEYVID_METRICS_PORT": str(metrics_port),
    }
    process = subprocess.Popen([sys.executable, "-m", "keyvid", "listener"], env=environment)
    try:
        wait_until(lambda: accepts(path), timeout_s=60, what="the listener's socket")
        yield process
    finally:
        process.kill()
        process.wait()


def accepts(path: Path) -> bool:
    """Whether somebody listens at a socket."""
    if not path.exists():
        return False
    with socket.socket(socket.AF_UNIX) as probe, short_path(path) as name:
        return probe.connect_ex(name) == 0


def leave_socket(path: Path) -> None:
    """Leave the file of a socket that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as dead, short_path(path) as name:
        dead.bind(name)


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a running listener, where a dead one left its own, in a deeper folder than a socket's name fits."""
    folder = tmp_path_factory.mktemp("a-data-folder-" + "x" * 100)
    leave_socket(folder / "listener.sock")
    with listening(folder / "listener.sock"):
        yield folder / "listener.sock"


@pytest.fixture
def hearing(tmp_path: Path, listener: Path) -> Iterator[Service]:
    """A service with a listener."""
    with serving(ServiceSettings(data_dir=tmp_path, listener_url=f"unix:{listener}")) as running:
        yield running


def localize(service: Service, sound: bytes = BEATS, headers: dict[str, str] | None = None, **fields: str) -> Any:
    """Ask for what is heard in a sound."""
    files = {"audio": ("beats.wav", sound)}
    return service.client.post("/v1/localizations", files=files, data=fields, headers=headers)


def test_sound_is_answered_with_its_motion_and_its_keyframes(hearing: Service, tmp_path: Path) -> None:
    """48 scores, their peaks and valleys, twelve frames with times, who heard, and nothing is left on disk."""
    reply = localize(hearing)

    heard = reply.json()
    assert reply.status_code == 200
    assert (heard["object"], heard["model"], heard["source"]) == ("localization", "keyvid-mini", "keyvid-mini")
    assert (heard["fps"], heard["num_frames"], len(heard["curve"])) == (24, 48, 48)
    indices = heard["keyframes"]["indices"]
    assert (len(indices), indices[0], indices) == (12, 0, sorted(set(indices)))
    assert heard["keyframes"]["seconds"] == [round(index / 24, 4) for index in indices]
    assert any(abs(peak / 24 - 0.5) < 0.2 for peak in heard["peaks"])
    assert heard["audio"]["duration_s"] == 3.5
    assert (heard["audio"]["used_start_s"], heard["audio"]["used_end_s"], heard["audio"]["padded_s"]) == (0, 2, 0)
    assert list(hearing.storage.list_prefix("inputs/")) == []
    assert not list((tmp_path / "tmp").iterdir())


def test_kept_file_is_heard_like_a_sent_one(hearing: Service) -> None:
    """`audio_file_id` gives the same answer, and an unknown id is told."""
    sent = hearing.client.post("/v1/files", files={"file": ("beats.wav", BEATS)}, data={"purpose": "audio"}).json()

    form = {"audio_file_id": (None, sent["id"]), "audio_start": (None, "0.4")}
    by_id = hearing.client.post("/v1/localizations", files=form)
    unknown = hearing.client.post("/v1/localizations", files={"audio_file_id": (None, "file_other")})

    assert by_id.json() == localize(hearing, audio_start="0.4").json()
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (422, "audio_file_id")


def test_audio_start_moves_the_part_that_is_heard(hearing: Service) -> None:
    """From 2.1 s on the last beat is heard, and the missing rest is silence."""
    heard = localize(hearing, audio_start="2.1").json()

    assert any(abs(peak / 24 - 0.5) < 0.2 for peak in heard["peaks"])
    assert (heard["audio"]["used_start_s"], heard["audio"]["used_end_s"]) == (2.1, 3.5)
    assert heard["audio"]["padded_s"] == pytest.approx(0.6)


def test_command_line_tells_the_same(hearing: Service, tmp_path: Path) -> None:
    """`keyvid localize --json` has the fields of the HTTP answer, and their values."""
    sound = tmp_path / "beats.wav"
    sound.write_bytes(BEATS)

    told = CliRunner().invoke(
        command_line, ["localize", str(sound), "--audio-start", "0.3", "--device", "cpu", "--json"]
    )

    over_http = localize(hearing, audio_start="0.3").json()
    by_command = json.loads(told.stdout)
    assert by_command.pop("curve") == pytest.approx(over_http.pop("curve"), abs=1e-4)
    assert by_command == over_http


@pytest.mark.parametrize(
    ("sound", "fields", "status", "code"),
    [
        (None, {}, 422, "validation_failed"),
        (BEATS, {"audio_file_id": "file_x"}, 422, "validation_failed"),
        (BEATS, {"audio_start": "3.5"}, 422, "validation_failed"),
        (BEATS, {"audio_start": "nan"}, 422, "validation_failed"),
        (BEATS, {"prompt": "a dog"}, 422, "validation_failed"),
        (uploads.jpeg(), {}, 415, "unsupported_media_type"),
        (BEATS[:2000], {}, 422, "audio_decode_failed"),
        (uploads.wav(0.1), {}, 422, "audio_too_short"),
    ],
)
def test_bad_requests_are_refused_by_their_field(
    hearing: Service, sound: bytes | None, fields: dict[str, str], status: int, code: str
) -> None:
    """No sound, two sounds, a start behind the end, a picture, half a file: each is told as such."""
    files = {"audio": ("sound", sound)} if sound is not None else {"audio_start": (None, "0")}

    reply = hearing.client.post("/v1/localizations", files=files, data=fields)

    assert (reply.status_code, reply.json()["code"]) == (status, code)


def test_without_a_listener_only_localizations_wait(service: Service) -> None:
    """503 says when to try again; videos are accepted all the same."""
    reply = localize(service)

    assert (reply.status_code, reply.json()["code"]) == (503, "localizer_unavailable")
    assert int(reply.headers["Retry-After"]) > 0
    assert service.create()["status"] == "queued"


def test_socket_that_a_dead_listener_left_is_nobody(tmp_path: Path) -> None:
    """Its file alone answers nothing: 503, as long as no new listener takes its place."""
    leave_socket(tmp_path / "listener.sock")
    with serving(ServiceSettings(data_dir=tmp_path)) as service:
        assert localize(service).json()["code"] == "localizer_unavailable"


def test_listener_tells_how_it_is(tmp_path: Path) -> None:
    """It says whether it hears, and the API repeats it; what it has heard is counted where it is scraped."""
    path, port = tmp_path / "listener.sock", free_port()
    with serving(ServiceSettings(data_dir=tmp_path, listener_url=f"unix:{path}")) as service:
        keys = KeyStore(service.store.database, default_limits=Limits())
        scopes = [Scope.ADMIN, Scope.VIDEOS_WRITE]
        _, secret = keys.create(tenant="default", name="operator", scopes=scopes, actor=OPERATOR)
        service.client.headers["Authorization"] = f"Bearer {secret}"

        assert service.client.get("/v1/admin/installation").json()["listener"] == "away"
        with listening(path, metrics_port=port):
            assert service.client.get("/v1/admin/installation").json()["listener"] == "ready"
            assert localize(service).status_code == 200

            told = httpx.get(f"http://127.0.0.1:{port}/metrics").text

    assert 'keyvid_hearing_seconds_count{outcome="heard"} 1.0' in told


def test_listener_is_found_over_tcp_too(tmp_path: Path) -> None:
    """Where the address is one of HTTP, the sound goes there; a port that nobody listens on is 503."""
    url = f"http://127.0.0.1:{free_port()}"
    with serving(ServiceSettings(data_dir=tmp_path, listener_url=url)) as service:
        assert localize(service).json()["code"] == "localizer_unavailable"
        config = uvicorn.Config(ListenerApp(lambda _wav: HEARD), lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        with listening_socket(url) as listening:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                assert localize(service).json()["keyframes"]["indices"] == [0, 4]
            finally:
                server.should_exit = True
                thread.join()


def test_hearing_needs_the_scope_and_has_a_rate_of_its_own(tmp_path: Path, listener: Path) -> None:
    """A key that may only read is refused; one that may make videos has so many localizations a minute."""
    settings = ServiceSettings(
        data_dir=tmp_path, auth="required", listener_url=f"unix:{listener}", quota_localizations_per_minute=2
    )
    with serving(settings) as service:
        keys = KeyStore(service.store.database, default_limits=Limits(requests_per_minute=600))

        def header(scope: Scope) -> dict[str, str]:
            _, secret = keys.create(tenant="acme", name="test", scopes=[scope], actor=OPERATOR)
            return {"Authorization": f"Bearer {secret}"}

        reader, writer = header(Scope.VIDEOS_READ), header(Scope.VIDEOS_WRITE)

        assert localize(service, headers=reader).json()["code"] == "insufficient_scope"
        assert [localize(service, headers=writer).status_code for _ in range(3)] == [200, 200, 429]
        refused = localize(service, headers=writer)
        assert "localizations" in refused.json()["detail"]
        assert int(refused.headers["Retry-After"]) > 0
