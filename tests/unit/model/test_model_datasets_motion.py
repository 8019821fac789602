"""Motion scores of films with known motion: right, kept beside the clips, and measured once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from model.datasets.cli import app
from model.datasets.errors import DataError
from model.datasets.layout import DataClip, read_folder
from model.datasets.motion import dis_flow, load_raft, measure_clip, read_scores, score_clips, scores_path
from model.evaluation.networks.optical_flow import FlowConfig, FlowNetwork
from tests.films import click_track, moving_frames, texture, write_class_folder, write_film

if TYPE_CHECKING:
    from pathlib import Path


def test_dis_measures_how_far_a_texture_moves(tmp_path: Path) -> None:
    """Right by 0 or 3 px, then down and right by 2 + 1: scores are |u| + |v| within a tenth of a pixel or so."""
    shifts = [0] * 12 + [3] * 12 + [0] * 36
    write_film(tmp_path / "a.mp4", moving_frames(shifts, height=96, width=128), samples=click_track(2.5, [0.5]))

    scores = measure_clip(DataClip("a", tmp_path / "a.mp4", "", "train"), dis_flow())

    assert scores.shape == (59,)
    assert scores[:10].max() < 0.1
    assert np.median(scores[12:22]) == pytest.approx(3, abs=0.3)
    assert scores[26:].max() < 0.1


def test_dis_adds_both_directions() -> None:
    """A shift down by 2 and left by 1 scores three pixels."""
    picture = texture(96, 128)
    moved = np.roll(picture, (2, -1), axis=(0, 1))
    first, second = (torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() for frame in (picture, moved))

    flow = dis_flow()(first, second)[0, :, 16:-16, 16:-16]

    assert flow.mean(dim=(1, 2)).tolist() == pytest.approx([-1, 2], abs=0.15)


def test_scoring_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Only clips without whole scores are measured; a broken clip is reported and leaves no file."""
    write_class_folder(tmp_path, per_class=2, classes=["hammering"])
    (tmp_path / "train" / "hammering" / "broken.mp4").touch()
    clips = read_folder(tmp_path).clips
    first = score_clips(clips[1:2], "dis", dis_flow())
    scores_path(clips[2], "dis").write_bytes(b"cut")

    second = score_clips(clips, "dis", dis_flow())

    assert (first.scored, second.scored, second.kept) == (1, 1, 1)
    assert [error.fault for error in second.broken] == ["empty file"]
    assert len(read_scores(tmp_path, clips[2])) == 59
    assert not list(tmp_path.rglob("*.unfinished"))


def test_published_curves_are_read_too(tmp_path: Path) -> None:
    """The authors' folders, where names are cut at the first dot."""
    write_class_folder(tmp_path, per_class=1, classes=["hammering"])
    (clip,) = read_folder(tmp_path).clips
    curves = tmp_path / "train_curves_npy" / "hammering"
    curves.mkdir(parents=True)
    np.save(curves / "clip_0_0.npy", np.arange(59, dtype=np.float32))

    assert read_scores(tmp_path, clip)[3] == 3


def test_clip_without_scores_names_the_command(tmp_path: Path) -> None:
    """Nothing is trained with scores that are not there."""
    write_class_folder(tmp_path, per_class=1, classes=["hammering"])

    with pytest.raises(DataError, match="keyvid data motion-scores"):
        read_scores(tmp_path, read_folder(tmp_path).clips[0])


def test_raft_takes_its_weights_by_our_names_and_refuses_others(tmp_path: Path) -> None:
    """Whole weights load strictly; a missing or damaged file is an error of one line."""
    save_file(FlowNetwork(FlowConfig()).state_dict(), tmp_path / "raft.safetensors")
    (tmp_path / "cut.pth").write_bytes(b"PK")

    assert not load_raft(tmp_path / "raft.safetensors").training
    with pytest.raises(DataError, match="no file"):
        load_raft(tmp_path / "none.pth")
    with pytest.raises(DataError, match="damaged"):
        load_raft(tmp_path / "cut.pth")


def test_motion_scores_command_reports_what_it_did(tmp_path: Path) -> None:
    """The second run has nothing to do."""
    write_class_folder(tmp_path, per_class=1)
    arguments = ["data", "motion-scores", str(tmp_path)]

    results = [CliRunner().invoke(app, arguments) for _ in range(2)]

    assert [result.exit_code for result in results] == [0, 0]
    assert "2 clips scored" in results[0].stdout
    assert "0 clips scored, 2 had scores" in results[1].stdout
