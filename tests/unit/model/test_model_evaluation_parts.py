"""Judge, settings, photographs and drawings, and the command that puts them together."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from model.clips import AudioClip
from model.config import keyvid_mini, tiny
from model.errors import CheckpointMismatch, CheckpointMissing, InvalidInput
from model.evaluation.cli import app
from model.evaluation.drawing import draw_contact_sheet, frames_to_show, plot_settings
from model.evaluation.judge import SyncJudge
from model.evaluation.networks.sync_classifier import SyncClassifier, SyncClassifierConfig
from model.evaluation.networks.sync_windows import JudgeConfig
from model.evaluation.photographs import PHOTOGRAPHS, Photograph, folded_share, photograph_table, read_photographs
from model.evaluation.photographs import sharpness as measure_sharpness
from model.evaluation.scenes import SceneKey
from model.evaluation.session import PARTS
from model.evaluation.settings import Setting, read_settings, settings_table, with_setting
from model.pipeline import KeyVIDPipeline
from model.serialization import to_json

SMALL_JUDGE = JudgeConfig(SyncClassifierConfig(widths=(4, 4, 8, 8), hidden=(8, 8)), height=16, width=24)


def quick_mini() -> KeyVIDPipeline:
    """keyvid-mini with random weights and one step a stage."""
    config = keyvid_mini()
    stages = {name: replace(getattr(config, name), num_inference_steps=1) for name in ("keyframes", "interpolation")}
    return KeyVIDPipeline.from_config(replace(config, **stages))


def width_of(path: Path) -> int:
    """Width of a picture in pixels."""
    with Image.open(path) as picture:
        return picture.width


def save_judge(folder: Path) -> None:
    """A small judge with random weights."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(to_json(SMALL_JUDGE)))
    save_file(SyncClassifier(SMALL_JUDGE.classifier).state_dict(), folder / "model.safetensors")


def test_judge_reads_a_video_of_any_length(tmp_path: Path) -> None:
    """A still video's single frames all fit alike; its features have the network's width."""
    save_judge(tmp_path / "judge")
    judge = SyncJudge.from_pretrained(tmp_path / "judge")
    frames = np.full((48, 64, 96, 3), 100, np.uint8)

    reading = judge.read(frames, AudioClip(torch.randn(1, 32_000) * 0.1, 16_000))

    assert reading.alignment == pytest.approx(0.5)
    assert reading.features.shape == (8,)
    assert np.isfinite(reading.score)


def test_judge_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    """Nothing there, or weights of another size."""
    with pytest.raises(CheckpointMissing):
        SyncJudge.from_pretrained(tmp_path)
    save_judge(tmp_path / "judge")
    other = replace(SMALL_JUDGE, classifier=replace(SMALL_JUDGE.classifier, widths=(4, 4, 8, 16)))
    (tmp_path / "judge" / "config.json").write_text(json.dumps(to_json(other)))
    with pytest.raises(CheckpointMismatch):
        SyncJudge.from_pretrained(tmp_path / "judge")


def test_settings_change_steps_and_guidance_and_nothing_else() -> None:
    """The networks are the same objects."""
    pipeline = quick_mini()

    other = with_setting(pipeline, Setting(6, 4, 2.0))

    assert other.config.keyframes.num_inference_steps == 6
    assert other.config.interpolation.num_inference_steps == 4
    assert other.config.keyframes.guidance.audio == 2.0
    assert other.components is pipeline.components


def test_settings_are_timed_and_plotted(tmp_path: Path) -> None:
    """Every scene is made with every setting, and what each took is told."""
    scenes = [SceneKey("held-out", 1).make(height=320, width=512)]
    made: list[None] = []

    draft, one_step = read_settings(
        quick_mini(), scenes, (Setting(0, 0), Setting(1, 1)), on_video=lambda: made.append(None)
    )
    plot_settings(tmp_path / "plot.png", [draft, one_step])

    assert min(draft.seconds, one_step.seconds) > 0
    assert len(made) == 2
    assert [name for name, _ in settings_table([draft, one_step], 1).rows] == ["draft alone", "1 + 1 steps"]
    assert width_of(tmp_path / "plot.png") > 1000


def test_settings_need_a_draft_to_start_from() -> None:
    """Other models have no curve of this kind."""
    with pytest.raises(CheckpointMismatch, match="draft"):
        read_settings(KeyVIDPipeline.from_config(tiny()), [])


def test_photograph_without_its_package_names_the_remedy() -> None:
    """The message says what to install."""
    with pytest.raises(InvalidInput, match=r"pip install .\.\[eval\]"):
        replace(PHOTOGRAPHS[0], package="no_such_package").read(height=320, width=512)


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda photograph: photograph.name)
def test_photographs_are_there_and_sound(photograph: Photograph) -> None:
    """Every photograph is read at the model's size, and something is heard in its two seconds."""
    image = photograph.read(height=320, width=512)
    audio, events = photograph.sound()

    assert image.size == (320, 512)
    assert float(image.pixels.std()) > 0.1
    assert audio.samples.shape == (1, 32_000)
    assert events


def test_photograph_is_animated_measured_and_drawn(tmp_path: Path) -> None:
    """The first frame is the photograph; figures are finite; the sheet has a row for it."""
    (reading,) = read_photographs(quick_mini(), PHOTOGRAPHS[3:4])
    draw_contact_sheet(tmp_path / "sheet.png", [reading])
    shown = frames_to_show(reading)

    pixels = PHOTOGRAPHS[3].read(height=320, width=512).pixels.permute(1, 2, 0).numpy()
    assert np.abs((pixels + 1) * 127.5 - reading.frames[0]).max() <= 1
    assert 0 <= reading.still_share <= 1
    assert reading.reach_px.shape == (320, 512)
    assert shown[0] == 0
    assert len(shown) == len(set(shown)) == 5
    assert list(shown) == sorted(shown)
    assert [name for name, _ in photograph_table([reading, reading]).rows][-1] == "all"
    assert width_of(tmp_path / "sheet.png") > 1000


def test_blur_costs_sharpness() -> None:
    """Averaging neighbours leaves a fraction of the Laplacian's variance."""
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blurred = ((frame.astype(int) + np.roll(frame, 1, 0)) // 2).astype(np.uint8)

    sharp, soft = measure_sharpness(np.stack([frame, blurred]))

    assert soft < 0.8 * sharp


def test_only_a_warp_that_turns_over_folds() -> None:
    """A slope below one stretches, a slope above one tears."""
    ramp = np.zeros((1, 2, 32, 32), np.float32)
    ramp[0, 0] = -0.5 * np.arange(32)

    assert folded_share(ramp) == 0
    assert folded_share(3 * ramp) == 1


def test_command_measures_what_it_is_asked_for(tmp_path: Path) -> None:
    """Localization alone, on few clips, on the terminal and in both files."""
    quick_mini().save_pretrained(tmp_path / "model")
    files = [tmp_path / "numbers.json", tmp_path / "tables.md"]

    result = CliRunner().invoke(
        app,
        [
            *("localization", "--model", str(tmp_path / "model"), "--heard-clips", "4", "--workers", "1"),
            *("--json", str(files[0]), "--markdown", str(files[1])),
        ],
    )

    assert result.exit_code == 0, result.output
    assert set(json.loads(files[0].read_text())["tables"]) == {"localization"}
    assert "| localizer |" in files[1].read_text()


def test_command_measures_videos_of_chosen_rows(tmp_path: Path) -> None:
    """Two clips, two rows, with a judge: sync, motion and the judge's table."""
    quick_mini().save_pretrained(tmp_path / "model")
    save_judge(tmp_path / "judge")
    numbers = tmp_path / "numbers.json"

    result = CliRunner().invoke(
        app,
        [
            *("held-out", "--model", str(tmp_path / "model"), "--clips", "2", "--workers", "1"),
            *("--rows", "draft alone; ground truth", "--judge", str(tmp_path / "judge"), "--json", str(numbers)),
        ],
    )

    assert result.exit_code == 0, result.output
    tables = json.loads(numbers.read_text())["tables"]
    assert {"sync", "motion", "judge"} <= set(tables)
    assert set(tables["motion"]["rows"]) == {"draft alone", "ground truth"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["everything"], "No part 'everything'"),
        (["held-out", "--rows", "best"], "No row 'best'"),
        (["localization", "--model", "/nowhere"], "no weights"),
        (["unheard", "--rows", "ground truth"], "no such row is among --rows"),
    ],
)
def test_command_says_what_it_does_not_know(arguments: list[str], message: str) -> None:
    """One line, and exit status 2."""
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert message in result.output


def test_command_names_exactly_the_parts_there_are() -> None:
    """The list that is printed without loading torch is that of the session."""
    result = CliRunner().invoke(app, ["nonsense"])

    assert result.output.strip().endswith(f"there are: {'; '.join(PARTS)}.")
