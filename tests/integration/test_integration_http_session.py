"""Sessions of browsers: a key is shown once, and a cookie that scripts cannot read stands in for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from http_service import Service, serving

from service.settings import ServiceSettings
from workers.access import OPERATOR, USUAL_SCOPES, Limits
from workers.key_store import KeyStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = {"X-KeyVID-Session": "1"}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Service]:
    """A service where everyone needs a key."""
    with serving(ServiceSettings(data_dir=tmp_path, auth="required")) as running:
        yield running


def new_key(service: Service, tenant: str = "acme") -> tuple[str, str]:
    """Make a key; answers its id and its secret."""
    keys = KeyStore(service.store.database, default_limits=Limits(requests_per_minute=600))
    key, secret = keys.create(tenant=tenant, name="test", scopes=USUAL_SCOPES, actor=OPERATOR)
    return key.id, secret


def sign_in(service: Service) -> tuple[str, Any]:
    """Sign the client in; answers the key's id and the answer."""
    key_id, secret = new_key(service)
    reply = service.client.post("/v1/session", json={"api_key": secret})
    assert reply.status_code == 200, reply.text
    assert secret not in reply.text
    return key_id, reply


def test_cookie_stands_in_for_the_key(door: Service) -> None:
    """After one sign-in reading, making and following videos needs no key; the cookie is out of scripts' reach."""
    _, reply = sign_in(door)

    session = reply.json()
    attributes = reply.headers["set-cookie"].lower()
    assert (session["kind"], session["tenant"]) == ("session", "acme")
    assert session["expires_at"] > time.time()
    for attribute in ("httponly", "samesite=strict", "path=/", "max-age=28800"):
        assert attribute in attributes
    assert "secure" not in attributes  # over plain http it would never be sent
    assert door.client.get("/v1/session").json()["kind"] == "session"
    door.client.headers.update(OURS)
    video = door.create()
    assert door.client.get(f"/v1/videos/{video['id']}").status_code == 200
    assert door.client.get("/v1/admin/keys").json()["code"] == "insufficient_scope"


def test_cookie_over_https_is_secure(tmp_path: Path) -> None:
    """Where the service is reached by https the cookie never travels in the clear."""
    with serving(ServiceSettings(data_dir=tmp_path, auth="required", public_url="https://video.example")) as service:
        assert "secure" in sign_in(service)[1].headers["set-cookie"].lower()


@pytest.mark.parametrize("escaped", ["\\ud800", "kv_live_\\u0000", "k\\u00e9y"])
def test_key_of_odd_characters_is_422(door: Service, escaped: str) -> None:
    """What no key can hold, half a surrogate pair among it, is a field that is wrong, and is not repeated."""
    reply = door.client.post(
        "/v1/session", content=f'{{"api_key":"{escaped}"}}', headers={"Content-Type": "application/json"}
    )

    assert (reply.status_code, reply.json()["code"]) == (422, "validation_failed")
    assert reply.json()["errors"] == [{"pointer": "/api_key", "detail": "must be printable ASCII characters"}]


@pytest.mark.parametrize("credentials", [{}, {"Authorization": "Bearer the-gateways-own"}])
def test_session_counts_behind_a_gateway(tmp_path: Path, credentials: dict[str, str]) -> None:
    """Who has signed in there is that key's tenant, whatever the gateway adds; who has not needs no key."""
    with serving(ServiceSettings(data_dir=tmp_path, auth="gateway")) as service:
        service.client.headers.update(credentials)
        assert service.client.get("/v1/session").json()["tenant"] == "default"
        sign_in(service)

        session = service.client.get("/v1/session").json()

    assert (session["kind"], session["tenant"]) == ("session", "acme")


def test_change_needs_a_header_that_other_sites_cannot_send(door: Service) -> None:
    """With the cookie alone nothing is changed, whatever the form."""
    sign_in(door)

    for reply in (
        door.post(prompt="a dog"),
        door.client.delete("/v1/session"),
        door.client.delete("/v1/videos/video_1"),
    ):
        assert (reply.status_code, reply.json()["code"]) == (403, "session_header_missing")
    assert door.client.get("/v1/videos").json()["data"] == []


def test_signing_out_ends_the_session_everywhere(door: Service) -> None:
    """The cookie is taken back, and a copy of it opens nothing, at once."""
    sign_in(door)
    kept = dict(door.client.cookies)

    reply = door.client.delete("/v1/session", headers=OURS)

    assert reply.json()["ended"] is True
    assert 'keyvid_session=""' in reply.headers["set-cookie"]
    door.client.cookies.update(kept)
    again = door.client.get("/v1/videos")
    assert (again.status_code, again.json()["code"]) == (401, "invalid_api_key")


def test_session_ends_with_its_key(door: Service) -> None:
    """A revoked key takes its browsers along within two seconds."""
    key_id, _ = sign_in(door)

    KeyStore(door.store.database, default_limits=Limits()).revoke(key_id, actor=OPERATOR)

    assert door.client.get("/v1/session").status_code == 401


def test_cookie_of_an_ended_session_can_be_given_back(door: Service) -> None:
    """Whoever was signed out by the end of a key gets rid of the cookie; without any cookie there is nothing to end."""
    key_id, _ = sign_in(door)
    KeyStore(door.store.database, default_limits=Limits(requests_per_minute=600)).revoke(key_id, actor=OPERATOR)
    reply = door.client.delete("/v1/session", headers=OURS)

    assert reply.status_code == 200
    assert "max-age=0" in reply.headers["set-cookie"].lower()
    assert door.client.delete("/v1/session", headers=OURS).status_code == 401


def test_wrong_keys_open_no_session(door: Service) -> None:
    """401 and no cookie for a wrong key, for none, and for a cookie that never was."""
    for options in ({"json": {"api_key": "kv_live_wrong"}}, {"json": {}}, {}):
        reply = door.client.post("/v1/session", **options)
        assert reply.status_code == 401
        assert "set-cookie" not in reply.headers
    door.client.cookies.set("keyvid_session", "forged")
    assert door.client.get("/v1/videos").status_code == 401


def test_key_in_the_header_signs_in_too(door: Service) -> None:
    """For pages that already send it; a request with both a key and a cookie is the key's."""
    _, secret = new_key(door, "acme")
    _, other = new_key(door, "rival")

    reply = door.client.post("/v1/session", headers={"Authorization": f"Bearer {secret}"})
    both = door.client.get("/v1/session", headers={"Authorization": f"Bearer {other}"})

    assert reply.json()["kind"] == "session"
    assert (both.json()["kind"], both.json()["tenant"]) == ("key", "rival")


def test_open_server_needs_no_session(service: Service) -> None:
    """On a loopback address without keys everything works as it is, and there is no cookie."""
    asked, signed_in = service.client.get("/v1/session"), service.client.post("/v1/session")

    assert (asked.json()["kind"], signed_in.json()["kind"]) == ("open", "open")
    assert "set-cookie" not in signed_in.headers
    assert service.create()["status"] == "queued"
