"""What callers, operators and the machine do so that each transaction of the queue side is opened."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import update

from benchmarks.faults.callers import CANCELLED, COMPLETED, FAILED, send_inputs
from service.access.guard import COOKIE, SESSION_HEADER
from service.readiness import FRESH_S
from tests import uploads
from workers.failpoints import Failpoint
from workers.roster import Roster
from workers.tables import FileRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.faults.callers import Caller, Inputs
    from benchmarks.faults.fleet import Fleet

WORKER = "worker-0"
NOT_FOUND, CONFLICT, UNAUTHORIZED, GONE = 404, 409, 401, 410  # answers to a request that had been done already
SHORT_S = 1
BEAT_S = 30.0


@dataclass
class Stage:
    """An installation to play on, and a caller with every right."""

    fleet: Fleet
    caller: Caller
    inputs: Inputs
    hook_url: str
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def create(self, script: str, *may_end: str, codes: tuple[str, ...] = (), **fields: str) -> str:
        """Ask for a video from the kept inputs, under a key of its own."""
        key = f"scenario-{next(self.numbers)}"
        video_id = self.caller.create(script, inputs=self.inputs, key=key, **fields)
        self.caller.ledger.accept(video_id, *may_end, codes=codes)
        return video_id


def make_video(stage: Stage) -> None:
    """Send a picture and a sound in one form, and wait for the video."""
    number = next(stage.numbers)
    files = {
        "input_reference": ("a.jpg", uploads.jpeg(200 + number, 48)),
        "audio": ("b.wav", uploads.wav(1.0)),
    }
    headers = {"Idempotency-Key": f"scenario-{number}"}
    form = {"prompt": "step_ms=60"}
    video = stage.caller.ask("POST", "/v1/videos", data=form, files=files, headers=headers).json()
    stage.caller.ledger.accept(video["id"], COMPLETED)
    stage.caller.wait_until(video["id"])


def copy_video(stage: Stage) -> None:
    """Ask twice for the same, the second time for what was made before."""
    seed = str(next(stage.numbers))
    stage.caller.wait_until(stage.create("step_ms=1", COMPLETED, seed=seed))
    stage.create("step_ms=1", COMPLETED, seed=seed, cache="use")


def cancel_running(stage: Stage) -> None:
    """Cancel a video in the middle of a stage."""
    video_id = stage.create("step_ms=200", CANCELLED, COMPLETED)
    stage.caller.wait_until(video_id, "in_progress")
    stage.caller.ask("POST", f"/v1/videos/{video_id}/cancel")


def fail(stage: Stage) -> None:
    """Ask for a video of inputs that the model refuses."""
    inputs = send_inputs(stage.caller, number=next(stage.numbers))  # twice the same pair would be put in quarantine
    video_id = stage.caller.create("bad_input step_ms=1", inputs=inputs, key=f"scenario-{next(stage.numbers)}")
    stage.caller.ledger.accept(video_id, FAILED, codes=("poison_input",))


def fail_attempts(stage: Stage) -> None:
    """Ask for a video whose every attempt ends its runner's memory."""
    stage.create("memory_error step_ms=1", FAILED, codes=("out_of_memory", "worker_crashed"))


def drain_worker(stage: Stage) -> None:
    """Tell the worker to end while it works; another one goes on."""
    video_id = stage.create("step_ms=200", COMPLETED)
    stage.caller.wait_until(video_id, "in_progress")
    stage.fleet.signal(WORKER, signal.SIGTERM)


def kill_worker(stage: Stage) -> None:
    """Kill the worker while it works, so that a lease runs out."""
    video_id = stage.create("step_ms=200", COMPLETED)
    stage.caller.wait_until(video_id, "in_progress")
    stage.fleet.signal(WORKER, signal.SIGKILL)


def make_again(stage: Stage) -> None:
    """Cancel a video and ask for it once more."""
    video_id = stage.create("step_ms=200", CANCELLED, COMPLETED)
    stage.caller.ask("POST", f"/v1/videos/{video_id}/cancel")
    if stage.caller.wait_until(video_id)["status"] == CANCELLED:
        again = stage.caller.ask("POST", f"/v1/videos/{video_id}/retry").json()
        stage.caller.ledger.accept(again["id"], COMPLETED)


def delete_video(stage: Stage) -> None:
    """Delete a finished video."""
    video_id = stage.create("step_ms=1", COMPLETED)
    stage.caller.wait_until(video_id)
    stage.caller.ledger.delete(video_id)
    stage.caller.ask("DELETE", f"/v1/videos/{video_id}", expected=(NOT_FOUND,))


def miss_deadline(stage: Stage) -> None:
    """Let a video wait for longer than it may."""
    first = stage.create("step_ms=300", COMPLETED)
    stage.caller.wait_until(first, "in_progress")
    stage.create(
        "step_ms=1", FAILED, COMPLETED, codes=("deadline_exceeded",), deadline_seconds=str(SHORT_S), priority="low"
    )


def ask_readiness(stage: Stage) -> None:
    """Ask whether the API is ready, once what it last found is no answer any more."""
    time.sleep(FRESH_S)
    stage.caller.ask("GET", "/readyz")


def delete_file(stage: Stage) -> None:
    """Send a file and delete it."""
    file_id = stage.caller.send_file(uploads.jpeg(32, 32), "image")
    stage.caller.ask("DELETE", f"/v1/files/{file_id}", expected=(NOT_FOUND,))


def expire_file(stage: Stage) -> None:
    """Send a file whose last day was long ago."""
    file_id = stage.caller.send_file(uploads.jpeg(32, 32), "image")
    with stage.fleet.database.write() as transaction:
        old = update(FileRow).where(FileRow.id == file_id).values(expires_at=transaction.now - 3600)
        transaction.session.execute(old)


def restart_reconciler(stage: Stage) -> None:
    """Restart the reconciler, which sweeps when it starts."""
    stage.fleet.signal("reconciler", signal.SIGTERM)


def restart_dispatcher(stage: Stage) -> None:
    """Restart the dispatcher, which sweeps when it starts."""
    stage.fleet.signal("dispatcher", signal.SIGTERM)


def manage_webhooks(stage: Stage) -> None:
    """Do everything with an endpoint that can be done."""
    caller = stage.caller
    url = f"{stage.hook_url}&scenario={next(stage.numbers)}"
    fields = {"url": url, "events": ["video.failed"]}
    endpoint_id = caller.ask("POST", "/v1/webhook-endpoints", json=fields).json()["id"]
    place = f"/v1/webhook-endpoints/{endpoint_id}"
    caller.ask("PATCH", place, json={"description": "changed"})
    caller.ask("POST", f"{place}/rotate-secret")
    delivery = caller.ask("POST", f"{place}/test").json()
    caller.ask("POST", f"/v1/webhook-deliveries/{delivery['id']}/redeliver")
    caller.ask("DELETE", place, expected=(NOT_FOUND,))
    for endpoint in caller.ask("GET", "/v1/webhook-endpoints").json()["data"]:
        if "scenario=" in endpoint["url"]:  # made by a request that was repeated
            caller.ask("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}", expected=(NOT_FOUND,))


def follow_with_ticket(stage: Stage) -> None:
    """Make a ticket for a video's events and use it."""
    video_id = stage.create("step_ms=1", COMPLETED)
    stage.caller.wait_until(video_id)
    ticket = stage.caller.ask("POST", f"/v1/videos/{video_id}/event-tickets").json()
    stage.caller.ask("GET", ticket["url"], expected=(UNAUTHORIZED,))


def quarantine(stage: Stage) -> None:
    """Refuse an input and accept it again."""
    digest = os.urandom(32).hex()
    stage.caller.ask("POST", "/v1/admin/quarantine", json={"digest": digest, "reason": "a test"})
    stage.caller.ask("DELETE", f"/v1/admin/quarantine/{digest}", expected=(NOT_FOUND,))


def manage_keys(stage: Stage) -> None:
    """Make a key, use it, replace it, and end it; limit its tenant."""
    caller = stage.caller
    made = caller.ask("POST", "/v1/admin/keys", json={"name": "scenario", "tenant": "other"}).json()
    caller.ask("GET", "/v1/usage", headers={"Authorization": f"Bearer {made['secret']}"})
    caller.ask("POST", f"/v1/admin/keys/{made['id']}/rotate", json={}, expected=(CONFLICT,))
    caller.ask("DELETE", f"/v1/admin/keys/{made['id']}")
    caller.ask("PUT", "/v1/admin/tenants/other", json={"max_running": 3})


def upload_to_storage(stage: Stage) -> None:
    """Announce a picture, send it straight to storage, and complete it."""
    content = uploads.jpeg(300 + next(stage.numbers), 32)
    about = {"purpose": "image", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "filename": "a"}
    upload = stage.caller.ask("POST", "/v1/uploads", json=about).json()
    stage.caller.ask(upload["method"], upload["upload_url"], content=content, headers=upload["headers"])
    stage.caller.ask("POST", f"/v1/uploads/{upload['id']}/complete")


def sign_in(stage: Stage) -> None:
    """Sign a browser in and out."""
    caller = stage.caller
    secret = caller.ask("POST", "/v1/session").cookies[COOKIE]
    caller.forget_cookies()
    headers = {SESSION_HEADER: "1", "Cookie": f"{COOKIE}={secret}"}
    caller.ask("DELETE", "/v1/session", headers=headers, expected=(UNAUTHORIZED,))


def share_video(stage: Stage) -> None:
    """Make a link to a finished video, and end it."""
    video_id = stage.create("step_ms=1", COMPLETED)
    stage.caller.wait_until(video_id)
    place = f"/v1/videos/{video_id}/share-links"
    link = stage.caller.ask("POST", place, json={}).json()
    stage.caller.ask("DELETE", f"{place}/{link['id']}", expected=(NOT_FOUND,))


def preview_video(stage: Stage) -> None:
    """Ask for a video whose previews are told of."""
    stage.create("step_ms=200", COMPLETED, preview="true")


def pause_worker(stage: Stage) -> None:
    """Ask the worker to take no more jobs, and to take jobs again."""
    for record in Roster(stage.fleet.database).workers(within_s=BEAT_S):
        for wish in ("drain", "resume"):
            stage.caller.ask("POST", f"/v1/admin/workers/{record.id}/{wish}", expected=(NOT_FOUND,))


TRANSACTIONS: Mapping[str, Callable[[Stage], None]] = {
    "BrowserSessions.close": sign_in,
    "BrowserSessions.open": sign_in,
    "DueDeliveries.forget_settled": restart_dispatcher,
    "DueDeliveries.settle": make_video,
    "DueDeliveries.take": make_video,
    "EventTickets.issue": follow_with_ticket,
    "EventTickets.redeem": follow_with_ticket,
    "FileStore.add_file": delete_file,
    "FileStore.delete_file": delete_file,
    "JobLeases.cancelled": cancel_running,
    "JobLeases.claim": make_video,
    "JobLeases.complete": make_video,
    "JobLeases.fail": fail,
    "JobLeases.note_preview": preview_video,
    "JobLeases.release": drain_worker,
    "JobLeases.renew": make_video,
    "JobLeases.report": make_video,
    "JobLeases.retry": fail_attempts,
    "JobLeases.save_checkpoint": make_video,
    "JobStore.create": make_video,
    "JobStore.create_again": make_again,
    "JobStore.delete": delete_video,
    "JobStore.ping": ask_readiness,
    "JobStore.request_cancel": cancel_running,
    "KeyStore._note_use": manage_keys,
    "KeyStore.create": manage_keys,
    "KeyStore.revoke": manage_keys,
    "KeyStore.rotate": manage_keys,
    "KeyStore.set_limits": manage_keys,
    "Quarantine.add": quarantine,
    "Quarantine.lift": quarantine,
    "Roster.ask_to_drain": pause_worker,
    "Roster.beat": make_video,
    "Roster.forget_silent": restart_reconciler,
    "Roster.lead": make_video,
    "Roster.leave": drain_worker,
    "ShareLinks.create": share_video,
    "ShareLinks.revoke": share_video,
    "Uploads.begin": upload_to_storage,
    "Uploads.complete": upload_to_storage,
    "Upkeep._drop_purged": restart_reconciler,
    "Upkeep._end_one_expired": kill_worker,
    "Upkeep._end_one_overdue": miss_deadline,
    "Upkeep.forget_expired": restart_reconciler,
    "Upkeep.note_file_purged": expire_file,
    "Upkeep.note_purged": delete_video,
    "WebhookStore.create": manage_webhooks,
    "WebhookStore.delete": manage_webhooks,
    "WebhookStore.redeliver": manage_webhooks,
    "WebhookStore.rotate_secret": manage_webhooks,
    "WebhookStore.send_test": manage_webhooks,
    "WebhookStore.update": manage_webhooks,
}
"""The scenario that gets each transaction opened, by the function that opens it."""

PLACES: Mapping[Failpoint, Callable[[Stage], None]] = {
    **dict.fromkeys(Failpoint, make_video),
    Failpoint.RESULT_COPIED: copy_video,
    Failpoint.BLOBS_PURGED: delete_video,
}
