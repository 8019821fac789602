"""Handing a video on: links that end, the same request from code, and pages that ask for a key."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from studio_page import Studio

from tests import uploads
from tests.conftest import missing
from tests.servers import accepts_connections, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

TYPES = re.compile(r"\(path: string, init: RequestInit = \{\}\)")


def finished(studio: Studio) -> str:
    """Make a video; answers its id."""
    studio.choose()
    video_id = studio.submit('steps=1 it\'s "quoted" $HOME')
    studio.wait_for_result()
    return video_id


def test_link_shows_the_video_to_others_until_it_is_ended(studio: Studio, chromium: Browser) -> None:
    """Somebody without a key sees and can save the video; an ended or expired link says so."""
    studio.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    finished(studio)
    studio.page.get_by_text("Share a link").click()
    studio.page.get_by_label("It works for").select_option("a day")
    studio.button("Make a link").click()
    field = studio.page.get_by_label("Link", exact=True)
    expect(field).to_be_visible()
    link = field.input_value()
    assert studio.page.evaluate("navigator.clipboard.readText()") == link

    with Studio.opened(chromium, studio.url) as other:
        other.allowed = ["410"]
        other.page.goto(link)
        expect(other.page.get_by_role("heading", name="A shared video")).to_be_visible()
        other.wait_for_result()
        studio.button("End this link").click()
        expect(studio.page.get_by_text("Ended", exact=True)).to_be_visible()
        other.page.reload()
        expect(other.page.get_by_text("This link was ended by whoever made it")).to_be_visible()
        other.page.route(
            "**/v1/shared/*",
            lambda route: route.fulfill(status=410, json={"status": 410, "code": "share_link_expired"}),
        )
        other.page.reload()
        expect(other.page.get_by_text("This link has expired. Ask whoever sent it for a new one.")).to_be_visible()


def test_video_is_saved_as_a_file(studio: Studio, tmp_path: Path) -> None:
    """The download is the MP4 that the API tells of."""
    video_id = finished(studio)
    with studio.page.expect_download() as download:
        studio.page.get_by_role("link", name="Download MP4").click()
    download.value.save_as(tmp_path / "video.mp4")

    assert download.value.suggested_filename == f"{video_id}.mp4"
    assert (tmp_path / "video.mp4").stat().st_size == studio.get(video_id)["output"]["bytes"]


def test_code_that_is_copied_makes_the_same_video(studio: Studio, tmp_path: Path) -> None:
    """Curl, Python and TypeScript run as shown, next to the two files, with the same prompt and seed."""
    video = studio.get(finished(studio))
    (tmp_path / "cat.jpg").write_bytes(uploads.jpeg(640, 480))
    (tmp_path / "meow.wav").write_bytes(uploads.wav(1.5))
    studio.page.get_by_text("The same from code").click()

    def shown(language: str) -> str:
        studio.page.get_by_text(language, exact=True).click()
        return studio.page.locator("pre").inner_text()

    def run(*command: str) -> str:
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        assert result.returncode == 0, result.stderr
        return result.stdout

    made = [video]
    for language in ("curl", "Python", "TypeScript"):
        code = shown(language)
        if language == "curl":
            run("bash", "-c", code)
        elif language == "Python":
            run(sys.executable, "-c", code)
        else:
            node = shutil.which("node") or missing("Node")
            (tmp_path / "make.mjs").write_text(TYPES.sub("(path, init = {})", code))
            run(str(node), "make.mjs")
        newest = studio.page.request.get(f"{studio.url}/v1/videos?limit=1").json()["data"][0]
        made.append(studio.get(newest["id"]))

    assert len({video["id"] for video in made}) == 4
    assert {video["prompt"] for video in made} == {'steps=1 it\'s "quoted" $HOME'}
    assert len({video["seed"] for video in made}) == 1
    assert (tmp_path / "video.mp4").stat().st_size > 0


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of an API that asks everyone for a key, and a key."""
    port = free_port()
    environment = {**os.environ, "KEYVID_DATA_DIR": str(tmp_path), "KEYVID_AUTH": "required"}
    keyvid = [sys.executable, "-m", "keyvid"]
    told = subprocess.run(
        [*keyvid, "keys", "create", "page"], env=environment, capture_output=True, text=True, check=True
    )
    key = re.findall(r"kv_live_\S+", told.stdout)[0]
    with (tmp_path / "api.log").open("w") as log:
        process = subprocess.Popen([*keyvid, "api", "--port", str(port)], env=environment, stderr=log, stdout=log)
    try:
        wait_until(lambda: accepts_connections(port), timeout_s=120, what="the API")
        yield f"http://127.0.0.1:{port}", key
    finally:
        process.terminate()
        process.wait()


def test_key_is_asked_for_and_kept_nowhere(chromium: Browser, guarded: tuple[str, str]) -> None:
    """A wrong key is refused in words; a right one lets in until the page is reloaded, or while a session lasts."""
    url, key = guarded
    with Studio.opened(chromium, url) as studio:
        studio.allowed = ["401"]
        dialog = studio.page.get_by_role("dialog", name="An API key, please")
        expect(dialog).to_be_visible()
        dialog.get_by_label("API key").fill("kv_live_wrong")
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog).to_contain_text("This key is not accepted")
        dialog.get_by_label("API key").fill(key)
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog).to_be_hidden()
        expect(studio.page.get_by_text("Nothing here yet")).to_be_visible()
        kept = studio.page.evaluate("JSON.stringify([localStorage, sessionStorage, location.href, document.cookie])")
        assert key not in kept

        studio.page.reload()
        expect(dialog).to_be_visible()
        dialog.get_by_label("API key").fill(key)
        dialog.get_by_label("Stay signed in").check()
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog).to_be_hidden()
        studio.page.reload()
        expect(studio.button("Sign out")).to_be_visible()
        expect(dialog).to_be_hidden()
        assert studio.page.evaluate("document.cookie") == ""
        studio.button("Sign out").click()
        expect(dialog).to_be_visible()
