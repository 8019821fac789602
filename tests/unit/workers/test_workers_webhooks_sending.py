"""One webhook's POST, to receivers of every temper."""

from __future__ import annotations

import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.receivers import Receiver, receiving
from tests.servers import free_port
from workers.webhooks.address import Target, parse_target
from workers.webhooks.sending import MAX_EXCERPT, PostFailed, Reply, post

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = b'{"type":"video.completed"}'
LOOPBACK = "127.0.0.1"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that says 204."""
    with receiving() as running:
        yield running


def _target(url: str) -> Target:
    return parse_target(url, private_hosts=("hooks.example", LOOPBACK))


def _post(url: str, *, timeout_s: float = 5.0) -> Reply:
    return post(_target(url), LOOPBACK, headers={"X-Test": "1"}, body=BODY, timeout_s=timeout_s)


def test_bytes_arrive_as_they_were_given(receiver: Receiver) -> None:
    """Path, query, header fields and body are the ones of the call."""
    reply = _post(receiver.url)

    assert reply.is_success
    (got,) = receiver.received
    assert (got.path, got.body, got.headers["X-Test"]) == ("/hook?x=1", BODY, "1")


def test_connection_goes_to_the_address_that_was_checked(receiver: Receiver) -> None:
    """The name is not looked up again: a name that does not even exist reaches its pinned address."""
    url = receiver.url.replace(LOOPBACK, "hooks.example")

    assert _post(url).is_success
    assert receiver.received[0].headers["Host"].startswith("hooks.example:")


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 410, 500, 503])
def test_only_2xx_is_success_and_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    """One request, one answer."""
    receiver.answer = lambda: (status, {"Location": receiver.url}, b"")

    reply = _post(receiver.url)

    assert (reply.status, reply.is_success, len(receiver.received)) == (status, False, 1)


def test_reply_is_read_only_so_far(receiver: Receiver) -> None:
    """A large reply is cut, and what cannot be shown becomes a blank."""
    receiver.answer = lambda: (500, {}, b"no\x00\x1b[31m\n" + b"x" * 10_000_000)

    excerpt = _post(receiver.url).excerpt

    assert len(excerpt) == MAX_EXCERPT
    assert excerpt.startswith("no  [31m x")


@pytest.mark.parametrize(("header", "seconds"), [("120", 120.0), ("soon", None), ("-5", None)])
def test_retry_after_is_understood(receiver: Receiver, header: str, seconds: float | None) -> None:
    """Seconds are taken, nonsense is not."""
    receiver.answer = lambda: (503, {"Retry-After": header}, b"")

    assert _post(receiver.url).retry_after_s == seconds


def test_receiver_that_drips_is_left_after_the_whole_time(receiver: Receiver) -> None:
    """Each byte comes in time, the answer does not."""
    receiver.drips = True
    started = time.monotonic()

    with pytest.raises(PostFailed, match="timeout"):
        _post(receiver.url, timeout_s=0.5)

    assert time.monotonic() - started < 5


def test_receiver_that_never_answers_is_left() -> None:
    """A connection that is accepted and then ignored ends in time."""
    with socket.create_server((LOOPBACK, 0)) as server, pytest.raises(PostFailed, match="timeout"):
        _post(f"http://{LOOPBACK}:{server.getsockname()[1]}/", timeout_s=0.3)


def test_receiver_that_is_not_there_is_told_so() -> None:
    """Nobody listens."""
    with pytest.raises(PostFailed, match="connection_failed"):
        _post(f"http://{LOOPBACK}:{free_port()}/")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for hooks.example with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "hooks.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


def test_https_is_checked_against_the_name_and_not_the_address(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pinned address must prove to be the host of the URL, by a certificate that is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with receiving(tls=context) as receiver:
        named = receiver.url.replace(LOOPBACK, "hooks.example")
        with pytest.raises(PostFailed, match="tls_failed"):
            _post(named)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

        assert _post(named).is_success
        with pytest.raises(PostFailed, match="tls_failed"):
            _post(receiver.url)
        assert len(receiver.received) == 1


@pytest.mark.parametrize(("connect_s", "handshake_s"), [(0.3, 0.4), (0.7, 0.0)])
def test_slow_https_receiver_is_left_after_the_whole_time(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, connect_s: float, handshake_s: float
) -> None:
    """Time that goes into the connection and into its handshake is not given again to an answer that drips."""
    create_connection = socket.create_connection

    def connect_late(*args: Any) -> socket.socket:
        time.sleep(connect_s)
        return create_connection(*args)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda *_: time.sleep(handshake_s)
    monkeypatch.setattr("workers.webhooks.sending.socket.create_connection", connect_late)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with receiving(tls=context) as receiver:
        receiver.drips = True
        started = time.monotonic()

        with pytest.raises(PostFailed, match="timeout"):
            _post(receiver.url.replace(LOOPBACK, "hooks.example"), timeout_s=0.5)

        assert time.monotonic() - started < 5


def test_receiver_that_is_no_web_server_is_told_so(receiver: Receiver) -> None:
    """TLS to a plain server fails as TLS."""
    with pytest.raises(PostFailed, match="tls_failed"):
        _post(receiver.url.replace("http:", "https:"))
