"""KeyVID Studio as its user sees it: what can be done on the page, and what can be read from it."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from tests import uploads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE_MS = 60_000  # the machine may be busy; nothing sleeps as long when all is well
VIDEO_IDS = re.compile(r"video_\w+")


@dataclass
class Studio:
    """One open page."""

    page: Page
    url: str
    actions: int = 0
    allowed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def opened(cls, browser: Browser, url: str, **context: Any) -> Iterator[Studio]:
        """Open the page; at the end nothing unexpected may have been logged, and no other host asked."""
        opened = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        opened.set_default_timeout(PATIENCE_MS)
        studio = cls(opened.new_page(), url)
        studio.watch()
        studio.page.goto(url)
        yield studio
        opened.close()
        unexpected = [error for error in studio.errors if not any(text in error for text in studio.allowed)]
        assert unexpected == [], unexpected
        assert studio.foreign == [], studio.foreign

    def watch(self) -> None:
        """Note errors of the page, and requests that leave the service."""
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith((self.url, "blob:", "data:")):
            self.foreign.append(url)

    def act(self, target: Locator) -> None:
        """Click something, as one action of a user."""
        self.actions += 1
        target.click()

    def button(self, name: str) -> Locator:
        """A button by its whole name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def choose(self, *, picture: dict[str, Any] | None = None, sound: dict[str, Any] | None = None) -> None:
        """Choose files: by default a good picture and a good sound."""
        self.page.set_input_files("#picture-file", picture or file("cat.jpg", uploads.jpeg(640, 480)))
        expect(self.page.locator(".picture-box")).to_be_visible()
        self.page.set_input_files("#sound-file", sound or file("meow.wav", uploads.wav(1.5)))
        expect(self.page.locator(".score-filled")).to_be_visible()

    def submit(self, prompt: str = "steps=2") -> str:
        """Say what happens and send the request; answers the video's id."""
        self.page.fill("#prompt", prompt)
        self.act(self.button("Make the video"))
        return self.video_id()

    def video_id(self) -> str:
        """The id in the address, once it is there."""
        self.wait("location.hash.startsWith('#/videos/video_')")
        return VIDEO_IDS.findall(self.page.url)[-1]

    def wait_for_result(self) -> None:
        """Wait until the video can be played."""
        expect(self.page.locator(".screen video").first).to_be_visible(timeout=PATIENCE_MS)
        self.wait("document.querySelector('.screen video').readyState >= 2")

    def wait(self, expression: str) -> None:
        """Wait until a JavaScript expression is true (not in the page itself, whose policy forbids that)."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never: {expression}"
            self.page.wait_for_timeout(30)

    def say(self) -> Locator:
        """The message bar."""
        return self.page.locator(".notice")

    def get(self, video_id: str) -> dict[str, Any]:
        """The Video object, as the API tells it."""
        reply = self.page.request.get(f"{self.url}/v1/videos/{video_id}")
        video: dict[str, Any] = reply.json()
        return video

    def keyframes(self) -> list[int]:
        """The frames of the pins that can be dragged."""
        return [
            int(pin.get_attribute("aria-valuenow") or "") for pin in self.page.locator(".workspace:visible .pin").all()
        ]

    def drag_pin(self, index: int, *, frames: int) -> None:
        """Drag a keyframe with the mouse."""
        lane = self.page.locator(".workspace:visible .pins").bounding_box()
        pin = self.page.locator(".workspace:visible .pin").nth(index).bounding_box()
        assert lane is not None
        assert pin is not None
        x, y = pin["x"] + pin["width"] / 2, pin["y"] + 8
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + lane["width"] * frames / 48, y, steps=4)
        self.page.mouse.up()


def file(name: str, content: bytes, mime: str = "") -> dict[str, Any]:
    """A file to choose."""
    kinds = {"jpg": "image/jpeg", "png": "image/png", "wav": "audio/wav"}
    return {"name": name, "mimeType": mime or kinds[name.rpartition(".")[2]], "buffer": content}


def example(name: str, suffix: str) -> dict[str, Any]:
    """One of the files of examples/."""
    return file(f"{name}.{suffix}", (EXAMPLES / f"{name}.{suffix}").read_bytes())
