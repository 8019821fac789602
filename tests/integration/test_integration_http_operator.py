"""What an operator does over HTTP: keys, limits, workers, dead jobs and quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.access import Scope
from workers.jobs import Failure
from workers.roster import Roster, WorkerRecord, WorkerState

if TYPE_CHECKING:
    from access_door import Door


def test_operator_handles_keys_over_http(door: Door) -> None:
    """Make, use, rotate and revoke a key; the list has no secrets, and the log says who did it."""
    admin = door.key("default", Scope.ADMIN)
    fields = {"tenant": "acme", "name": "site", "expires_in_seconds": 3600}
    made = door.client.post("/v1/admin/keys", json=fields, headers=admin)
    secret = made.json()["secret"]
    use = {"Authorization": f"Bearer {secret}"}
    assert (made.status_code, door.client.get("/v1/videos", headers=use).status_code) == (201, 200)

    rotated = door.client.post(f"/v1/admin/keys/{made.json()['id']}/rotate", json={}, headers=admin).json()
    again = door.client.post(f"/v1/admin/keys/{made.json()['id']}/rotate", json={}, headers=admin)
    assert again.json()["detail"] == "This key has ended or was replaced before."
    gone = door.client.delete(f"/v1/admin/keys/{rotated['id']}", headers=admin).json()

    listed = door.client.get("/v1/admin/keys", headers=admin)
    log = door.client.get("/v1/admin/audit", headers=admin).json()["data"]
    assert again.status_code == 409
    assert gone["revoked_at"] is not None
    assert secret not in listed.text
    assert [key["id"] for key in listed.json()["data"] if key["tenant"] == "acme"] == [made.json()["id"], rotated["id"]]
    deeds = [(entry["action"], entry["target"]) for entry in log[:3]]
    assert deeds == [
        ("key.revoke", rotated["id"]),
        ("key.rotate", made.json()["id"]),
        ("key.create", made.json()["id"]),
    ]
    assert log[0]["actor"].startswith("key_")
    assert log[0]["request_id"]


def test_operator_sets_a_tenants_limits(door: Door) -> None:
    """Named limits change, null goes back to the default; a wrong name, and more than a database holds, are refused."""
    admin = door.key("default", Scope.ADMIN)
    put = {"max_running": 5, "weight": 2.5}
    changed = door.client.put("/v1/admin/tenants/acme", json=put, headers=admin).json()
    back = door.client.put("/v1/admin/tenants/acme", json={"max_running": None}, headers=admin).json()

    assert (changed["max_running"], changed["weight"]) == (5, 2.5)
    assert (back["max_running"], back["weight"]) == (2, 2.5)
    for path, body in (
        ("/v1/admin/tenants/-", {}),
        ("/v1/admin/tenants/acme", {"max_runing": 1}),
        ("/v1/admin/tenants/acme", {"creates_per_minute": 10**27}),
    ):
        assert door.client.put(path, json=body, headers=admin).status_code == 422


def test_operator_drains_a_worker(door: Door) -> None:
    """The request reaches the worker with its next beat, and is taken back by resume."""
    admin = door.key("default", Scope.ADMIN)
    roster = Roster(door.store.database)
    record = WorkerRecord("gpu-1", "host", 7, WorkerState.READY)
    assert roster.beat(record) is False

    drained = door.client.post("/v1/admin/workers/gpu-1/drain", headers=admin).json()

    assert drained["data"][0]["drain_requested_at"] is not None
    assert roster.beat(record) is True
    door.client.post("/v1/admin/workers/gpu-1/resume", headers=admin)
    assert roster.beat(record) is False
    assert door.client.post("/v1/admin/workers/none/drain", headers=admin).status_code == 404


def test_operator_sees_dead_jobs_and_quarantines_their_input(door: Door) -> None:
    """A failed video of any tenant is listed with its inputs; a quarantined file is refused until released."""
    admin, user = door.key("default", Scope.ADMIN), door.key("acme")
    video = door.create(user).json()
    claimed = door.store.claim("w", model="keyvid-mini", lease_s=30.0)
    assert claimed is not None
    door.store.fail(claimed[1], Failure("poison_input", "It ended every worker."))

    (dead,) = door.client.get("/v1/admin/jobs/dead", headers=admin).json()["data"]
    body = {"digest": dead["audio_sha256"], "reason": "ends decoders"}
    added = door.client.post("/v1/admin/quarantine", json=body, headers=admin)
    refused = door.create(user)

    assert (dead["id"], dead["tenant"], dead["code"]) == (video["id"], "acme", "poison_input")
    assert added.status_code == 201
    assert (refused.status_code, refused.json()["code"]) == (422, "poison_input")
    assert door.client.delete(f"/v1/admin/quarantine/{body['digest']}", headers=admin).status_code == 200
    assert door.create(user).status_code == 202
    assert door.client.delete(f"/v1/admin/quarantine/{body['digest']}", headers=admin).status_code == 404
