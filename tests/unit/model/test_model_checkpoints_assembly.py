"""Conversion of published files at small sizes: what comes out, what is refused, what is left behind."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from model import AudioClip, GenerationParams, ImageFrame, KeyVIDPipeline
from model.checkpoints import assembly, keymap
from model.checkpoints.assembly import ConversionRequest, UnfitWeights, convert_checkpoints
from model.checkpoints.conversion import convert
from model.checkpoints.verification import verify
from model.encoders.audio import resize_time_positions
from model.errors import CheckpointError, CheckpointMismatch, CheckpointMissing
from tests import published

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

POSITIONS = "imagebind_model.modality_preprocessors.audio.pos_embedding_helper.pos_embed"


@pytest.fixture(scope="module")
def stages() -> dict[str, dict[str, Tensor]]:
    """Tensors of both stages' checkpoints."""
    return {stage: published.stage_tensors(stage) for stage in ("keyframes", "interpolation")}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, stages: dict[str, dict[str, Tensor]]) -> Path:
    """Return a folder with both checkpoints, the localizer, and a vocabulary."""
    folder = tmp_path_factory.mktemp("published")
    for stage, tensors in stages.items():
        save_file(tensors, folder / f"{stage}.safetensors")
    torch.save(published.localizer_tensors(), folder / "localizer.pth")
    published.write_vocabulary(folder)
    return folder


def request(folder: Path, *names: str, dtype: torch.dtype = torch.float32, **chosen: str) -> ConversionRequest:
    """Ask for the scaled model from files of a folder."""
    return ConversionRequest(
        tuple(folder / name for name in names),
        unet_dtype=dtype,
        chosen={component: folder / name for component, name in chosen.items()},
        config=published.scaled_config(),
    )


def both(folder: Path, *others: str, **options: str) -> ConversionRequest:
    """Ask for the scaled model from both checkpoints and other files."""
    return request(folder, "interpolation.safetensors", "keyframes.safetensors", *others, **options)


def altered(files: Path, folder: Path, stage: str, change: Callable[[dict[str, Tensor]], object]) -> Path:
    """Copy the published files with one checkpoint changed."""
    shutil.copytree(files, folder)
    tensors = load_file(folder / f"{stage}.safetensors")
    change(tensors)
    save_file(tensors, folder / f"{stage}.safetensors")
    return folder


def test_published_files_become_a_model_that_generates(
    files: Path, stages: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    """Every tensor of Lightning's files arrives unchanged, the folder verifies, and the pipeline runs from it."""
    for stage, tensors in stages.items():
        torch.save({"epoch": 859, "state_dict": tensors}, tmp_path / f"{stage}.ckpt")
    shutil.copy(files / "localizer.pth", tmp_path)
    published.write_vocabulary(tmp_path)

    result = convert_checkpoints(
        request(tmp_path, "localizer.pth", "interpolation.ckpt", "keyframes.ckpt"), tmp_path / "out"
    )

    pipeline = KeyVIDPipeline.from_pretrained(tmp_path / "out")
    for name, rules in {**published.KEYFRAMES, **published.ENCODERS}.items():
        expected = convert(stages["keyframes"], rules)
        loaded = pipeline.components.modules()[name].state_dict()
        assert all(torch.equal(loaded[key], tensor) for key, tensor in expected.items()), name
    own = pipeline.components.interpolation_resampler
    assert own is not None
    assert torch.equal(own.state_dict()["queries"], stages["interpolation"]["image_proj_model.latents"])
    assert result.left_out["never executed by the release"] == 2 * 51
    assert len(verify(tmp_path / "out")) == 9
    frame = ImageFrame(torch.zeros(3, 64, 64))
    params = GenerationParams(seed=1, num_inference_steps=1)
    generated = pipeline.generate_latents(frame, AudioClip(torch.zeros(1, 32_000), 16_000), "a dog", params)
    assert torch.isfinite(generated.latents).all()
    assert not list(tmp_path.glob(".*"))


def test_equal_resamplers_and_encoders_are_stored_once(files: Path, tmp_path: Path) -> None:
    """What both checkpoints hold with the same values is in one place; what is not there is absent by configuration."""

    def equal(tensors: dict[str, Tensor]) -> None:
        other = load_file(files / "keyframes.safetensors")
        tensors.update({name: value for name, value in other.items() if name.startswith("image_proj_model.")})

    folder = altered(files, tmp_path / "in", "interpolation", equal)

    result = convert_checkpoints(both(folder), tmp_path / "out")

    assert result.config.interpolation_resampler is None
    assert result.config.localizer is None
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert folders == {*published.KEYFRAMES, *published.ENCODERS, "interpolation_unet", "tokenizer"}
    assert KeyVIDPipeline.from_pretrained(tmp_path / "out").components.localizer is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_only_the_unets_are_stored_in_half_precision(files: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    """They run in it; the rest stays float32, which it runs in. Tensors begin where they can be used unmoved."""
    convert_checkpoints(
        request(files, "keyframes.safetensors", "interpolation.safetensors", dtype=dtype), tmp_path / "out"
    )

    unet = load_file(tmp_path / "out/keyframes_unet/model.safetensors")
    codec = load_file(tmp_path / "out/codec/model.safetensors")
    assert {tensor.dtype for tensor in unet.values()} == {dtype}
    assert {tensor.dtype for tensor in codec.values()} == {torch.float32}
    whole_lines = [tensor for tensor in codec.values() if tensor.nbytes % 64 == 0]
    assert all(tensor.data_ptr() % 64 == whole_lines[0].data_ptr() % 64 for tensor in whole_lines)


def test_encoders_can_come_from_their_own_files(
    files: Path, stages: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    """Checkpoints without frozen encoders are completed by DynamiCrafter's, OpenCLIP's, ImageBind's and the VAE's."""
    everything = stages["keyframes"]
    frozen = tuple(rules.prefix for rules in published.ENCODERS.values())
    for stage, tensors in stages.items():
        bare = {name: tensor for name, tensor in tensors.items() if not name.startswith(frozen)}
        save_file(bare, tmp_path / f"{stage}.safetensors")
    clip = {
        name.removeprefix("embedder.model."): tensor
        for name, tensor in everything.items()
        if name.startswith("embedder.model.visual.")
    }
    prefix = "cond_stage_model.model."
    clip |= {name.removeprefix(prefix): value for name, value in everything.items() if name.startswith(prefix)}
    torch.save(clip, tmp_path / "open_clip_pytorch_model.bin")
    narrow = published.drawn("positions", 1, 1 + 12 * 19, 32)
    bind = {name: tensor for name, tensor in {**everything, POSITIONS: narrow}.items() if "imagebind" in name}
    torch.save(
        {name.removeprefix("imagebind_model."): tensor for name, tensor in bind.items()}, tmp_path / "imagebind.pth"
    )
    vae = {name.removeprefix("autoencoder."): value for name, value in convert(everything, keymap.VAE).items()}
    save_file(vae, tmp_path / "diffusion_pytorch_model.safetensors")
    crafter = {name: value for name, value in everything.items() if name.startswith(("embedder.", prefix))}
    unet = "model.diffusion_model.out.2.bias"
    torch.save({"state_dict": {**crafter, unet: everything[unet]}}, tmp_path / "model.ckpt")
    published.write_vocabulary(tmp_path)
    names = [path.name for path in tmp_path.iterdir() if path.suffix not in (".json", ".txt")]

    result = convert_checkpoints(request(tmp_path, *names), tmp_path / "out")

    pipeline = KeyVIDPipeline.from_pretrained(tmp_path / "out")
    audio = pipeline.components.audio_encoder.state_dict()
    expected = resize_time_positions(narrow, grid=(12, 19), num_steps=pipeline.config.audio_encoder.grid[1])
    assert torch.equal(audio["positions"], expected)
    text = pipeline.components.modules()["text_encoder"].state_dict()
    assert all(torch.equal(text[name], tensor) for name, tensor in convert(everything, keymap.CLIP_TEXT).items())
    assert result.origins["codec"].endswith("(Stable Diffusion's autoencoder (diffusers))")


def test_disagreeing_encoders_need_a_choice(files: Path, tmp_path: Path) -> None:
    """The error names both files and the option, and the choice is followed."""
    name = "first_stage_model.quant_conv.bias"
    folder = altered(files, tmp_path / "in", "interpolation", lambda tensors: tensors[name].add_(1))

    with pytest.raises(CheckpointMismatch, match=r"different values of codec: choose one with --take codec=FILE"):
        convert_checkpoints(both(folder), tmp_path / "out")
    convert_checkpoints(both(folder, codec="interpolation.safetensors"), tmp_path / "out")

    stored = load_file(tmp_path / "out/codec/model.safetensors")["autoencoder.quant_conv.bias"]
    assert torch.equal(stored, load_file(folder / "interpolation.safetensors")[name])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.pop("model.diffusion_model.out.2.bias"), "keyframes_unet.output_convolution.bias is missing"),
        (lambda t: t.update({"model_ema.decay": torch.zeros(1)}), "model_ema.decay is not expected"),
        (
            lambda t: t.update({"image_proj_model.stranger": torch.zeros(1)}),
            "image_proj_model.stranger is not expected",
        ),
        (
            lambda t: t.update({"model.diffusion_model.out.2.bias": torch.zeros(5)}),
            r"model.diffusion_model.out.2.bias makes keyframes_unet.output_convolution.bias \[5\], not \[4\]",
        ),
        (lambda t: t.update({"image_proj_model.queries": torch.zeros(1)}), "two tensors map to queries"),
        (
            lambda t: t["model.diffusion_model.out.2.bias"].fill_(torch.nan),
            r"keyframes_unet\.output_convolution\.bias has a value that is not finite: get",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    files: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], object], problem: str
) -> None:
    """A missing, unexpected, misshapen, doubled or infinite tensor is named in one line, and nothing is written."""
    folder = altered(files, tmp_path / "in", "keyframes", change)

    with pytest.raises(CheckpointMismatch, match=problem) as caught:
        convert_checkpoints(both(folder), tmp_path / "out")

    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_every_problem_is_listed(files: Path, tmp_path: Path) -> None:
    """The message shows five; the error holds all."""
    strangers = {f"stranger.{i}": torch.zeros(1) for i in range(7)}
    folder = altered(files, tmp_path / "in", "keyframes", lambda tensors: tensors.update(strangers))

    with pytest.raises(UnfitWeights, match=r"keyframes\.safetensors .*; and 2 more: get the published file") as caught:
        convert_checkpoints(both(folder), tmp_path / "out")

    assert caught.value.problems == tuple(f"{name} is not expected" for name in strangers)


def test_a_missing_stage_is_asked_for(files: Path, tmp_path: Path) -> None:
    """One stage alone, or the same stage twice, is not enough."""
    with pytest.raises(CheckpointMissing, match=r"interpolation_unet \(add KeyVID's interpolation"):
        convert_checkpoints(request(files, "keyframes.safetensors"), tmp_path / "out")
    with pytest.raises(CheckpointMismatch, match="are both KeyVID's keyframe checkpoint"):
        convert_checkpoints(request(files, "keyframes.safetensors", "keyframes.safetensors"), tmp_path / "out")


def test_a_vocabulary_of_another_size_is_refused(files: Path, tmp_path: Path) -> None:
    """Neither no vocabulary nor somebody else's makes a model."""
    folder = tmp_path / "in"
    shutil.copytree(files, folder)
    (folder / "vocab.json").write_text('{"a": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}')

    with pytest.raises(CheckpointMismatch, match="the vocabulary in in has"):
        convert_checkpoints(both(folder), tmp_path / "out")
    (folder / "vocab.json").unlink()
    with pytest.raises(CheckpointMissing, match="there is no vocabulary"):
        convert_checkpoints(both(folder), tmp_path / "out")

    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_existing_folder_is_left_alone(files: Path, tmp_path: Path) -> None:
    """Conversion never writes into what is there."""
    (tmp_path / "mine").write_text("mine")

    with pytest.raises(CheckpointError, match="exists already"):
        convert_checkpoints(both(files), tmp_path)

    assert (tmp_path / "mine").read_text() == "mine"


def test_a_full_disk_leaves_nothing(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is too small is refused beforehand; one that fills up on the way is cleared."""

    def full(*_args: object, **_options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(assembly, "write_shard", full)
        with pytest.raises(CheckpointError, match="GB do not fit beside"):
            convert_checkpoints(both(files), tmp_path / "out")
    with monkeypatch.context() as patch:
        usage = shutil.disk_usage(tmp_path)
        patch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
        with pytest.raises(CheckpointError, match="GB do not fit beside"):
            convert_checkpoints(both(files), tmp_path / "out")

    assert list(tmp_path.iterdir()) == []
