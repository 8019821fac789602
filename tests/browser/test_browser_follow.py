"""A video on the page while it is made, when the service is away, and when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from playwright.sync_api import expect
from studio_page import PATIENCE_MS, Studio, file

from tests import uploads

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LONG = "steps=60 step_ms=250"
NETWORK_ERROR = "net::ERR_INTERNET_DISCONNECTED"


def test_progress_is_told_by_stage_and_step_and_cancel_stops_it(studio: Studio) -> None:
    """Steps go up one by one, the address names the video, and stopping it ends it."""
    studio.choose()
    video_id = studio.submit(LONG)
    row = studio.page.locator(".stage-row").nth(1)
    expect(row).to_contain_text("of 60", timeout=PATIENCE_MS)
    expect(studio.page.get_by_role("progressbar", name="The whole video")).to_be_visible()

    studio.button("Stop it").click()
    expect(studio.page.get_by_role("heading", name="Stopped")).to_be_visible()

    assert studio.get(video_id)["status"] == "cancelled"


def test_reload_in_mid_job_resumes(studio: Studio) -> None:
    """The link alone brings the progress back, and the picture with it; a second page sees the same."""
    studio.choose()
    video_id = studio.submit(LONG)
    expect(studio.page.locator(".stage-row").nth(1)).to_contain_text("of 60")
    studio.page.reload()
    expect(studio.page.locator(".stage-row").nth(1)).to_contain_text("of 60")
    assert studio.video_id() == video_id

    studio.button("Stop it").click()
    expect(studio.page.get_by_role("heading", name="Stopped")).to_be_visible()
    studio.button("Change the request").click()
    expect(studio.page.locator("#prompt")).to_have_value(LONG)


def test_end_of_the_wait_is_told_and_found_by_keyboard(studio: Studio) -> None:
    """Whoever pressed a button that is gone finds the title of what came instead; the end is read out."""
    studio.choose()
    studio.submit("steps=2 step_ms=200")
    expect(studio.page.locator(".progress-panel .panel-title")).to_be_focused()
    studio.wait_for_result()

    expect(studio.page.get_by_role("heading", name="Your video", exact=True)).to_be_focused()
    expect(studio.page.locator(".notices [role=status]")).to_have_text("Your video")


def test_nothing_is_compared_with_a_video_that_was_left(studio: Studio) -> None:
    """Cards offer to stand beside the open video, and no longer do once it is closed."""
    studio.choose()
    studio.submit("steps=1 one")
    studio.wait_for_result()
    studio.button("Change and make again").click()
    studio.submit("steps=1 two")
    studio.wait_for_result()
    beside = studio.page.locator(".card").get_by_role("button", name="Compare")
    expect(beside.first).to_be_visible()
    studio.page.get_by_role("link", name="New video").click()

    expect(beside).to_have_count(0)


def test_waiting_video_knows_its_place(studio: Studio) -> None:
    """Behind a running video the next one is next in line, and moves up when that is stopped."""
    studio.choose()
    first = studio.submit(LONG)
    expect(studio.page.locator(".stage-row").nth(1)).to_contain_text("of 60")
    studio.page.get_by_role("link", name="New video").click()
    studio.submit("steps=1")
    expect(studio.page.get_by_role("heading", name="Waiting for its turn")).to_be_visible()
    expect(studio.page.locator(".eta")).to_contain_text("Next in line")

    studio.page.request.post(f"{studio.url}/v1/videos/{first}/cancel")
    studio.wait_for_result()


def test_failed_video_says_what_to_do_and_can_be_tried_again(studio: Studio) -> None:
    """The reason is in words, and another try is another video."""
    # Files of its own: those that made workers fail are refused from then on.
    studio.choose(
        picture=file("bad.png", uploads.encoded(uploads.picture(70, 50))), sound=file("bad.wav", uploads.wav(0.7))
    )
    failed = studio.submit("bad_input")
    expect(studio.page.get_by_role("heading", name="It did not work")).to_be_visible()
    expect(studio.page.locator(".progress-panel .advice")).not_to_be_empty()
    studio.button("Try once more").click()
    studio.wait(f"!location.hash.includes('{failed}')")

    assert studio.get(studio.video_id())["retried_from_video_id"] == failed


def test_outage_loses_nothing(studio: Studio) -> None:
    """What could not be sent is sent once the service is back, once; a video is followed through an outage."""
    studio.allowed = [NETWORK_ERROR]
    studio.choose()
    studio.page.context.set_offline(True)
    studio.page.fill("#prompt", "steps=40 step_ms=100")
    studio.button("Make the video").click()
    expect(studio.say()).to_contain_text("The service does not answer")
    studio.page.context.set_offline(False)
    studio.button("Try again").click()
    video_id = studio.video_id()
    expect(studio.page.locator(".stage-row").nth(1)).to_contain_text("of 40")

    studio.page.context.set_offline(True)
    expect(studio.page.locator(".lost")).to_be_visible()
    studio.page.context.set_offline(False)
    expect(studio.page.locator(".lost")).to_be_hidden()
    studio.wait_for_result()
    assert studio.get(video_id)["status"] == "completed"


def test_unknown_and_deleted_videos_say_so(studio: Studio) -> None:
    """A wrong link leads to a way on; a deleted video leaves the history and its page."""
    studio.allowed = ["404"]
    studio.page.goto(f"{studio.url}/#/videos/video_nothing")
    expect(studio.page.get_by_text("There is no such video")).to_be_visible()
    studio.page.get_by_role("link", name="Make a new video").click()
    studio.choose()
    video_id = studio.submit("steps=1")
    studio.wait_for_result()
    studio.button("Delete this video").click()
    studio.page.get_by_role("dialog").get_by_role("button", name="Delete").click()

    expect(studio.button("Make the video")).to_be_visible()
    assert studio.page.request.get(f"{studio.url}/v1/videos/{video_id}").status == 404
    expect(studio.page.locator(f".card a[href='#/videos/{video_id}']")).to_have_count(0)


def test_history_shows_thumbnails_and_filters(studio: Studio) -> None:
    """Words of the prompt and the status choose what is shown; a card leads to its video."""
    studio.choose()
    word = f"quagga{uuid4().hex}"
    video_id = studio.submit(f"steps=1 a rare word: {word}")
    studio.wait_for_result()
    studio.page.get_by_role("link", name="New video").click()
    card = studio.page.locator(f".card:has(a[href='#/videos/{video_id}'])")
    expect(card.locator("img")).to_be_visible()
    studio.page.get_by_label("Find by words of the prompt").fill(word.upper())
    expect(studio.page.locator(".card")).to_have_count(1)
    studio.page.get_by_label("Which videos").select_option("Failed")
    expect(card).to_have_count(0)
    studio.page.get_by_label("Which videos").select_option("Finished")
    card.get_by_role("link").click()

    studio.wait_for_result()
    assert studio.video_id() == video_id


def test_paced_video_is_opened_by_a_second_browser(studio: Studio, chromium: Browser) -> None:
    """The link works for whoever may see the video, with nothing in memory."""
    studio.choose()
    studio.submit("steps=1")
    studio.wait_for_result()
    with Studio.opened(chromium, studio.url) as other:
        other.page.goto(studio.page.url)
        other.wait_for_result()
        expect(other.page.get_by_role("heading", name="Your video", exact=True)).to_be_visible()
