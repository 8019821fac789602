"""`keyvid weights` on the command line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from model import KeyVIDPipeline
from model.checkpoints import assembly
from model.checkpoints.cli import app
from model.checkpoints.manifest import ARTIFACTS, PublishedFile
from tests import published

if TYPE_CHECKING:
    from click.testing import Result


def run(*args: object) -> Result:
    """Run `keyvid weights`."""
    return CliRunner().invoke(app, ["weights", *map(str, args)])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as `pull` leaves it: each artifact in a folder of its own."""
    folder = tmp_path_factory.mktemp("published")
    for stage in ("keyframes", "interpolation"):
        (folder / stage).mkdir()
        save_file(published.stage_tensors(stage), folder / stage / "model.safetensors")
    (folder / "clip-vocabulary").mkdir()
    published.write_vocabulary(folder / "clip-vocabulary")
    return folder


@pytest.fixture(autouse=True)
def _scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert to the scaled model instead of keyvid-512."""
    scaled = partial(assembly.ConversionRequest, config=published.scaled_config())
    monkeypatch.setattr(assembly, "ConversionRequest", scaled)


def test_the_list_names_what_is_needed() -> None:
    """As a table, and as JSON with every field."""
    listed = json.loads(run("list", "--json").stdout)

    assert [row["name"] for row in listed] == [artifact.name for artifact in ARTIFACTS]
    assert {row["name"] for row in listed if row["is_needed"]} == {
        "keyvid-keyframes",
        "keyvid-interpolation",
        "clip-vocabulary",
    }
    assert "keyvid-interpolation" in run("list").stdout


def test_the_page_describes_every_artifact() -> None:
    """docs/weights.md has a row for each, with its files and where they are."""
    page = (Path(__file__).parents[3] / "docs/weights.md").read_text(encoding="utf-8")

    for artifact in ARTIFACTS:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{artifact.name}` |"))
        assert all(any(path.rpartition("/")[2] in row for path in file.paths) for file in artifact.files)
        assert artifact.repo is None or artifact.repo in row or artifact.name == "openclip"


def test_a_folder_is_converted_and_verified(files: Path, tmp_path: Path) -> None:
    """The whole folder is the argument; the report says where each component is from, and what comes next."""
    out = tmp_path / "keyvid-512"

    converted = run("convert", files, "--out", out, "--dtype", "bf16")
    verified = run("verify", out)

    assert converted.exit_code == 0, converted.output
    assert "KeyVID's keyframe checkpoint" in converted.stdout
    assert "none: keyvid-mini's is borrowed, or keyframes are given" in converted.stdout
    assert f"--model {out}" in converted.stdout
    assert verified.stdout == f"{out}: 8 files are whole\n"
    assert KeyVIDPipeline.from_pretrained(out).config.name == "scaled"


def test_damage_is_found(files: Path, tmp_path: Path) -> None:
    """Half of the shards, a changed byte, and a folder of something else each end with one line and status 1."""
    out = tmp_path / "out"
    assert run("convert", files, "--out", out).exit_code == 0
    unet, codec = out / "keyframes_unet/model.safetensors", out / "codec/model.safetensors"

    data = bytearray(unet.read_bytes())
    data[-1] ^= 1
    unet.write_bytes(data)
    assert "keyframes_unet/model.safetensors has changed" in failure("verify", out)
    unet.write_bytes(data[:-1])
    assert "keyframes_unet/model.safetensors is damaged" in failure("verify", out)
    save_file({}, unet)
    assert "is missing" in failure("verify", out)
    unet.unlink()
    codec.unlink()
    assert "keyframes_unet/model.safetensors, codec/model.safetensors not found" in failure("verify", out)
    assert "has neither model_index.json nor checksums.json" in failure("verify", tmp_path)


def failure(*args: object) -> str:
    """First line of a command that fails with status 1."""
    result = run(*args)
    assert result.exit_code == 1, result.output
    return next(line for line in result.stderr.splitlines() if line.startswith("keyvid: "))


def test_wrong_words_are_explained(files: Path, tmp_path: Path) -> None:
    """An unknown artifact, an empty folder and a choice that is none."""
    (tmp_path / "empty").mkdir()

    assert "nothing is called keyvid-513; there are keyvid-512, keyvid-keyframes" in failure("pull", "keyvid-513")
    assert "has no file of weights" in failure("convert", tmp_path / "empty", "--out", tmp_path / "out")
    assert "does not name one of the given files" in failure(
        "convert", files, "--out", tmp_path / "out", "--take", "codec=nowhere.ckpt"
    )
    assert "is not on the hub: get imagebind_huge.pth from https://" in failure(
        "pull", "imagebind", "--out", tmp_path / "pulled"
    )


def test_a_hash_of_another_length_is_refused() -> None:
    """A manifest with half a hash does not load."""
    with pytest.raises(ValueError, match="is not a SHA-256"):
        PublishedFile(("a",), sha256="12")
