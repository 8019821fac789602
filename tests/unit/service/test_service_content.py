"""Answers that carry a blob."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from service.content import Content, content_response, matches
from service.problem_details import install_error_handlers
from workers.storage_local import LocalBlobStore

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

BODY = bytes(range(256)) * 4
ETAG = '"tag"'


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """A server of one blob of 1024 bytes."""
    storage = LocalBlobStore(tmp_path, signing_key=b"key")
    storage.put_bytes("video", BODY, content_type="video/mp4")

    def serve(request: Request) -> Response:
        return content_response(request, storage, Content("video", ETAG, "video/mp4", 'a "b".mp4'))

    app = Starlette(routes=[Route("/", serve)])
    install_error_handlers(app)  # type: ignore[arg-type]
    return TestClient(app)


def test_whole_content_has_validators_and_a_name(client: TestClient) -> None:
    """Without a range the whole comes, with all a player needs to ask for parts."""
    reply = client.get("/")

    assert (reply.status_code, reply.content) == (200, BODY)
    assert reply.headers["etag"] == ETAG
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["content-length"] == "1024"
    assert reply.headers["content-disposition"] == "inline; filename=\"a _b_.mp4\"; filename*=UTF-8''a%20%22b%22.mp4"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-1", 0, 1), ("bytes=1000-", 1000, 1023), ("bytes=-24", 1000, 1023), ("bytes=5-99999", 5, 1023)],
)
def test_range_is_cut_out(client: TestClient, asked: str, start: int, end: int) -> None:
    """One byte range comes as 206 with its place in the whole."""
    reply = client.get("/", headers={"Range": asked})

    assert reply.status_code == 206
    assert reply.content == BODY[start : end + 1]
    assert reply.headers["content-range"] == f"bytes {start}-{end}/1024"


@pytest.mark.parametrize(("asked", "part"), [("", b"before"), ("bytes=1-3", b"efo")])
def test_bytes_that_were_read_are_what_is_sent(tmp_path: Path, asked: str, part: bytes) -> None:
    """What replaces the blob meanwhile is in neither the body nor its length."""
    storage = LocalBlobStore(tmp_path, signing_key=b"key")

    def serve(request: Request) -> Response:
        content = Content("preview", ETAG, "image/jpeg", "a.jpg", storage.get_bytes("preview"))
        storage.put_bytes("preview", b"a longer one", content_type="image/jpeg")
        return content_response(request, storage, content)

    storage.put_bytes("preview", b"before", content_type="image/jpeg")
    reply = TestClient(Starlette(routes=[Route("/", serve)])).get("/", headers={"Range": asked})

    assert (reply.content, reply.headers["content-length"]) == (part, str(len(part)))


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=-0", "bytes=5000-6000"])
def test_range_outside_is_416(client: TestClient, asked: str) -> None:
    """A range behind the end says how long the content is."""
    reply = client.get("/", headers={"Range": asked})

    assert reply.status_code == 416
    assert reply.headers["content-range"] == "bytes */1024"
    assert reply.json()["code"] == "range_not_satisfiable"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=9-3", "bytes=-", "lines=1-2", "bytes=" + "9" * 99 + "-"])
def test_other_ranges_are_ignored(client: TestClient, asked: str) -> None:
    """What is no single byte range is answered with the whole."""
    assert client.get("/", headers={"Range": asked}).status_code == 200


def test_if_range_guards_against_another_version(client: TestClient) -> None:
    """A part is sent only to a reader of the same version."""
    same = client.get("/", headers={"Range": "bytes=0-1", "If-Range": ETAG})
    other = client.get("/", headers={"Range": "bytes=0-1", "If-Range": '"old"'})

    assert (same.status_code, other.status_code) == (206, 200)


def test_known_content_is_not_sent_again(client: TestClient) -> None:
    """A reader that has the present version gets 304."""
    reply = client.get("/", headers={"If-None-Match": f'"x", {ETAG}'})

    assert (reply.status_code, reply.content) == (304, b"")


def test_head_tells_the_length_only(client: TestClient) -> None:
    """HEAD answers like GET, without the bytes."""
    reply = client.head("/")

    assert (reply.headers["content-length"], reply.content) == ("1024", b"")


@pytest.mark.parametrize(
    ("sent", "expected"), [(None, False), ("*", True), ('W/"5"', True), ('"5"', True), ('"6"', False)]
)
def test_weak_comparison(sent: str | None, expected: bool) -> None:  # noqa: FBT001
    """If-None-Match compares weakly."""
    assert matches(sent, 'W/"5"') is expected
