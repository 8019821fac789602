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
    """Without them it says that they must be given."""
    code, _, complaint = generate(folder)
    assert (code, complaint) == (1, "keyvid: tiny has no localizer: its keyframes must be given\n")

    code, told, _ = generate(folder, "--json", "--keyframes", ",".join(map(str, PLAN)))

    assert code == 0
    assert json.loads(told)["keyframes"]["indices"] == PLAN


@pytest.mark.parametrize(
    ("listed", "complaint"),
    [
        ("1,2", "is not an ascending list from 0 to at most 47"),
        ("0,x", "is not an ascending list"),
        ("0,9,48", "is not an ascending list"),
        ("0,1,2", "lists 3 frames; the model paints 12"),
    ],
)
def test_lists_that_are_no_plan_are_refused(folder: Path, listed: str, complaint: str) -> None:
    """Frames out of order or range, and too few of them."""
    code, _, error = generate(folder, "--keyframes", listed)

    assert code == 2
    assert complaint in error
