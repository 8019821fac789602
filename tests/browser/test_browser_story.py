"""The whole story on the page, with the shipped model: from two files to a video that plays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from studio_page import PATIENCE_MS, Studio, example

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

COUNT_FRAMES = """async () => {
  const video = document.querySelector('.screen video');
  const shown = new Set();
  for (let frame = 0; frame < 48; frame += 1) {
    const decoded = new Promise((resolve) => video.requestVideoFrameCallback((_, { mediaTime }) => resolve(mediaTime)));
    video.currentTime = (frame + 0.5) / 24;
    shown.add(Math.round((await decoded) * 24));
  }
  return { frames: [...shown].sort((a, b) => a - b), width: video.videoWidth, height: video.videoHeight,
           seconds: video.duration };
}"""
HAS_SOUND = """async () => {
  const [id] = location.hash.match(/video_\\w+/);
  const bytes = await (await fetch(`/v1/videos/${id}/content`)).arrayBuffer();
  const sound = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(bytes);
  return Math.max(...sound.getChannelData(0).map(Math.abs));
}"""


@pytest.fixture(scope="module")
def mini(chromium: Browser, mini_url: str) -> Iterator[Studio]:
    """The page of the service with the shipped model."""
    with Studio.opened(chromium, mini_url) as page:
        yield page


@dataclass(frozen=True)
class Made:
    """The keyframes that were heard, those after one was dragged, and the video that was made with them."""

    heard: list[int]
    dragged: list[int]
    video_id: str


@pytest.fixture(scope="module")
def made(mini: Studio) -> Made:
    """A video of two files, with one keyframe dragged; its page is open."""
    mini.choose(picture=example("dog", "png"), sound=example("dog", "wav"))
    mini.button("Listen first").click()
    expect(mini.page.locator(".workspace:visible .pin")).to_have_count(12)
    heard = mini.keyframes()
    mini.drag_pin(11, frames=1 if heard[11] < 47 else -1)
    return Made(heard, mini.keyframes(), mini.submit("dog barking"))


@pytest.fixture
def result(mini: Studio, made: Made) -> Studio:
    """The page of that video, finished."""
    mini.page.goto(f"{mini.url}/#/videos/{made.video_id}")
    mini.wait_for_result()
    return mini


def test_from_two_files_to_a_video_that_follows_the_keyframes(result: Studio, made: Made) -> None:
    """A sound is heard, a keyframe dragged, and the video has 48 frames, its sound, and the plan that was dragged."""
    video = result.get(made.video_id)
    found = result.page.evaluate(COUNT_FRAMES)

    assert made.dragged[:11] == made.heard[:11]
    assert made.dragged[11] != made.heard[11]
    assert video["parameters"]["keyframes"] == made.dragged
    assert video["keyframes"]["indices"] == made.dragged
    assert video["keyframes"]["source"] == "request"
    assert found["frames"] == list(range(48))
    assert (found["width"], found["height"]) == (512, 320)
    assert found["seconds"] == pytest.approx(2.0, abs=1 / 24)
    assert result.page.evaluate(HAS_SOUND) > 0.05
    expect(result.page.get_by_text("Keyframes were set by hand")).to_be_visible()


def test_it_plays_when_asked_to(result: Studio) -> None:
    """The play button plays; frames go by, and the playhead with them."""
    result.button("Play (space)").click()
    result.wait("document.querySelector('.screen video').currentTime > 0.2")

    expect(result.button("Pause (space)")).to_be_visible()
    result.wait("Number(document.querySelector('.workspace:not([hidden]) .playhead').ariaValueNow) > 3")
    result.button("Pause (space)").click()
    assert result.page.evaluate("document.querySelector('.screen video').paused")


def test_frames_are_stepped_through_and_keyframes_jumped_to(result: Studio, made: Made) -> None:
    """Buttons, arrow keys and pins show exactly the frame that they name."""
    readout = result.page.locator(".workspace:visible .readout")
    result.page.locator(".workspace:visible .pin").first.click()
    expect(readout).to_have_text("00 / 47 · 0.00 s · keyframe")

    result.button("One frame on (right arrow)").click()
    expect(readout).to_contain_text("01 / 47 · 0.04 s")
    result.page.locator("h1").evaluate("node => node.ownerDocument.activeElement.blur()")
    result.page.keyboard.press("ArrowLeft")
    expect(readout).to_contain_text("00 / 47")
    result.page.keyboard.press("Shift+ArrowRight")
    second = result.get(made.video_id)["keyframes"]["indices"][1]
    expect(readout).to_contain_text(f"{second:02d} / 47")


def test_another_seed_stands_beside_it(result: Studio, made: Made) -> None:
    """Another take is made from the same files and shown side by side; reloading the page shows both again."""
    result.page.get_by_text("Compare with another take").click()
    seed = result.page.locator("#take-seed").input_value()
    result.button("Make it beside this one").click()
    result.wait("location.hash.includes('/with/')")
    second = result.video_id()
    videos = result.page.locator(".screen video:visible")
    expect(videos).to_have_count(2, timeout=PATIENCE_MS)

    one, other = result.get(made.video_id), result.get(second)
    assert str(other["seed"]) == seed != str(one["seed"])
    assert other["input"]["image"]["sha256"] == one["input"]["image"]["sha256"]
    assert other["parameters"]["keyframes"] == one["parameters"]["keyframes"]
    result.page.reload()
    expect(videos).to_have_count(2, timeout=PATIENCE_MS)
    expect(result.page.get_by_text(f"B · seed {seed}")).to_be_visible()
