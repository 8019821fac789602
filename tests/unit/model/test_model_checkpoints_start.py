"""Start weights from DynamiCrafter's names: what is kept, what is new, and that training takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoints.assembly import ConversionRequest
from model.checkpoints.conversion import convert
from model.checkpoints.keymap import UNET
from model.checkpoints.start import stretched_queries, write_start
from model.config import keyvid_512
from model.errors import CheckpointMissing
from model.pretrained import read_config
from model.training.listening_task import listening_config
from model.training.published import build_task, load_start
from model.training.published_recipes import interpolation, keyframes, localizer
from tests import published

if TYPE_CHECKING:
    from pathlib import Path

NEW = ("to_k_ap", "to_v_ap", "attn2.beta", "audio_proj_2", "frame_idx_embedding")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DynamiCrafter's and ImageBind's files at a small size, and the vocabulary."""
    folder = tmp_path_factory.mktemp("dynamicrafter")
    whole = published.stage_tensors("keyframes")
    known = {name: tensor for name, tensor in whole.items() if not any(part in name for part in NEW)}
    sounds = {name.removeprefix("imagebind_model."): known.pop(name) for name in list(known) if "imagebind" in name}
    queries = known["image_proj_model.latents"]
    known["image_proj_model.latents"] = queries[:, : queries.shape[1] // 3].clone()
    save_file(known, folder / "model.safetensors")
    save_file(sounds, folder / "imagebind.safetensors")
    published.write_vocabulary(folder)
    return folder


@pytest.fixture(scope="module")
def start(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The start folder made from them."""
    out = tmp_path_factory.mktemp("out") / "start"
    sources = (files / "model.safetensors", files / "imagebind.safetensors")
    write_start(ConversionRequest(sources, config=published.scaled_config()), out)
    return out


def test_network_begins_as_dynamicrafter_and_deaf(files: Path, start: Path) -> None:
    """Every tensor of DynamiCrafter's UNet is kept; sound keys, values, gates and the index's last layer are zero."""
    given = convert(load_file(files / "model.safetensors"), UNET)
    for stage in ("keyframes_unet", "interpolation_unet"):
        own = load_file(start / stage / "model.safetensors")
        assert all(own[name].equal(tensor) for name, tensor in given.items())
        new = own.keys() - given.keys()
        zeros = {name for name in new if not own[name].any()}
        assert {name for name in new if ".audio_" in name} <= zeros
        assert own["audio_projection.weight"].any()
        assert any(name.startswith("frame_index_embedding") for name in new) == (stage == "keyframes_unet")


def test_recipes_start_from_it(start: Path) -> None:
    """Both stages and the localizer, which the folder does not hold, are built from it."""
    config = read_config(start)
    components = load_start(start, config)

    assert config.localizer is None
    for recipe in (localizer(), keyframes(), interpolation()):
        task = build_task(recipe, config, components)
        assert any(parameter.requires_grad for parameter in task.parameters())


def test_localizer_without_a_published_one_has_the_published_size() -> None:
    """What the start folder lacks is what keyvid-512 has."""
    config = keyvid_512()

    assert listening_config(replace(config, localizer=None), "released") == config.localizer


def test_queries_are_stretched_over_frames() -> None:
    """Sixteen frames become 48: ends stay, and a ramp over frames stays one."""
    config = keyvid_512()
    ramp = torch.arange(16.0).view(1, 16, 1, 1).expand(1, 16, 16, 4).reshape(1, 256, 4)

    stretched = stretched_queries(ramp, config).view(48, 16, 4)

    assert stretched[0].eq(0).all()
    assert stretched[-1].eq(15).all()
    torch.testing.assert_close(stretched[1:-1, 0, 0].diff(), torch.full((45,), 1 / 3), atol=1e-5, rtol=0)


def test_start_needs_dynamicrafter(files: Path, tmp_path: Path) -> None:
    """Other files alone are refused by name."""
    request = ConversionRequest((files / "imagebind.safetensors",), config=published.scaled_config())

    with pytest.raises(CheckpointMissing, match="DynamiCrafter"):
        write_start(request, tmp_path / "start")

    assert not (tmp_path / "start").exists()
