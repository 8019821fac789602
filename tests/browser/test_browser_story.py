"""The whole story on the page, with the shipped model: from two files to a video that plays."""

from __future__ import annotations

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


def test_from_two_files_to_a_video_that_follows_the_keyframes(mini: Studio) -> None:
    """A sound is heard, a keyframe dragged, and the video has 48 frames, its sound, and the plan that was dragged."""
    mini.choose(picture=example("dog", "png"), sound=example("dog", "wav"))
    mini.button("Listen first").click()
    expect(mini.page.locator(".workspace:visible .pin")).to_have_count(12)
    heard = mini.keyframes()
    mini.drag_pin(11, frames=1 if heard[11] < 47 else -1)
    dragged = mini.keyframes()
    assert dragged[:11] == heard[:11]
    assert dragged[11] != heard[11]

    video_id = mini.submit("dog barking")
    mini.wait_for_result()
    video = mini.get(video_id)
    found = mini.page.evaluate(COUNT_FRAMES)

    assert video["parameters"]["keyframes"] == dragged
    assert video["keyframes"]["indices"] == dragged
    assert video["keyframes"]["source"] == "request"
    assert found["frames"] == list(range(48))
    assert (found["width"], found["height"]) == (512, 320)
    assert found["seconds"] == pytest.approx(2.0, abs=1 / 24)
    assert mini.page.evaluate(HAS_SOUND) > 0.05
    expect(mini.page.get_by_text("Keyframes were set by hand")).to_be_visible()


def test_it_plays_when_asked_to(mini: Studio) -> None:
    """The play button plays; frames go by, and the playhead with them."""
    mini.wait_for_result()
    mini.button("Play (space)").click()
    mini.wait("document.querySelector('.screen video').currentTime > 0.2")

    expect(mini.button("Pause (space)")).to_be_visible()
    mini.wait("Number(document.querySelector('.workspace:not([hidden]) .playhead').ariaValueNow) > 3")
    mini.button("Pause (space)").click()
    assert mini.page.evaluate("document.querySelector('.screen video').paused")


def test_frames_are_stepped_through_and_keyframes_jumped_to(mini: Studio) -> None:
    """Buttons, arrow keys and pins show exactly the frame that they name."""
    mini.wait_for_result()
    readout = mini.page.locator(".workspace:visible .readout")
    mini.page.locator(".workspace:visible .pin").first.click()
    expect(readout).to_have_text("00 / 47 · 0.00 s · keyframe")

    mini.button("One frame on (right arrow)").click()
    expect(readout).to_contain_text("01 / 47 · 0.04 s")
    mini.page.locator("h1").evaluate("node => node.ownerDocument.activeElement.blur()")
    mini.page.keyboard.press("ArrowLeft")
    expect(readout).to_contain_text("00 / 47")
    mini.page.keyboard.press("Shift+ArrowRight")
    second = mini.get(mini.video_id())["keyframes"]["indices"][1]
    expect(readout).to_contain_text(f"{second:02d} / 47")


def test_another_seed_stands_beside_it(mini: Studio) -> None:
    """Another take is made from the same files and shown side by side; reloading the page shows both again."""
    mini.wait_for_result()
    first = mini.video_id()
    mini.page.get_by_text("Compare with another take").click()
    seed = mini.page.locator("#take-seed").input_value()
    mini.button("Make it beside this one").click()
    mini.wait("location.hash.includes('/with/')")
    second = mini.video_id()
    videos = mini.page.locator(".screen video:visible")
    expect(videos).to_have_count(2, timeout=PATIENCE_MS)

    one, other = mini.get(first), mini.get(second)
    assert str(other["seed"]) == seed != str(one["seed"])
    assert other["input"]["image"]["sha256"] == one["input"]["image"]["sha256"]
    assert other["parameters"]["keyframes"] == one["parameters"]["keyframes"]
    mini.page.reload()
    expect(videos).to_have_count(2, timeout=PATIENCE_MS)
    expect(mini.page.get_by_text(f"B · seed {seed}")).to_be_visible()
