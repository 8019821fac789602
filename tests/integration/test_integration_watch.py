"""What an operator sees of a running `keyvid serve`: one request in the logs, traces and metrics of all processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from tests import uploads
from tests.process_tree import children_running
from tests.receivers import Receiver, receiving
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psutil
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_S = 120.0  # generous: the machine may be busy
REQUEST_ID = "order-4711.a"
PROMPT = "step_ms=5 steps=4"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPANS = {"POST /v1/videos", "queue", "attempt", "localization", "keyframes", "interpolation", "mux", "webhook"}
pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Watched:
    """A running service, where its log goes, who gets its webhooks and traces, and a video that it has made."""

    process: subprocess.Popen[str]
    client: httpx.Client
    log: Path
    receiver: Receiver
    collector: Receiver
    video: dict[str, Any]

    def lines(self, **having: object) -> list[dict[str, Any]]:
        """Lines of the log so far that have these members."""
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in found if having.items() <= line.items()]

    def spans(self) -> dict[str, tuple[str, Span]]:
        """What the collector got of the video's trace: spans by name, each with its service."""
        found = {}
        for request in self.collector.received:
            message = ExportTraceServiceRequest.FromString(request.body)
            for resource in message.resource_spans:
                names = {item.key: item.value.string_value for item in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        if span.trace_id.hex() == self.video["trace_id"]:
                            found[span.name] = (names["service.name"], span)
        return found

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """A scrape."""
        families = text_string_to_metric_families(self.client.get("/metrics").raise_for_status().text)
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def sample(self, name: str, **labels: str) -> float:
        """One value, 0 where there is none."""
        return self.samples().get((name, frozenset(labels.items())), 0.0)

    def child(self, command: str) -> psutil.Process:
        """The supervised process that runs `keyvid COMMAND`."""
        return children_running(self.process.pid, f"keyvid {command}")[0]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A service that logs JSON, sends webhooks and traces here, and has made one video for a caller who traces.

    Its spans are here before any test begins: they come in batches, and one of the tests kills the worker.
    """
    folder = tmp_path_factory.mktemp("watched")
    with receiving() as receiver, receiving() as collector:
        address = urlsplit(collector.url)
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parent),
            "KEYVID_ENGINE": "paced_engine:load",
            "KEYVID_LOG_FORMAT": "json",
            "KEYVID_LEASE_RENEW_SECONDS": "0.5",
            "KEYVID_DISPATCH_SECONDS": "0.1",
            "KEYVID_WEBHOOK_PRIVATE_HOSTS": '["127.0.0.1"]',
            "KEYVID_OTLP_ENDPOINT": f"{address.scheme}://{address.netloc}/",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-team=video",
        }
        log = folder / "log"
        command = [sys.executable, "-m", "keyvid", "serve", "--port", "0", "--data-dir", str(folder / "data")]
        with log.open("w") as file:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=file, text=True)
        assert process.stdout is not None
        with process.stdout as said:
            try:
                url = next(word for line in said for word in line.split() if word.startswith("http://"))
                with httpx.Client(base_url=url, timeout=60) as client:
                    made = Watched(process, client, log, receiver, collector, _make_video(client, receiver))
                    wait_until(lambda: made.spans().keys() >= SPANS, timeout_s=WAIT_S, what="every span")
                    yield made
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def _make_video(client: httpx.Client, receiver: Receiver) -> dict[str, Any]:
    """Ask for a video as a caller with an id and a trace of its own, and wait until its receiver is told."""
    client.post("/v1/webhook-endpoints", json={"url": receiver.url, "events": ["video.completed"]}).raise_for_status()
    reply = client.post(
        "/v1/videos",
        data={"prompt": PROMPT},
        files={"input_reference": ("secret-name.jpg", uploads.jpeg()), "audio": ("b", uploads.wav())},
        headers={"X-Request-ID": REQUEST_ID, "traceparent": PARENT},
    )
    assert reply.status_code == 202, reply.text
    assert reply.headers["x-request-id"] == REQUEST_ID
    wait_until(lambda: bool(receiver.received), timeout_s=WAIT_S, what="a webhook")
    video: dict[str, Any] = client.get(f"/v1/videos/{reply.json()['id']}").json()
    return video


def test_one_request_is_followed_through_all_processes(watched: Watched) -> None:
    """The id that the caller sent is on the lines of the API, the worker, its runner and the dispatcher."""
    wait_until(lambda: bool(watched.lines(event="webhook_tried")), timeout_s=WAIT_S, what="the last line")

    lines = watched.lines(request_id=REQUEST_ID)

    events = {(line["process"], line["event"]) for line in lines}
    assert events >= {
        ("api", "video_accepted"),
        ("api", "request"),
        ("worker", "job_claimed"),
        ("worker", "job_ended"),
        ("runner", "job_taken"),
        ("dispatcher", "webhook_tried"),
    }
    about_job = [line for line in lines if line["event"] != "request"]
    assert {line["job_id"] for line in about_job} == {watched.video["id"]}
    assert {line["trace_id"] for line in lines} == {watched.video["trace_id"]}


def test_other_requests_have_ids_of_their_own(watched: Watched) -> None:
    """An id that could not stand in a log is replaced, and the answer says by which."""
    reply = watched.client.get("/v1/models", headers={"X-Request-ID": 'a" forged=1'})
    again = watched.client.get("/v1/models")

    ids = {reply.headers["x-request-id"], again.headers["x-request-id"]}
    assert len(ids) == 2
    assert all(len(request_id) == 32 for request_id in ids)
    assert "forged" not in watched.log.read_text()


def test_one_trace_holds_the_request_and_all_that_follows(watched: Watched) -> None:
    """Below the caller's own span: the request, the wait, the attempt with its stages, and the webhook."""
    spans = watched.spans()

    services = {name: service for name, (service, _) in spans.items()}
    assert watched.video["trace_id"] == PARENT.split("-")[1]
    assert spans.keys() == SPANS
    assert (services["POST /v1/videos"], services["attempt"], services["webhook"]) == (
        "keyvid-api",
        "keyvid-worker",
        "keyvid-dispatcher",
    )
    parents = {name: span.parent_span_id.hex() for name, (_, span) in spans.items()}
    ids = {name: span.span_id.hex() for name, (_, span) in spans.items()}
    assert parents["POST /v1/videos"] == PARENT.split("-")[2]
    assert {parents[name] for name in ("queue", "attempt", "webhook")} == {ids["POST /v1/videos"]}
    assert {parents[name] for name in ("localization", "keyframes", "interpolation", "mux")} == {ids["attempt"]}
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for _, span in spans.values())


def test_traces_hold_no_callers_text(watched: Watched) -> None:
    """Neither the prompt nor a file's name leaves with them, and the collector's own header does."""
    sent = watched.collector.received

    assert sent
    assert not any(text.encode() in request.body for request in sent for text in (PROMPT, "secret-name", "hook?x"))
    assert {request.headers.get("x-team") for request in sent} == {"video"}


def test_metrics_of_all_processes_are_told_in_one_place(watched: Watched) -> None:
    """The API's /metrics has what the worker, the reconciler and the dispatcher counted."""
    wait_until(
        lambda: watched.sample("keyvid_jobs", status="completed") >= 1, timeout_s=WAIT_S, what="the job in the metrics"
    )
    samples = watched.samples()

    def value(name: str, **labels: str) -> float:
        return samples.get((name, frozenset(labels.items())), 0.0)

    assert value("keyvid_http_request_seconds_count", method="POST", route="/v1/videos", status="202") == 1
    assert value("keyvid_job_wait_seconds_count") == 1
    assert value("keyvid_attempt_seconds_count", outcome="completed") == 1
    assert value("keyvid_steps_total", stage="keyframes") == 4
    assert value("keyvid_steps_total", stage="mux") == 48
    assert value("keyvid_stage_seconds_count", stage="mux") == 1
    assert value("keyvid_runner_memory_bytes") > 10e6
    assert value("keyvid_reconcile_seconds_count") > 0
    assert value("keyvid_webhook_try_seconds_count", outcome="delivered") == 1
    assert value("keyvid_workers", state="READY") + value("keyvid_workers", state="BUSY") == 1


def test_doctor_finds_the_deployment_well(watched: Watched) -> None:
    """From outside, over HTTP: every line is ok, and it ends with 0."""
    command = [sys.executable, "-m", "keyvid", "doctor", "--url", str(watched.client.base_url), "--json"]

    reply = subprocess.run(command, capture_output=True, text=True, check=False)

    assert {line["name"]: line for line in json.loads(reply.stdout)["lines"] if line["verdict"] != "ok"} == {}
    assert reply.returncode == 0


def test_counts_outlive_the_process_that_counted(watched: Watched) -> None:
    """A worker that is killed leaves what it counted, and takes along what it only held."""
    attempts = watched.sample("keyvid_attempt_seconds_count", outcome="completed")
    watched.child("worker").kill()

    wait_until(
        lambda: watched.sample("keyvid_runner_starts_total", outcome="ready") >= 2,
        timeout_s=WAIT_S,
        what="a new runner",
    )

    assert watched.sample("keyvid_attempt_seconds_count", outcome="completed") == attempts
    runner = max(child.memory_info().rss for child in watched.child("worker").children())
    assert watched.sample("keyvid_runner_memory_bytes") < 1.5 * runner
