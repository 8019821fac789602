"""Who may do what over HTTP: keys, scopes, tenants, limits, and what browsers are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from access_door import JPEG, WAV, Door, opened

from service.settings import ServiceSettings
from workers.access import OPERATOR, USUAL_SCOPES, Scope

if TYPE_CHECKING:
    from pathlib import Path


def test_missing_and_wrong_keys_are_told_alike(door: Door) -> None:
    """401 says how to authenticate, in both error worlds, and nothing about which keys exist."""
    bad = ("", "Bearer", "Bearer none", "Basic eDp5", "Bearer kv_live_" + "a" * 8 + "_" + "a" * 52)
    for value in bad:
        reply = door.client.get("/v1/videos", headers={"Authorization": value})

        assert reply.status_code == 401, value
        assert reply.headers["www-authenticate"] == 'Bearer realm="keyvid"'
        assert reply.json()["code"] == reply.json()["error"]["code"] == "invalid_api_key"


def test_key_opens_everything_of_its_scopes(door: Door) -> None:
    """The usual scopes make, read and delete videos and files; operators' pages stay shut."""
    headers = door.key()

    video = door.create(headers).json()

    for path in ("/v1/videos", f"/v1/videos/{video['id']}", "/v1/models", "/v1/usage"):
        assert door.client.get(path, headers=headers).status_code == 200, path
    assert door.client.get("/v1/admin/keys", headers=headers).json()["code"] == "insufficient_scope"
    assert door.client.delete(f"/v1/videos/{video['id']}", headers=headers).status_code == 200


def test_every_operation_is_behind_the_gate(door: Door) -> None:
    """Without a key each documented operation under /v1 answers 401, except for signed links."""
    document = door.client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if not path.startswith("/v1/") or path.startswith(("/v1/blobs/", "/v1/shared/")):
                assert "security" not in operation
                continue
            reply = door.client.request(method, path.replace("{", "").replace("}", ""))
            assert reply.status_code == 401, (method, path)
            assert {"401", "403", "429"} <= operation["responses"].keys(), operation["operationId"]


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        (Scope.VIDEOS_WRITE, "GET", "/v1/videos"),
        (Scope.VIDEOS_READ, "POST", "/v1/videos"),
        (Scope.VIDEOS_READ, "DELETE", "/v1/videos/video_1"),
        (Scope.VIDEOS_READ, "POST", "/v1/videos/video_1/cancel"),
        (Scope.VIDEOS_WRITE, "GET", "/v1/files/file_1"),
        (Scope.FILES, "GET", "/v1/usage"),
        (Scope.WEBHOOKS, "GET", "/v1/admin/audit"),
    ],
)
def test_scope_that_is_missing_is_named(door: Door, scope: Scope, method: str, path: str) -> None:
    """403 says which scope it takes."""
    reply = door.client.request(method, path, headers=door.key("acme", scope))

    assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")
    assert "scope " in reply.json()["detail"]


def test_another_tenants_things_do_not_exist(door: Door) -> None:
    """Every way to a video or a file of another tenant is 404, the same as for an id that never was."""
    mine, other = door.key("acme"), door.key("rival")
    video = door.create(mine).json()["id"]
    sent = {"file": ("meow.wav", WAV)}
    file = door.client.post("/v1/files", data={"purpose": "audio"}, files=sent, headers=mine).json()["id"]

    for method, path in (
        ("GET", "/v1/videos/{}"),
        ("DELETE", "/v1/videos/{}"),
        ("POST", "/v1/videos/{}/cancel"),
        ("GET", "/v1/videos/{}/content"),
        ("GET", "/v1/videos/{}/content-url"),
        ("GET", "/v1/videos/{}/events"),
        ("GET", "/v1/files/{}"),
        ("DELETE", "/v1/files/{}"),
    ):
        real, invented = (file, "file_0") if "files" in path else (video, "video_0")
        replies = [door.client.request(method, path.format(name), headers=other) for name in (real, invented)]
        assert [reply.status_code for reply in replies] == [404, 404], path
        assert replies[0].json()["detail"] == replies[1].json()["detail"]
    assert door.client.get("/v1/videos", headers=other).json()["data"] == []
    assert door.client.get("/v1/videos", params={"after": video}, headers=other).status_code == 422
    files = {"input_reference": ("cat.jpg", JPEG)}
    fields = {"prompt": "p", "audio_file_id": file}
    assert door.client.post("/v1/videos", data=fields, files=files, headers=other).status_code == 422
    assert door.client.get(f"/v1/videos/{video}", headers=mine).json()["status"] == "queued"


def test_revoked_key_is_out_within_seconds(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verified key is believed for a moment only."""
    headers = door.key()
    assert door.client.get("/v1/videos", headers=headers).status_code == 200
    door.keys.revoke(door.keys.all_keys()[0].id, actor=OPERATOR)
    monkeypatch.setattr("service.access.gate.time.monotonic", lambda: 1e9)  # later than any belief lasts

    assert door.client.get("/v1/videos", headers=headers).status_code == 401


def test_rate_of_a_key_is_told_and_kept(door: Door) -> None:
    """Each answer says what is left; one too many is 429 with when to come back; another key is not held up."""
    slow, other = door.key(requests_per_minute=3), door.key()
    replies = [door.client.get("/v1/usage", headers=slow) for _ in range(4)]

    assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
    assert [reply.headers["ratelimit"].split(";")[1] for reply in replies] == ["r=2", "r=1", "r=0", "r=0"]
    assert replies[0].headers["ratelimit-policy"] == '"requests";q=3;w=60'
    assert (replies[3].json()["code"], replies[3].json()["error"]["type"]) == ("rate_limited", "rate_limit_error")
    assert 1 <= int(replies[3].headers["retry-after"]) <= 20
    assert door.client.get("/v1/usage", headers=other).status_code == 200


def test_queue_of_a_tenant_is_bounded(door: Door) -> None:
    """The next video is refused before its files are read, with a typed 429; usage says why."""
    headers = door.key()
    door.keys.set_limits("acme", {"max_queued": 1}, actor=OPERATOR)
    assert door.create(headers).status_code == 202

    reply = door.create(headers)

    assert (reply.status_code, reply.json()["code"]) == (429, "concurrency_limit")
    assert reply.headers["ratelimit-policy"] == '"concurrency_limit";q=1'
    assert int(reply.headers["retry-after"]) > 0
    usage = door.client.get("/v1/usage", headers=headers).json()
    assert (usage["tenant"], usage["queued"], usage["limits"]["max_queued"]) == ("acme", 1, 1)


def test_new_videos_a_minute_are_bounded(door: Door) -> None:
    """The allowance of new videos is the tenant's, whichever of its keys asks."""
    first, second = door.key(), door.key()
    door.keys.set_limits("acme", {"creates_per_minute": 1}, actor=OPERATOR)
    assert door.create(first).status_code == 202

    reply = door.create(second)

    assert (reply.status_code, reply.json()["code"]) == (429, "rate_limited")
    assert reply.headers["ratelimit-policy"] == '"rate_limited";q=1;w=60'


def test_repeated_request_makes_one_video(door: Door) -> None:
    """The same form under the same Idempotency-Key is one video, also when the queue is full; another form is 422."""
    headers = {**door.key(), "Idempotency-Key": "order 7"}
    door.keys.set_limits("acme", {"max_queued": 1}, actor=OPERATOR)
    first = door.create(headers, seed="1")

    again = door.create(headers, seed="1")
    other = door.create(headers, seed="2")

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_high_priority_needs_its_scope(door: Door) -> None:
    """Low and normal are anyone's; high is for keys that were given it."""
    usual, special = door.key(), door.key("acme", *USUAL_SCOPES, Scope.VIDEOS_PRIORITY)

    assert door.create(usual, priority="low").json()["priority"] == "low"
    assert door.create(usual, priority="high").json()["code"] == "insufficient_scope"
    high = door.create(special, priority="high").json()
    assert (high["priority"], high["queue_position"]) == ("high", 1)
    assert door.create(special, priority="urgent").status_code == 422


def test_retry_without_the_scope_is_not_of_high_priority(door: Door) -> None:
    """Nobody gets by repeating a video what could not be asked for with it."""
    special, usual = door.key("acme", *USUAL_SCOPES, Scope.VIDEOS_PRIORITY), door.key()
    for headers, asked, got in ((usual, "high", "normal"), (usual, "low", "low"), (special, "high", "high")):
        video = door.create(special, priority=asked).json()
        door.client.post(f"/v1/videos/{video['id']}/cancel", headers=usual)
        again = door.client.post(f"/v1/videos/{video['id']}/retry", headers=headers)
        assert (again.status_code, again.json()["priority"]) == (202, got)


def test_loopback_is_open_until_the_first_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys the quick start works as it is, any bearer token included; the first key closes the door."""
    with opened(tmp_path) as door:
        assert door.create({"Authorization": "Bearer none"}).status_code == 202
        assert door.client.get("/v1/admin/workers").status_code == 200
        door.key("default")
        monkeypatch.setattr("service.access.gate.time.monotonic", lambda: 1e9)

        assert door.client.get("/v1/videos").status_code == 401
        for key in door.keys.all_keys():
            door.keys.revoke(key.id, actor=OPERATOR)
        assert door.client.get("/v1/videos").status_code == 401


def test_page_with_a_rebound_name_is_no_operator(tmp_path: Path) -> None:
    """On an open server operators' pages are only for those who call it by its own name."""
    with opened(tmp_path) as door:
        assert door.client.get("/v1/admin/keys", headers={"Host": "evil.example"}).status_code == 403
        assert door.client.get("/v1/admin/keys", headers={"Host": "localhost:8000"}).status_code == 200


def test_public_address_is_never_open(tmp_path: Path) -> None:
    """Even where no key was made yet."""
    with opened(tmp_path, host="0.0.0.0") as door:  # noqa: S104
        assert door.client.get("/v1/videos").status_code == 401
        assert door.client.get("/livez").status_code == 200


def test_gateway_mode_trusts_its_gateway_but_not_as_operator(tmp_path: Path) -> None:
    """Behind a gateway its callers need no key of ours, our keys still work, and operators need one."""
    with opened(tmp_path, auth="gateway", host="0.0.0.0") as door:  # noqa: S104
        foreign = {"Authorization": "Bearer the-gateways-own"}
        assert door.client.get("/v1/videos", headers=foreign).status_code == 200
        assert door.client.get("/v1/admin/audit", headers=foreign).status_code == 403
        assert door.client.get("/v1/admin/audit", headers=door.key("default", Scope.ADMIN)).status_code == 200
        wrong = {"Authorization": "Bearer kv_live_" + "a" * 8 + "_" + "a" * 52}
        assert door.client.get("/v1/videos", headers=wrong).status_code == 401


def test_every_answer_carries_security_headers(door: Door) -> None:
    """Data, errors, pages and refusals alike tell browsers to trust nothing."""
    headers = door.key()
    replies = [
        door.client.get("/v1/videos", headers=headers),
        door.client.get("/v1/videos"),
        door.client.get("/v1/nothing", headers=headers),
        door.client.post("/v1/videos", headers={"Sec-Fetch-Site": "cross-site"}),
        door.client.get("/livez"),
        door.client.get("/"),
        door.client.get("/docs"),
    ]
    for reply in replies:
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert "access-control-allow-origin" not in reply.headers
    assert replies[0].headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in replies[0].headers
    secure = door.client.get("https://127.0.0.1/livez")
    assert secure.headers["strict-transport-security"].startswith("max-age=")


def test_error_of_ours_carries_security_headers_too(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last resort is an answer like any other."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("workers.job_store.JobStore.usage", broken)

    reply = door.client.get("/v1/usage", headers=door.key())

    assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert reply.headers["x-frame-options"] == "DENY"


def test_other_origins_are_shut_out(door: Door) -> None:
    """A preflight of another origin gets no permission."""
    asked = {"Origin": "https://other.example", "Access-Control-Request-Method": "GET"}

    reply = door.client.options("/v1/videos", headers=asked)

    assert reply.status_code == 405
    assert not [name for name in reply.headers if name.startswith("access-control-")]


def test_named_origin_is_let_in(tmp_path: Path) -> None:
    """Pages of an origin that the operator names may use the API, keys included; others still may not."""
    with opened(tmp_path, auth="required", cors_origins="https://app.example, https://b.example") as door:
        headers = door.key()
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        named = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
        other = {"Origin": "https://other.example", "Sec-Fetch-Site": "cross-site"}
        preflight = door.client.options("/v1/videos", headers={**named, **asked})
        refused = door.client.options("/v1/videos", headers={**other, **asked})
        posted = door.create({**headers, **named})
        forged = door.create({**headers, **other})

    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in preflight.headers
    assert "access-control-allow-origin" not in refused.headers
    assert posted.status_code == 202
    assert posted.headers["access-control-allow-origin"] == "https://app.example"
    assert posted.headers["cross-origin-resource-policy"] == "cross-origin"
    assert (forged.status_code, forged.json()["code"]) == (403, "cross_site_request")


@pytest.mark.parametrize("origin", ["*", "https://a.example/", "a.example", "ftp://a.example"])
def test_origin_that_is_none_stops_the_start(origin: str, tmp_path: Path) -> None:
    """A wildcard or a half-written origin is a mistake that is told."""
    with pytest.raises(ValueError, match="origins such as"):
        ServiceSettings(data_dir=tmp_path, cors_origins=origin)


def test_database_outage_is_503_not_401(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """While keys cannot be looked up nobody is told that theirs is wrong."""
    from workers.errors import StoreUnavailable

    def down(*_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr("workers.key_store.KeyStore.verify", down)

    reply = door.client.get("/v1/videos", headers=door.key())

    assert reply.status_code == 503
    assert reply.headers["retry-after"]
