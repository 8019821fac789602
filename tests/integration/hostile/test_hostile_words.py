"""Hostile inputs 14 to 17 and 24: names, words, numbers and addresses."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING

import pytest

from tests import uploads

if TYPE_CHECKING:
    from hostile_caller import Attacker

NAMES = (
    "../../etc/cron.d/x",
    "a\x00b",
    "x" * 4000,
    "\u202egnp.exe",
    "-i",
    "C:\\x\\y.wav",
    "a\r\nX-Y: z",
    '"; rm -rf /',
    "",
)


def test_14_filenames(attacker: Attacker) -> None:
    """A file's name is shown without folders and control characters, and is no part of any path."""
    for name in NAMES:
        answer = attacker.send_file(uploads.wav(), filename=name)
        if answer.status_code != 201:  # some cannot be written into a header at all
            attacker.refused(answer, answer.status_code, answer.json()["code"])
            continue
        shown = answer.json()["filename"]
        assert "/" not in shown
        assert "\\" not in shown
        assert len(shown) <= 255
        assert not [letter for letter in shown if unicodedata.category(letter)[0] == "C"]
    written = {path.name for path in attacker.api.data_dir.parent.rglob("*")}
    assert not written & {"x", "passwd", "-i", "y.wav"}


def test_15_prompts(attacker: Attacker) -> None:
    """Endless, undecodable and unprintable prompts are refused; what is accepted cannot write a line of the log."""
    attacker.refused(attacker.create(prompt="x" * 4_000_000), 413, "payload_too_large")
    for prompt in ("x" * 2001, "a\x07b", "a\x00b", "", " \n "):
        attacker.refused(attacker.create(prompt=prompt), 422, "validation_failed")
    body = b'--edge\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\xed\xa0\x80\r\n--edge--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    answer = attacker.request("POST", "/v1/videos", content=body, headers=headers)
    attacker.refused(answer, 422, "validation_failed")
    for prompt in ('x\n{"event": "forged"}', "%s%n %(x)s ${HOME} `id` $(id)", "{0.__class__}"):
        assert attacker.create(prompt=prompt).status_code == 202
    lines = [json.loads(line) for line in attacker.api.log.splitlines()]
    assert not [line for line in lines if line["event"] == "forged"]
    assert "__class__" not in attacker.api.log


@pytest.mark.parametrize(
    "fields",
    [
        {"size": "99999x99999"},
        {"seconds": "1e9"},
        {"num_inference_steps": "1000000000"},
        {"guidance_audio": "NaN"},
        {"guidance_text": "Infinity"},
        {"seed": "true"},
        {"seed": "9" * 5000},
        {"seed": "1.0e400"},
        {"audio_start": "-1"},
        {"deadline_seconds": "-inf"},
        {"keyframes": "0,1,2,3,4,5,6,7,8,9,10,99"},
        {"keyframes": "0s,1e400s"},
        {"metadata": '{"a":' * 5000},
        {"sede": "1"},
    ],
    ids=lambda fields: "".join(fields)[:20],
)
def test_16_numbers(attacker: Attacker, fields: dict[str, str]) -> None:
    """Sizes, times, steps and seeds beyond what is made, and what is no number, are 422 before anything is computed."""
    answer = attacker.create(**fields)

    attacker.refused(answer, 422, "validation_failed")
    assert answer.json()["error"]["param"] == next(iter(fields))


def test_17_addresses_of_webhooks(attacker: Attacker) -> None:
    """No spelling of an address inside makes a webhook endpoint."""
    hosts = (
        *("169.254.169.254", "127.0.0.1", "[::1]", "0x7f.1", "2130706433", "0177.0.0.1", "127.1", "localhost", "0"),
        *("[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "10.0.0.1", "192.168.1.1", "[fe80::1]", "100.64.0.1"),
        *("user:password@example.com", "example.com:6379", "example.com:22", "metadata.google.internal"),
    )
    for url in (*(f"https://{host}/" for host in hosts), "http://example.com/", "file:///etc/passwd", "gopher://x/"):
        answer = attacker.request("POST", "/v1/webhook-endpoints", json={"url": url})
        attacker.refused(answer, 422, "validation_failed")


def test_24_scripts_in_words_and_files(attacker: Attacker) -> None:
    """Markup comes back as JSON that no browser runs, a page of HTML is no file, and other sites may change nothing."""
    script = "<script>alert(1)</script>"
    answer = attacker.create(prompt=script, metadata=json.dumps({"a": script}))
    assert answer.json()["prompt"] == script
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src" in answer.headers["content-security-policy"]
    attacker.refused(attacker.send_file(f"<html>{script}</html>".encode()), 415, "unsupported_media_type")
    cancel = f"/v1/videos/{answer.json()['id']}/cancel"
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    attacker.refused(attacker.request("POST", cancel, headers=foreign), 403, "cross_site_request")
