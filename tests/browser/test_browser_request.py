"""Composing a request on the page: files, sound, keyframes, crop, knobs, and what is then asked of the API."""

from __future__ import annotations

import io
import json
import wave
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from playwright.sync_api import expect
from studio_page import Studio, file

from tests import uploads

if TYPE_CHECKING:
    import numpy.typing as npt
    from playwright.sync_api import Request

MOST_ACTIONS = 4


def test_example_is_submitted_within_four_actions(studio: Studio) -> None:
    """Who takes an example needs one more press."""
    studio.act(studio.button("Dog"))
    expect(studio.page.locator("#prompt")).to_have_value("dog barking")
    studio.act(studio.button("Make the video"))
    video = studio.get(studio.video_id())

    assert video["prompt"] == "dog barking"
    assert studio.actions <= MOST_ACTIONS


def test_window_on_a_long_sound_is_dragged_and_sent(studio: Studio) -> None:
    """The two seconds under the window are those that the request names."""
    studio.choose(sound=file("beats.wav", uploads.beats(8.0, at=(1.0, 5.0, 5.5))))
    window = studio.page.get_by_role("slider", name="The two seconds that are used")
    box = studio.page.locator(".overview").bounding_box()
    assert box is not None
    studio.page.mouse.move(box["x"] + 10, box["y"] + 20)
    studio.page.mouse.down()
    studio.page.mouse.move(box["x"] + 10 + box["width"] / 2, box["y"] + 20, steps=4)
    studio.page.mouse.up()
    start = float(window.get_attribute("aria-valuenow") or "")
    window.press("ArrowRight")

    video = studio.get(studio.submit())

    assert start == pytest.approx(4.0, abs=0.1)
    assert video["parameters"]["audio_start"] == pytest.approx(start + 1 / 24, abs=0.01)


def test_crop_is_dragged_resized_and_sent(studio: Studio) -> None:
    """The part under the frame is what the request names, in pixels of the picture and in the video's shape."""
    studio.choose(picture=file("tall.jpg", uploads.jpeg(800, 1000)))
    frame = studio.page.get_by_role("group", name="The part that the model sees")
    box, stage = frame.bounding_box(), studio.page.locator(".workspace:visible .stage").bounding_box()
    assert box is not None
    assert stage is not None
    assert stage["y"] <= box["y"] < box["y"] + box["height"] <= stage["y"] + stage["height"]
    studio.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    studio.page.mouse.down()
    studio.page.mouse.move(box["x"] + box["width"] / 2, 5, steps=4)
    studio.page.mouse.up()
    frame.press("-")
    frame.press("ArrowRight")

    left, top, width, height = studio.get(studio.submit())["parameters"]["image_crop"]

    assert width / height == pytest.approx(1.6, abs=0.01)
    assert width < 800
    assert left > (800 - width) / 2
    assert top < 40


def test_stretched_picture_has_no_crop(studio: Studio) -> None:
    """The way to fill the frame is sent, and the crop frame is only there where something is cut off."""
    studio.choose()
    studio.page.get_by_text("Stretch").click()
    expect(studio.page.locator(".crop")).to_be_hidden()

    parameters = studio.get(studio.submit())["parameters"]

    assert (parameters["image_fit"], parameters["image_crop"]) == ("stretch", None)


def test_sound_that_is_too_long_for_the_service_is_cut(studio: Studio) -> None:
    """Of more than a minute only the two seconds are sent."""
    studio.choose(sound=file("long.wav", uploads.wav(61.0, rate=8000)))

    video = studio.get(studio.submit())

    assert video["input"]["audio"]["duration_s"] == pytest.approx(2.0, abs=0.01)


def test_part_of_a_large_picture_stays_when_it_is_made_again(studio: Studio) -> None:
    """The service keeps a smaller picture; made again from that, the video shows the same part of it."""
    studio.choose(picture=file("large.jpg", uploads.jpeg(3000, 2400)))
    frame = studio.page.get_by_role("group", name="The part that the model sees")
    for key in ("-", "-", "ArrowRight", "ArrowDown"):
        frame.press(key)
    first = studio.get(studio.submit("steps=1"))
    studio.page.reload()
    studio.wait_for_result()
    studio.button("Change and make again").click()
    expect(studio.page.locator(".picture-box")).to_be_visible()
    second = studio.get(studio.submit("steps=1 again"))

    assert second["input"]["image"]["width"] < first["input"]["image"]["width"]
    assert _share_of_picture(second) == pytest.approx(_share_of_picture(first), abs=0.002)


def _share_of_picture(video: dict[str, Any]) -> list[float]:
    """Left, top, width and height of the crop, in parts of the picture."""
    picture, crop = video["input"]["image"], video["parameters"]["image_crop"]
    return [pixels / picture[side] for pixels, side in zip(crop, ("width", "height") * 2, strict=True)]


def test_part_of_a_long_sound_stays_when_it_is_made_again(studio: Studio) -> None:
    """Of more than a minute only two seconds were sent: a video made again is made to the same two."""
    studio.choose(sound=file("long.wav", uploads.beats(61.0, at=(40.5, 41.0, 60.2))))
    studio.page.get_by_role("slider", name="The two seconds that are used").press("End")
    first = studio.get(studio.submit("steps=1"))
    studio.wait_for_result()
    studio.button("Change and make again").click()
    second = studio.get(studio.submit("steps=1 again"))

    heard, again = (_samples(studio, video) for video in (first, second))
    assert len(again) == len(heard)
    assert np.abs(heard).max() > 0.5
    assert np.abs(again - heard).max() < 1e-3


def _samples(studio: Studio, video: dict[str, Any]) -> npt.NDArray[np.float64]:
    """The sound that the service keeps of a video."""
    reply = studio.page.request.get(f"{studio.url}/v1/videos/{video['id']}/content?variant=audio")
    with wave.open(io.BytesIO(reply.body())) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16) / 32768


def test_two_seconds_are_played(studio: Studio) -> None:
    """Play moves the playhead over the waveform, and ends by itself or when it is stopped."""
    studio.choose()
    studio.button("Play").click()
    expect(studio.page.locator(".workspace:visible .playhead")).to_be_visible()
    studio.button("Stop").click()
    expect(studio.page.locator(".workspace:visible .playhead")).to_be_hidden()


def test_microphone_becomes_a_sound(studio: Studio) -> None:
    """A recording is a WAV that the service takes."""
    studio.choose()
    studio.button("Replace the sound").click()
    studio.button("Record").click()
    studio.wait("/Stop, [1-9]/.test(document.querySelector('.is-recording')?.textContent)")
    studio.page.locator(".is-recording").click()
    expect(studio.page.locator(".score-filled")).to_be_visible()

    video = studio.get(studio.submit())

    assert video["input"]["audio"]["duration_s"] > 0.5
    assert video["metadata"]["sound"] == "recording.wav"


def test_keyframes_are_removed_added_and_put_back(studio: Studio) -> None:
    """Eleven keyframes are not sent; one is added where it was clicked; what was heard comes back."""
    studio.choose(sound=file("beats.wav", uploads.beats(2.0, at=(0.5, 1.2))))
    studio.button("Listen first").click()
    pins = studio.page.locator(".workspace:visible .pin")
    expect(pins).to_have_count(12)
    heard = studio.keyframes()
    pins.nth(5).press("Delete")
    expect(pins).to_have_count(11)
    studio.page.fill("#prompt", "steps=2")
    studio.button("Make the video").click()
    expect(studio.say()).to_contain_text("There must be twelve keyframes")

    lane = studio.page.locator(".workspace:visible .pins")
    box = lane.bounding_box()
    assert box is not None
    free = next(frame for frame in range(47, 0, -1) if frame not in heard)
    lane.click(position={"x": box["width"] * free / 48, "y": 60})
    expect(pins).to_have_count(12)
    assert studio.keyframes() == sorted({*heard, free} - {heard[5]})

    studio.button("As heard").click()
    assert studio.keyframes() == heard


def test_keyframes_are_moved_by_keys_and_stay_in_order(studio: Studio) -> None:
    """An arrow moves a keyframe by one frame; it cannot pass its neighbours, and the first cannot move."""
    studio.choose(sound=file("beats.wav", uploads.beats(2.0, at=(0.5, 1.2))))
    studio.button("Listen first").click()
    pins = studio.page.locator(".workspace:visible .pin")
    expect(pins).to_have_count(12)
    heard = studio.keyframes()
    pins.nth(0).press("ArrowRight")
    pins.nth(4).press("End")
    moved = studio.keyframes()

    assert moved[0] == 0
    assert moved[4] == heard[5] - 1


def test_knobs_travel_with_the_request_and_come_back(studio: Studio) -> None:
    """Seed and scales are sent as set, and stand there again when the request is changed."""
    studio.choose()
    studio.page.get_by_text("Seed, guidance and strength").click()
    studio.page.locator("#compose-seed").fill("1234")
    studio.page.locator("#compose-motion_strength").fill("1.5")
    studio.page.locator("#compose-guidance_audio").fill("6")
    video = studio.get(studio.submit())
    studio.wait_for_result()
    studio.button("Change and make again").click()

    assert video["seed"] == 1234
    assert video["parameters"]["motion_strength"] == 1.5
    assert video["parameters"]["guidance_audio"] == 6
    assert studio.page.locator("#compose-seed").input_value() == "1234"
    assert studio.page.locator("#compose-guidance_audio").input_value() == "6"
    expect(studio.page.locator("#prompt")).to_have_value("steps=2")


def test_a_dropped_pair_finds_its_places(studio: Studio) -> None:
    """Two files that are dropped together become the picture and the sound."""
    files = {"cat.jpg": ["image/jpeg", list(uploads.jpeg(640, 480))], "meow.wav": ["audio/wav", list(uploads.wav(1.0))]}
    studio.page.evaluate(
        """(files) => {
          const carried = new DataTransfer();
          for (const [name, [type, bytes]] of Object.entries(files)) {
            carried.items.add(new File([new Uint8Array(bytes)], name, { type }));
          }
          window.dispatchEvent(new DragEvent('drop', { dataTransfer: carried, bubbles: true, cancelable: true }));
        }""",
        files,
    )

    expect(studio.page.locator(".picture-box")).to_be_visible()
    expect(studio.page.locator(".score-filled")).to_be_visible()


@pytest.mark.parametrize(
    ("place", "sent", "said"),
    [
        ("#picture-file", file("notes.png", uploads.PDF), "notes.png is not a picture"),
        ("#sound-file", file("notes.wav", uploads.PDF), "notes.wav is not a sound"),
        ("#sound-file", file("click.wav", uploads.wav(0.1)), "choose one of at least 0.25 s"),
        ("#picture-file", file("dot.png", uploads.encoded(uploads.picture(8, 8))), "at least 16"),
    ],
)
def test_wrong_file_is_refused_with_what_to_do(studio: Studio, place: str, sent: dict[str, object], said: str) -> None:
    """Nothing is sent, and the message names the file or what a better one is."""
    asked: list[Request] = []
    studio.page.on("request", lambda request: asked.append(request))  # noqa: PLW0108  (playwright looks into it)
    studio.page.set_input_files(place, sent)

    expect(studio.say()).to_contain_text(said)
    assert [request.url for request in asked if request.method == "POST"] == []


def test_picture_that_the_service_refuses_is_converted(studio: Studio) -> None:
    """A GIF, which the API does not take, is sent as a picture that it takes."""
    studio.choose(picture=file("cat.gif", uploads.encoded(uploads.picture(320, 200), "GIF"), "image/gif"))

    video = studio.get(studio.submit())

    assert (video["input"]["image"]["width"], video["input"]["image"]["height"]) == (320, 200)
    assert video["metadata"] == {"picture": "cat.gif", "sound": "meow.wav"}


def test_what_is_missing_is_said_and_focused(studio: Studio) -> None:
    """The button tells what to do next, and takes the reader there."""
    studio.button("Make the video").click()
    expect(studio.say()).to_contain_text("Add a picture first")
    studio.choose()
    studio.button("Make the video").click()

    expect(studio.say()).to_contain_text("Say in a few words what happens")
    expect(studio.page.locator("#prompt")).to_be_focused()


def test_prompt_and_file_names_are_never_markup(studio: Studio) -> None:
    """What looks like markup is shown as it was typed, on every view, and nothing of it runs."""
    evil = '<img src=x onerror="window.hacked=1"><b>'
    studio.page.route("**/x", lambda route: route.abort())
    studio.choose(
        picture=file(f"{evil}.jpg", uploads.jpeg(64, 48), "image/jpeg"), sound=file(f"{evil}.wav", uploads.wav())
    )
    studio.submit(f"steps=1 {evil}")
    studio.wait_for_result()
    studio.page.get_by_text("The same from code").click()
    expect(studio.page.locator("pre")).to_contain_text("onerror")
    expect(studio.page.locator(".card-prompt").first).to_have_text(f"steps=1 {evil}")

    assert studio.page.evaluate("window.hacked") is None
    assert studio.page.locator("img[src='x']").count() == 0


def test_page_keeps_its_key_out_of_addresses_and_storage(studio: Studio) -> None:
    """Only the colour theme is ever stored."""
    studio.page.get_by_role("button", name="Colours").click()
    stored = studio.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")

    assert json.loads(stored) == [{"theme": "light"}, {}]
