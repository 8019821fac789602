"""Hostile inputs 19 to 21: guessing, replaying and racing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
from hostile_caller import GOOD

if TYPE_CHECKING:
    from hostile_caller import Attacker

TERMINAL = ("video.completed", "video.failed", "video.cancelled")


def test_19_guessed_ids(attacker: Attacker) -> None:
    """Whatever is asked of an id that is not one's own, the answer is the same 404."""
    video = attacker.create().json()["id"]
    wrong = (video[:-1] + ("0" if video[-1] != "0" else "1"), "video_1", "x" * 300, "..%2f..%2fetc", "%00")
    for video_id in wrong:
        for method, rest in (
            *(("GET", rest) for rest in ("", "/content", "/content-url", "/events")),
            *(("POST", rest) for rest in ("/cancel", "/retry", "/event-tickets")),
            ("DELETE", ""),
        ):
            attacker.refused(attacker.request(method, f"/v1/videos/{video_id}{rest}"), 404, "not_found")
    attacker.request("DELETE", f"/v1/videos/{video}")
    headers = {"Range": "bytes=0-9"}
    attacker.refused(attacker.request("GET", f"/v1/videos/{video}/content", headers=headers), 404, "not_found")
    for path in ("/v1/files/file_1", "/v1/uploads/upload_1/complete", "/v1/webhook-deliveries/x/redeliver"):
        method = "GET" if "files" in path else "POST"
        attacker.refused(attacker.request(method, path), 404, "not_found")


def test_20_replays(attacker: Attacker) -> None:
    """Twenty requests at once under one Idempotency-Key make one video; another request under it is refused."""

    def create(_: int) -> httpx.Response:
        return httpx.post(
            f"{attacker.api.url}/v1/videos",
            files=[("prompt", (None, "p")), *parts],
            headers={"Idempotency-Key": "replayed"},
            timeout=90,
        )

    parts = [(name, ("f", data)) for name, data in GOOD.items() if isinstance(data, bytes)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(create, range(20)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = attacker.request(
        "POST", "/v1/videos", files=[("prompt", (None, "q")), *parts], headers={"Idempotency-Key": "replayed"}
    )
    attacker.refused(other, 422, "idempotency_key_reused")


def test_21_storms_on_one_video(attacker: Attacker) -> None:
    """However many cancel, retry and delete one video at once, it ends once and its events say so once."""
    video = attacker.create().json()["id"]
    path = f"/v1/videos/{video}"

    def act(number: int) -> int:
        method, rest = (("POST", "/cancel"), ("POST", "/retry"), ("GET", ""))[number % 3]
        return httpx.request(method, f"{attacker.api.url}{path}{rest}", timeout=60).status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = set(pool.map(act, range(30)))

    assert statuses <= {200, 202, 409}
    events = attacker.request("GET", f"{path}/events", headers={"Last-Event-ID": "0"}).text
    names = [line.removeprefix("event: ") for line in events.splitlines() if line.startswith("event: ")]
    assert sum(name in TERMINAL for name in names) <= 1
    shown = attacker.request("GET", path).json()
    assert shown["status"] == "cancelled"
    listed = attacker.request("GET", "/v1/videos", params={"limit": 100}).json()["data"]
    again = [item for item in listed if json.dumps(item).count(video) and item["id"] != video]
    assert len(again) <= 1
    with ThreadPoolExecutor(5) as pool:
        deletes = list(pool.map(lambda _: httpx.delete(f"{attacker.api.url}{path}", timeout=60).status_code, range(10)))
    assert sorted(set(deletes)) in ([200, 404], [200])
