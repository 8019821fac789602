"""`keyvid generate --keyframes`: keyframes that the caller chose."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from model import AudioClip, KeyVIDPipeline
from model.cli import app
from model.config import tiny
from model.media.audio import write_wav

if TYPE_CHECKING:
    from pathlib import Path

PLAN = [0, 2, 5, 9, 14, 18, 22, 27, 31, 36, 40, 47]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a picture, a sound and tiny weights without a localizer."""
    folder = tmp_path_factory.mktemp("given")
    Image.new("RGB", (64, 32), "orange").save(folder / "picture.png")
    write_wav(AudioClip(torch.zeros(1, 32_000), 16_000), folder / "sound.wav")
    config = replace(tiny(height=32, width=64), localizer=None)
    KeyVIDPipeline.from_config(config).save_pretrained(folder / "weights")
    return folder


def generate(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Generate with one step per stage."""
    inputs = [str(folder / name) for name in ("picture.png", "sound.wav")]
    options = ["--model", str(folder / "weights"), "-o", str(folder / "out.mp4"), "--num-inference-steps", "1"]
    result = CliRunner().invoke(app, ["generate", *inputs, *options, *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_model_without_localizer_paints_the_given_keyframes(folder: Path) -> None:
    """Without them, and with nobody else to hear them, it says that they must be given."""
    code, _, complaint = generate(folder, "--localizer", "own")
    assert (code, complaint) == (2, "keyvid: tiny has no localizer: its keyframes must be given\n")

    code, told, _ = generate(folder, "--json", "--localizer", "own", "--keyframes", ",".join(map(str, PLAN)))

    assert code == 0
    assert json.loads(told)["keyframes"]["indices"] == PLAN
    assert json.loads(told)["keyframe_source"] == "request"


def test_times_in_seconds_are_frames_too(folder: Path) -> None:
    """A list may name times; each becomes the frame that is nearest."""
    times = ",".join(f"{index / 24:.3f}s" for index in PLAN)

    _, told, _ = generate(folder, "--json", "--keyframes", times)

    assert json.loads(told)["keyframes"]["indices"] == PLAN


def test_another_models_localizer_hears_and_is_named(folder: Path) -> None:
    """A model without a localizer borrows the packaged one, and says so on the terminal and in the report."""
    code, told, said = generate(folder, "--json", "--reference-compat", "--offload")

    report = json.loads(told)
    assert code == 0
    assert said == "tiny has no localizer: keyvid-mini's hears the motion for it.\n"
    assert report["keyframe_source"] == "keyvid-mini"
    assert any(report["curve"])
    assert report["reference_compat"] is True


@pytest.mark.parametrize(
    ("listed", "complaint"),
    [
        ("1,2", "must ascend from 0, not 1, 2"),
        ("0,5,5", "must ascend from 0"),
        ("0,x", "is not a list such as"),
        ("0,1e999s", "is not a list such as"),
        ("0,1,2,3,4,5,6,7,8,9,10,48", "paints 12 keyframes, at most frame 47"),
        ("0,1,2", "paints 12 keyframes"),
    ],
)
def test_lists_that_are_no_plan_are_refused(folder: Path, listed: str, complaint: str) -> None:
    """Frames out of order or range, and too few of them."""
    code, _, error = generate(folder, "--keyframes", listed)

    assert code == 2
    assert complaint in error


def test_crop_shows_only_its_part(folder: Path) -> None:
    """`--image-crop` animates a part of the picture; of one colour the video is that of the whole."""
    picture = Image.new("RGB", (128, 64), "black")
    picture.paste("orange", (64, 32, 128, 64))
    picture.save(folder / "half.png")
    given = ("--keyframes", ",".join(str(frame) for frame in PLAN), "--seed", "3")
    assert generate(folder, *given)[0] == 0
    whole = (folder / "out.mp4").read_bytes()

    inputs = [str(folder / "half.png"), str(folder / "sound.wav")]
    options = ["--model", str(folder / "weights"), "-o", str(folder / "part.mp4"), "--num-inference-steps", "1"]
    result = CliRunner().invoke(app, ["generate", *inputs, *options, *given, "--image-crop", "64,32,64,32"])

    assert result.exit_code == 0
    assert (folder / "part.mp4").read_bytes() == whole
