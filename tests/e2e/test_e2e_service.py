"""The user's path with nothing replaced: `keyvid serve` with the shipped model, spoken to over HTTP."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from examples.demo import EXAMPLES, post_video, running_service
from tests.process_tree import children_running
from tests.servers import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

JOB_TIMEOUT_S = 120.0
FRAMES, FPS = 48, 24


@dataclass(frozen=True)
class Service:
    """A running service: its supervisor, a client of its API, and its data folder."""

    supervisor: subprocess.Popen[str]
    client: httpx.Client
    folder: Path

    def child(self, command: str) -> psutil.Process:
        """The supervised process that runs `keyvid COMMAND`."""
        return children_running(self.supervisor.pid, f"keyvid {command}")[0]

    def get(self, video_id: str) -> dict[str, Any]:
        """The Video object."""
        return self.client.get(f"/v1/videos/{video_id}").raise_for_status().json()

    def wait(self, video_id: str, *statuses: str) -> dict[str, Any]:
        """The Video object once it has one of the statuses; by default once it is completed."""
        wanted = statuses or ("completed",)
        wait_until(lambda: self.get(video_id)["status"] in wanted, timeout_s=JOB_TIMEOUT_S, what=f"status {wanted}")
        return self.get(video_id)

    def frames(self, video_id: str) -> np.ndarray:
        """The decoded frames of a completed video, uint8 [T, H, W, 3]."""
        content = self.client.get(f"/v1/videos/{video_id}/content").raise_for_status().content
        with av.open(BytesIO(content)) as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def localize(service: Service) -> httpx.Response:
    """Ask what is heard in the hammer example."""
    sound = (EXAMPLES / "hammer.wav").read_bytes()
    return service.client.post("/v1/localizations", files={"audio": ("hammer.wav", sound)})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests of this module."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder) as running, httpx.Client(base_url=running.url, timeout=30) as client:
        yield Service(running.process, client, folder)


@pytest.fixture(scope="module")
def finished(service: Service) -> dict[str, Any]:
    """The Video object of the hammer example, completed."""
    return service.wait(post_video(service.client, "hammer")["id"])


def test_video_is_a_playable_mp4_of_exactly_two_seconds(service: Service, finished: dict[str, Any]) -> None:
    """Players find H.264 in yuv420p and AAC, index first, 48 frames from time 0 and as much sound."""
    content = service.client.get(finished["links"]["content"]).raise_for_status().content
    with av.open(BytesIO(content)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        times = [frame.time for frame in container.decode(video=0)]
        names = (video.codec_context.name, video.codec_context.pix_fmt, audio.codec_context.name)

    assert names == ("h264", "yuv420p", "aac")
    assert content.index(b"moov") < content.index(b"mdat")
    assert times == pytest.approx([frame / FPS for frame in range(FRAMES)], abs=1e-4)
    assert abs(float(audio.duration * audio.time_base) - FRAMES / FPS) < 1 / FPS


def test_spritesheet_has_the_keyframes_of_the_video(service: Service, finished: dict[str, Any]) -> None:
    """Each of its twelve tiles is the frame of the plan at half its size."""
    content = service.client.get(f"{finished['links']['content']}?variant=spritesheet").raise_for_status().content
    sheet = np.asarray(Image.open(BytesIO(content)), np.float32)
    frames = service.frames(finished["id"])[finished["keyframes"]["indices"]].astype(np.float32)
    halves = frames.reshape(12, 160, 2, 256, 2, 3).mean(axis=(2, 4))
    tiles = sheet.reshape(3, 160, 4, 256, 3).swapaxes(1, 2).reshape(12, 160, 256, 3)

    assert np.abs(tiles - halves).mean(axis=(1, 2, 3)).max() < 4


def test_picture_moves_when_the_hammer_hits(service: Service, finished: dict[str, Any]) -> None:
    """The largest change between frames near each blow is well above that of the still moments between."""
    events = json.loads((EXAMPLES / "hammer.json").read_text())["event_times_s"]
    frames = service.frames(finished["id"]).astype(np.int16)
    energy = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))

    for event_s in events:
        blow = round(event_s * FPS)
        assert energy[max(blow - 3, 0) : blow + 3].max() > 2 * np.median(energy)


def test_same_request_gives_the_same_frames(service: Service, finished: dict[str, Any]) -> None:
    """A seed decides every frame."""
    again = service.wait(post_video(service.client, "hammer")["id"])

    assert again["seed"] == finished["seed"]
    assert np.array_equal(service.frames(again["id"]), service.frames(finished["id"]))


def test_listening_first_tells_the_plan_that_the_video_has(service: Service, finished: dict[str, Any]) -> None:
    """The localization of a sound has the keyframes of the video that is made from it, also while another is made."""
    files = {"input_reference": (EXAMPLES / "hammer.png").read_bytes(), "audio": (EXAMPLES / "hammer.wav").read_bytes()}
    fields = {"prompt": "hammering", "preview": "true", "num_inference_steps": "60"}
    busy = service.client.post("/v1/videos", data=fields, files=files).raise_for_status().json()
    preview = f"/v1/videos/{busy['id']}/content?variant=preview"
    wait_until(lambda: service.client.get(preview).status_code == 200, timeout_s=JOB_TIMEOUT_S, what="a preview")

    heard = localize(service)

    assert service.get(busy["id"])["status"] == "in_progress"
    assert heard.json()["keyframes"]["indices"] == finished["keyframes"]["indices"]
    assert heard.json()["source"] == finished["keyframes"]["source"]
    assert Image.open(BytesIO(service.client.get(preview).content)).size == (256, 160)
    service.client.delete(f"/v1/videos/{busy['id']}")


def test_listener_that_dies_is_started_again_and_costs_no_video(service: Service) -> None:
    """Localizations are 503 with Retry-After until it is back; a video that is being made goes on."""
    video = post_video(service.client, "hammer")
    wait_until(lambda: localize(service).status_code == 200, what="the listener")
    service.child("listener").kill()

    wait_until(lambda: localize(service).status_code == 503, what="the listener's death")
    assert int(localize(service).headers.get("Retry-After", 1)) > 0
    wait_until(lambda: localize(service).status_code == 200, timeout_s=60, what="the listener's return")
    assert service.wait(video["id"])["attempt"] == 1


def test_worker_killed_in_mid_job_loses_nothing(service: Service, finished: dict[str, Any]) -> None:
    """The job is taken up again and gives the video of an uninterrupted run."""
    video = post_video(service.client, "hammer")
    service.wait(video["id"], "in_progress", "completed")
    service.child("worker").send_signal(signal.SIGKILL)

    resumed = service.wait(video["id"])

    assert resumed["attempt"] == 2
    assert np.array_equal(service.frames(video["id"]), service.frames(finished["id"]))


def test_cancel_stops_a_running_job_and_the_next_one_runs(service: Service) -> None:
    """`cancelled` means that the runner is free again."""
    video = post_video(service.client, "dog")
    service.wait(video["id"], "in_progress")
    service.client.post(f"/v1/videos/{video['id']}/cancel").raise_for_status()

    assert service.wait(video["id"], "cancelled", "completed")["status"] == "cancelled"
    assert service.wait(post_video(service.client, "violin")["id"])["progress"] == 100


def test_events_tell_the_story_without_a_gap(service: Service, finished: dict[str, Any]) -> None:
    """A reader from the start gets every sequence number once, through all stages, to the end."""
    with service.client.stream("GET", finished["links"]["events"], headers={"Last-Event-ID": "0"}) as reply:
        lines = list(reply.iter_lines())
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    numbers = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]

    assert names[0] == "video.snapshot"
    assert names[-1] == "video.completed"
    assert numbers[1:] == list(range(1, finished["seq"] + 1))


def test_api_process_is_small_and_has_no_torch(service: Service, finished: dict[str, Any]) -> None:
    """After real work the API stays under 250 MB and has not mapped a library of torch."""
    assert finished["status"] == "completed"
    api = service.child("api")
    mapped = Path(f"/proc/{api.pid}/maps").read_text()

    assert api.memory_info().rss < 250e6
    assert "libtorch" not in mapped


def test_everything_is_written_under_the_data_folder(service: Service, finished: dict[str, Any]) -> None:
    """No process of the service holds a file open for writing elsewhere."""
    assert finished["status"] == "completed"
    elsewhere = [
        file.path
        for process in psutil.Process(service.supervisor.pid).children(recursive=True)
        for file in process.open_files()
        if file.mode not in ("r", "rb") and not file.path.startswith(str(service.folder))
    ]

    assert elsewhere == []


def test_supervisor_killed_outright_takes_its_children_along(tmp_path: Path) -> None:
    """Nothing keeps running, and a service started again on the same folder finishes the job."""
    with running_service(tmp_path) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        family = psutil.Process(service.process.pid).children(recursive=True)
        video_id = post_video(client, "dog")["id"]
        os.kill(service.process.pid, signal.SIGKILL)
        wait_until(lambda: not any(process.is_running() for process in family), what="end of all children")

    with running_service(tmp_path) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        wait_until(
            lambda: client.get(f"/v1/videos/{video_id}").json()["status"] == "completed", timeout_s=JOB_TIMEOUT_S
        )
        video = client.get(f"/v1/videos/{video_id}").json()

    assert video["progress"] == 100


def test_demo_leaves_a_video_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `make demo` runs ends with demo.mp4 and demo.png, and says how long it took."""
    from examples import demo

    monkeypatch.setattr("sys.argv", ["demo", "--output", str(tmp_path / "demo.mp4")])
    began = time.monotonic()
    demo.main()

    assert (tmp_path / "demo.mp4").stat().st_size > 10_000
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert time.monotonic() - began < JOB_TIMEOUT_S
