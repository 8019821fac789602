"""Stored numbers of the published code, reproduced: the cases that `keyvid parity` would run on the same folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from model.evaluation.parity.cli import app
from model.evaluation.parity.fill import labelled_normal
from model.evaluation.parity.network_cases import small_unet
from model.evaluation.parity.runner import StoredCase, find_cases, run_case

DATA = Path(__file__).parent / "data"
CASES = find_cases(DATA)


@pytest.mark.parametrize("stored", CASES, ids=lambda stored: stored.name)
def test_case_agrees_with_the_published_numbers(stored: StoredCase) -> None:
    """Every tensor of a stored case is reproduced within its tolerance."""
    result = run_case(stored)

    assert result.problem is None
    assert [comparison for comparison in result.comparisons if not comparison.is_within] == []


@torch.inference_mode()
def test_windows_change_the_interpolation() -> None:
    """The paper's windowed variant is another network evaluation, not the released one under another name."""
    golden = load_file(DATA / "b1_unet_interp48_full.safetensors")
    windowed = load_file(DATA / "b2_unet_interp48_windowed.safetensors")["output"]

    assert (windowed - golden["output"]).abs().max() > 1e-2


@torch.inference_mode()
def test_a_disturbed_network_is_noticed() -> None:
    """Weights that differ by a thousandth in one small tensor leave the tolerance of the stored output."""
    case = next(case for case in CASES if case.name == "a_unet_keyframe")
    golden = load_file(case.path)
    network = small_unet(case.settings, stage="keyframes")
    batch, frames = golden["in.x"].shape[0], golden["in.x"].shape[2]
    context = labelled_normal("a_unet_keyframe/context", batch, 77 + 16 * frames, 1024)

    network.output_convolution.weight *= 1.001
    output = network(
        golden["in.x"],
        golden["timesteps"],
        context=network.read(
            text=context[:, :77],
            image=context[:, 77:].reshape(batch, frames, 16, -1),
            audio=labelled_normal("a_unet_keyframe/c_audio", batch, frames, 12, 768),
        ),
        fps=golden["fs"],
        frame_index=golden["frame_idx"],
    )

    assert (output - golden["output"]).abs().max() > 1e-4 * golden["output"].abs().max()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one small case and its listing."""
    shutil.copy(DATA / "d2_training_target.safetensors", tmp_path)
    entry = {"file": "d2_training_target", "kind": "training_target", "tolerance": 1e-6}
    (tmp_path / "cases.json").write_text(json.dumps({"cases": [entry]}))
    return tmp_path


def test_command_reports_agreement(folder: Path) -> None:
    """A folder whose cases all agree is a success, in JSON with every compared tensor."""
    outcome = CliRunner().invoke(app, [str(folder), "--json"])

    report = json.loads(outcome.stdout)
    assert outcome.exit_code == 0
    assert report["passed"] is True
    assert [tensor["name"] for tensor in report["cases"][0]["tensors"]] == ["x_start_scaled", "x_noisy", "v_target"]


def test_command_fails_on_other_numbers(folder: Path) -> None:
    """One value that differs ends the command with 1 and names the tensor."""
    path = folder / "d2_training_target.safetensors"
    tensors = load_file(path)
    tensors["v_target"][0, 0, 0, 0, 0] += 1e-3
    save_file(tensors, path)

    outcome = CliRunner().invoke(app, [str(folder)])

    assert outcome.exit_code == 1
    assert "v_target" in outcome.stdout
    assert "0 of 1 cases agree" in outcome.stdout


@pytest.mark.parametrize("damage", ["unknown kind", "missing file", "missing tensor"])
def test_command_fails_on_cases_that_cannot_run(folder: Path, damage: str) -> None:
    """A case that cannot be checked is a failure with a reason, and not left out."""
    path = folder / "d2_training_target.safetensors"
    if damage == "unknown kind":
        path.rename(folder / "sorcery.safetensors")
        (folder / "cases.json").unlink()
    elif damage == "missing file":
        path.unlink()
    else:
        save_file({"t": torch.zeros(1, dtype=torch.long)}, path)

    outcome = CliRunner().invoke(app, [str(folder), "--json"])

    case = json.loads(outcome.stdout)["cases"][0]
    assert outcome.exit_code == 1
    assert case["passed"] is False
    assert case["problem"]


def test_cases_are_found_below_the_folder_and_by_name(folder: Path) -> None:
    """A folder may hold a listed folder and an unlisted one, whose files are named after their kinds."""
    below = folder / "sound"
    below.mkdir()
    shutil.copy(DATA / "mel_constants.safetensors", below / "other_mel_constants.safetensors")

    kinds = {case.name: case.kind for case in find_cases(folder)}

    assert kinds == {"d2_training_target": "training_target", "other_mel_constants": "mel_constants"}


@pytest.mark.parametrize("listing", ["{", "[]", '{"cases": [{"file": "a"}]}', '{"cases": [3]}', '{"cases": 3}'])
def test_command_refuses_a_broken_listing(folder: Path, listing: str) -> None:
    """A listing that cannot be read is named in one line."""
    (folder / "cases.json").write_text(listing)

    outcome = CliRunner().invoke(app, [str(folder)])

    assert outcome.exit_code == 2
    assert "cases.json" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_case_without_its_settings_says_what_it_lacks(folder: Path) -> None:
    """Files that need a listing are a failure with that reason where there is none."""
    shutil.copy(DATA / "e1_ddim_eta1.safetensors", folder)

    results = {case.name: run_case(case) for case in find_cases(folder)}

    assert results["e1_ddim_eta1"].problem == "the case does not say 'guidance': it is stored, or listed in cases.json"


def test_command_refuses_a_folder_without_cases(tmp_path: Path) -> None:
    """A folder without cases proves nothing, which is an error of its own."""
    outcome = CliRunner().invoke(app, [str(tmp_path)])

    assert outcome.exit_code == 2
    assert "no reference cases" in outcome.stderr
