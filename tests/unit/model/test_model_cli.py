"""The commands that need no service."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from model import AudioClip, KeyVIDPipeline
from model.cli import app
from model.config import tiny
from model.media.audio import write_wav
from model.media.video import read_video
from model.plot import draw_generation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a picture, a sound and tiny weights."""
    folder = tmp_path_factory.mktemp("cli")
    Image.new("RGB", (200, 100), "orange").save(folder / "picture.jpg")
    clicks = torch.zeros(1, 44_100)
    clicks[:, 5_000::11_025] = 0.9
    write_wav(AudioClip(clicks, 22_050), folder / "sound.wav")
    KeyVIDPipeline.from_config(tiny()).save_pretrained(folder / "weights")
    return folder


def run(folder: Path, command: str, *arguments: str) -> tuple[int, str, str]:
    """Run a command with the tiny model."""
    result = CliRunner().invoke(app, [command, *arguments, "--model", str(folder / "weights")])
    return result.exit_code, result.stdout, result.stderr


def test_generate_writes_the_video_and_tells_its_path(folder: Path) -> None:
    """Without --json only the path is printed."""
    output = folder / "out.mp4"

    code, told, _ = run(
        folder, "generate", str(folder / "picture.jpg"), str(folder / "sound.wav"), "-p", "a clock", "-o", str(output)
    )

    assert (code, told.strip()) == (0, str(output))
    assert read_video(output).frames.shape == (48, 64, 128, 3)


def test_generate_reports_json_and_repeats_by_seed(folder: Path) -> None:
    """The same seed gives the same file, and the report holds what another run needs."""
    reports, files = [], []
    for name in ("one.mp4", "two.mp4"):
        inputs = (str(folder / "picture.jpg"), str(folder / "sound.wav"))
        code, told, _ = run(
            folder, "generate", *inputs, "-o", str(folder / name), "--seed", "5", "--json", "--num-inference-steps", "1"
        )
        assert code == 0
        reports.append(json.loads(told))
        files.append((folder / name).read_bytes())

    assert files[0] == files[1]
    assert reports[0]["seed"] == 5
    assert len(reports[0]["curve"]) == 48
    assert len(reports[0]["keyframes"]["indices"]) == 12
    assert set(reports[0]["seconds"]) == {"localization", "keyframes", "interpolation"}


def test_localize_draws_and_lists(folder: Path) -> None:
    """The table names every keyframe, JSON holds the curve, and the plot is a picture."""
    plot = folder / "plot.png"

    code, table, _ = run(folder, "localize", str(folder / "sound.wav"), "--plot", str(plot))
    _, told, _ = run(folder, "localize", str(folder / "sound.wav"), "--json")

    report = json.loads(told)
    assert code == 0
    assert all(str(index) in table for index in report["keyframes"]["indices"])
    assert report["keyframes"]["seconds"] == [round(index / 24, 4) for index in report["keyframes"]["indices"]]
    with Image.open(plot) as picture:
        assert picture.width > 1000


def test_a_finished_video_can_be_drawn(folder: Path) -> None:
    """The drawing needs only files and the reported keyframes."""
    inputs = (str(folder / "picture.jpg"), str(folder / "sound.wav"))
    _, told, _ = run(folder, "generate", *inputs, "-o", str(folder / "drawn.mp4"), "--json")
    report = json.loads(told)

    draw_generation(
        folder / "drawn.mp4",
        folder / "sound.wav",
        {"indices": report["keyframes"]["indices"], **{name: report[name] for name in ("curve", "peaks", "valleys")}},
        folder / "drawn.png",
    )

    with Image.open(folder / "drawn.png") as picture:
        assert picture.height > 600


@pytest.mark.parametrize(
    ("picture", "sound", "options", "code"),
    [
        ("missing.jpg", "sound.wav", (), 2),
        ("picture.jpg", "missing.wav", (), 2),
        ("sound.wav", "sound.wav", (), 2),
        ("picture.jpg", "picture.jpg", (), 2),
        ("picture.jpg", "sound.wav", ("--audio-start", "30"), 2),
        ("picture.jpg", "sound.wav", ("--audio-start", "nan"), 2),
        ("picture.jpg", "sound.wav", ("--audio-start", "inf"), 2),
        ("picture.jpg", "sound.wav", ("--device", "banana"), 2),
        ("picture.jpg", "sound.wav", ("--seed", "-1"), 2),
        ("picture.jpg", "sound.wav", ("--guidance-audio", "nan"), 2),
        ("picture.jpg", "sound.wav", ("--image-crop", "0,0,9999,10"), 2),
        ("picture.jpg", "sound.wav", ("--image-crop", "a,b"), 2),
    ],
)
def test_bad_input_is_one_clear_line(
    folder: Path, picture: str, sound: str, options: tuple[str, ...], code: int
) -> None:
    """The exit code is 2 and the message no stack trace; nothing is written."""
    output = folder / "bad.mp4"

    exit_code, told, complaint = run(
        folder, "generate", str(folder / picture), str(folder / sound), "-o", str(output), *options
    )

    assert exit_code == code
    assert told == ""
    assert "Traceback" not in complaint
    assert complaint.strip()
    assert not output.exists()


def test_missing_weights_are_an_error_of_the_model(folder: Path) -> None:
    """The exit code tells the operator's errors from the caller's."""
    result = CliRunner().invoke(app, ["localize", str(folder / "sound.wav"), "--model", str(folder / "nothing")])

    assert result.exit_code == 1
    assert "no weights" in result.stderr


def test_importing_the_package_loads_no_torch() -> None:
    """The command table and the API can ask what there is without paying for torch."""
    code = "import sys, model, model.cli; assert model.__all__; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
