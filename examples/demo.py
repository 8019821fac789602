"""The main job, the way a caller does it: start the service, post a picture and a sound, wait, save the video.

Run by `make demo`. Needs no network, no GPU and nothing but this repository; works in a temporary data folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES = Path(__file__).resolve().parent
POLL_S = 0.25

console = Console()


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: the process that supervises it, and its address."""

    process: subprocess.Popen[str]
    url: str


@contextmanager
def running_service(data_dir: Path, settings: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Run `keyvid serve` on a free port: yields once it takes jobs, and stops it at the end.

    `settings` are `KEYVID_*` variables for it.
    """
    command = [sys.executable, "-m", "keyvid", "serve", "--port", "0", "--data-dir", str(data_dir)]
    with (data_dir / "service.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **(settings or {})}
        )
    assert process.stdout is not None
    with process.stdout as said:
        try:
            url = next((word for line in said for word in line.split() if word.startswith("http://")), None)
            if url is None:
                raise SystemExit(f"The service did not start:\n{(data_dir / 'service.log').read_text()[-2000:]}")
            yield Service(process, url)
        finally:
            process.terminate()
            process.wait()


def post_video(client: httpx.Client, example: str, **fields: str) -> dict[str, Any]:
    """Post one example, with more fields if need be; returns the Video object."""
    about = json.loads((EXAMPLES / f"{example}.json").read_text())
    picture, sound = EXAMPLES / f"{example}.png", EXAMPLES / f"{example}.wav"
    reply = client.post(
        "/v1/videos",
        data={"prompt": about["prompt"], "seed": "7", **fields},
        files={"input_reference": (picture.name, picture.read_bytes()), "audio": (sound.name, sound.read_bytes())},
    )
    reply.raise_for_status()
    video: dict[str, Any] = reply.json()
    return video


def states(client: httpx.Client, video_id: str) -> Iterator[dict[str, Any]]:
    """Poll the Video object until it is completed or failed."""
    while True:
        video = client.get(f"/v1/videos/{video_id}").raise_for_status().json()
        yield video
        if video["status"] not in {"queued", "in_progress"}:
            return
        time.sleep(POLL_S)


def wait(client: httpx.Client, video_id: str) -> dict[str, Any]:
    """Show the progress of the video until it is done; returns the last Video object."""
    columns = (
        TextColumn("{task.description:>14}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("queued", total=100)
        for video in states(client, video_id):
            bar.update(task, completed=video["progress"], description=video["stage"])
    return video


def main() -> None:
    """Make demo.mp4 and demo.png."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--example", default="hammer", help="name of a picture and sound in examples/")
    arguments.add_argument("--output", type=Path, default=Path("demo.mp4"))
    options = arguments.parse_args()

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="keyvid-demo-") as folder, running_service(Path(folder)) as service:
        ready = time.monotonic()
        console.print(f"Service at {service.url}, posting examples/{options.example}.png and .wav")
        with httpx.Client(base_url=service.url, timeout=30) as client:
            video = wait(client, post_video(client, options.example)["id"])
            if video["status"] != "completed":
                raise SystemExit(f"The video {video['status']}: {video['error']}")
            options.output.write_bytes(client.get(f"/v1/videos/{video['id']}/content").raise_for_status().content)
            done = time.monotonic()
    picture = draw(options, video)
    console.print(f"[bold]{options.output}[/bold] and [bold]{picture}[/bold]")
    console.print(f"service ready in {ready - began:.1f} s, video in {done - ready:.1f} s", highlight=False)


def draw(options: argparse.Namespace, video: dict[str, Any]) -> Path:
    """Write the first frame with the keyframes marked under the waveform and the motion curve; returns its path."""
    from model.plot import draw_generation  # noqa: PLC0415  (matplotlib and torch take a second: not before they are needed)

    picture: Path = options.output.with_suffix(".png")
    draw_generation(options.output, EXAMPLES / f"{options.example}.wav", video["keyframes"], picture)
    return picture


if __name__ == "__main__":
    main()
