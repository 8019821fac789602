"""Share links over HTTP: what whoever has one gets, and what nobody else does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from http_service import JPEG, MP4, Service, serving

from service.settings import ServiceSettings
from workers.access import OPERATOR, USUAL_SCOPES, Limits, Scope
from workers.key_store import KeyStore
from workers.tables import ShareLinkRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service where everyone needs a key, and a client that has one."""
    with serving(ServiceSettings(data_dir=tmp_path, auth="required", public_url="https://video.example")) as running:
        keys = KeyStore(running.store.database, default_limits=Limits())
        _, secret = keys.create(tenant="default", name="test", scopes=USUAL_SCOPES, actor=OPERATOR)
        running.client.headers["Authorization"] = f"Bearer {secret}"
        yield running


def shared(service: Service, **fields: float) -> dict[str, Any]:
    """A link to a finished video."""
    service.create()
    video_id = service.finish()
    reply = service.client.post(f"/v1/videos/{video_id}/share-links", json=fields)
    assert reply.status_code == 201, reply.text
    body: dict[str, Any] = reply.json()
    return body


def as_anybody(service: Service, url: str, **options: Any) -> Any:
    """Follow a link without a key."""
    parts = urlsplit(url)
    service.client.headers.pop("Authorization", None)
    return service.client.get(parts.path + (f"?{parts.query}" if parts.query else ""), **options)


def test_link_plays_and_downloads_without_a_key(service: Service) -> None:
    """Whoever has it gets the MP4, in ranges and to save, its picture, and nothing of who made it or from what."""
    link = shared(service)

    whole = as_anybody(service, link["url"])
    part = as_anybody(service, link["url"], headers={"Range": "bytes=0-1"})
    saved = as_anybody(service, link["url"] + "?download=true")
    about = as_anybody(service, link["about_url"])

    assert link["url"].startswith("https://video.example/v1/shared/")
    assert (whole.content, whole.headers["content-type"]) == (MP4, "video/mp4")
    assert (part.status_code, part.content) == (206, MP4[:2])
    assert saved.headers["content-disposition"].startswith("attachment; filename=")
    assert link["video_id"] not in whole.headers["content-disposition"]
    assert as_anybody(service, about.json()["thumbnail_url"]).content == JPEG
    assert about.json().keys() == {
        *("object", "expires_at", "seconds", "size", "fps", "num_frames", "content_url", "thumbnail_url")
    }


def test_expired_and_revoked_links_say_so(service: Service) -> None:
    """410 with a code of its own; a changed address is 404, like one that never was."""
    link = shared(service)
    gone = service.client.post(f"/v1/videos/{link['video_id']}/share-links", json={}).json()
    service.client.delete(f"/v1/videos/{link['video_id']}/share-links/{gone['id']}")
    listed = service.client.get(f"/v1/videos/{link['video_id']}/share-links").json()["data"]
    with service.store.database.write() as transaction:
        row = transaction.session.get(ShareLinkRow, link["id"])
        assert row is not None
        row.expires_at = transaction.now - 1

    assert [item["id"] for item in listed] == [gone["id"], link["id"]]
    assert (listed[0]["revoked_at"] is not None, listed[1]["url"]) == (True, link["url"])
    for url, code in ((link["url"], "share_link_expired"), (gone["about_url"], "share_link_revoked")):
        reply = as_anybody(service, url)
        assert (reply.status_code, reply.json()["code"]) == (410, code)
        assert reply.headers["content-type"] == "application/problem+json"
    assert as_anybody(service, link["url"].replace("/content", "x/content")).status_code == 404


def test_link_opens_nothing_else(service: Service) -> None:
    """Its token is no key, and no other video's address."""
    link = shared(service)
    token = link["about_url"].rpartition("/")[2]

    for path in (f"/v1/videos/{link['video_id']}", "/v1/videos", f"/v1/videos/{link['video_id']}/share-links"):
        assert as_anybody(service, path, headers={"Authorization": f"Bearer {token}"}).status_code == 401


@pytest.mark.parametrize("seconds", [0, 59, 1e9, -1])
def test_life_of_a_link_has_bounds(service: Service, seconds: float) -> None:
    """A minute at least, thirty days at most."""
    service.create()
    reply = service.client.post(f"/v1/videos/{service.finish()}/share-links", json={"expires_in_seconds": seconds})

    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "expires_in_seconds")


def test_unfinished_video_cannot_be_shared(service: Service) -> None:
    """There is nothing to show yet."""
    reply = service.client.post(f"/v1/videos/{service.create()['id']}/share-links", json={})

    assert (reply.status_code, reply.json()["code"]) == (409, "not_ready")


def test_sharing_is_a_change(service: Service) -> None:
    """A key that may only read can list links and make none."""
    link = shared(service)
    keys = KeyStore(service.store.database, default_limits=Limits())
    _, secret = keys.create(tenant="default", name="reader", scopes=[Scope.VIDEOS_READ], actor=OPERATOR)
    service.client.headers["Authorization"] = f"Bearer {secret}"
    path = f"/v1/videos/{link['video_id']}/share-links"

    assert service.client.get(path).status_code == 200
    assert service.client.post(path, json={}).json()["code"] == "insufficient_scope"
