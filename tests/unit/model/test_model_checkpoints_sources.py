"""Opening published files: what each is, and what is refused."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from model.checkpoints import sources
from model.checkpoints.sources import SourceKind, open_source
from model.errors import CheckpointMismatch, CheckpointMissing

if TYPE_CHECKING:
    from pathlib import Path

UNET = "model.diffusion_model."


class Hostile:
    """A pickle of this writes a file when it is opened."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        """Tell pickle to open the target for writing."""
        return open, (str(self.target), "w")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([f"{UNET}out.2.bias", f"{UNET}audio_proj_2.bias", f"{UNET}frame_idx_embedding.0.bias"], sources.KEYFRAMES),
        ([f"{UNET}audio_proj_2.bias", "imagebind_model.modality_trunks.x"], sources.INTERPOLATION),
        ([f"{UNET}out.2.bias"], sources.DYNAMICRAFTER),
        (["modality_preprocessors.audio.cls_token"], sources.IMAGEBIND),
        (["positional_embedding", "visual.conv1.weight"], sources.OPEN_CLIP),
        (["encoder.down.0.block.0.conv1.bias"], sources.VAE),
        (["encoder.down_blocks.0.resnets.0.conv1.bias"], sources.DIFFUSERS_VAE),
        (["ada_bias", "imagebindMoodel.modality_trunks.audio.x"], sources.LOCALIZER),
    ],
)
@pytest.mark.parametrize("root", [None, "state_dict", "module"])
def test_files_are_told_apart_by_their_names(
    tmp_path: Path, names: list[str], kind: SourceKind, root: str | None
) -> None:
    """The kind follows from names alone, wherever a training framework put the table and whatever it put before."""
    prefix = "_forward_module." if root == "module" else ""
    tensors = {prefix + name: torch.zeros(1) for name in names}
    torch.save({root: tensors, "epoch": 1} if root else tensors, tmp_path / "any.ckpt")

    source = open_source(tmp_path / "any.ckpt")

    assert source.kind is kind
    assert list(source.shapes) == names


def test_a_hostile_pickle_is_refused(tmp_path: Path) -> None:
    """What it wants to run is named, and does not run."""
    hostile = {"state_dict": Hostile(tmp_path / "harm")}
    torch.save(hostile, tmp_path / "zipped.ckpt")
    torch.save(hostile, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.bin").write_bytes(pickle.dumps(hostile, protocol=2))

    for name in ("zipped.ckpt", "old.pth", "bare.bin"):
        with pytest.raises(CheckpointMismatch, match=rf"{name} wants to run \w+\.open when it is opened"):
            open_source(tmp_path / name)

    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 7, 1000, -1])
def test_a_truncated_file_is_called_damaged(tmp_path: Path, suffix: str, kept: int) -> None:
    """However much of it is left."""
    file = tmp_path / f"cut{suffix}"
    tensors = {f"{UNET}out.2.bias": torch.zeros(5000)}
    if suffix == ".ckpt":
        torch.save(tensors, file)
    else:
        save_file(tensors, file)
    file.write_bytes(file.read_bytes()[:kept])

    with pytest.raises(CheckpointMismatch, match="is damaged") as caught:
        open_source(file)

    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """No file, an error page, another network, something that is no tensor, and a doubled name each have their line."""
    with pytest.raises(CheckpointMissing, match=r"there is no file .*none\.ckpt"):
        open_source(tmp_path / "none.ckpt")
    (tmp_path / "page.ckpt").write_text("<html>Not found</html>")
    contents = {
        "resnet.ckpt": ({"layer1.0.conv1.weight": torch.zeros(1)}, "its first tensor is layer1.0.conv1.weight"),
        "empty.ckpt": ({}, "it has no tensors"),
        "number.ckpt": (3, "holds no table of tensors: give"),
        "mixed.ckpt": ({"state_dict": {"a": torch.zeros(1), "b": 3}}, "b is not a tensor"),
        "twice.ckpt": (
            {"module": {"a": torch.zeros(1), "_forward_module.a": torch.zeros(1)}},
            "a is there twice; save",
        ),
    }
    for name, (data, _) in contents.items():
        torch.save(data, tmp_path / name)
    complaints = {"page.ckpt": "is damaged", **{name: complaint for name, (_, complaint) in contents.items()}}

    for name, complaint in complaints.items():
        with pytest.raises(CheckpointMismatch, match=rf"{name}.*{complaint}"):
            open_source(tmp_path / name)


def test_what_is_left_out_has_a_reason(tmp_path: Path) -> None:
    """DynamiCrafter's own networks are dropped by name; what nobody declared is not."""
    names = [f"{UNET}out.2.bias", "image_proj_model.latents", "betas", "cond_stage_model.model.logit_scale", "stranger"]
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / "model.ckpt")

    source = open_source(tmp_path / "model.ckpt")

    assert source.unexplained() == ["stranger"]
    assert source.left_out() == {
        "KeyVID's training began with them and ends with its own": 2,
        "the schedule is computed, not loaded": 1,
        "prompts are read as tokens, not as one embedding": 1,
    }
