"""Recipes of keyvid-512 at toy size: what learns, what is dropped, what the networks are shown, and what comes out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from model.clips import AudioClip
from model.conditioning import StageConditioning
from model.config import tiny
from model.encoders.audio import AudioTrunk
from model.networks.unet import UNet
from model.pipeline import KeyVIDPipeline
from model.pretrained import build_components
from model.training.batches import VideoBatch
from model.training.cli import app
from model.training.listening_task import ListeningTask, listening_config, start_from
from model.training.published import build_task, load_start
from model.training.published_recipes import ListeningOptions, ListeningRecipe
from model.training.smoke import smoke_recipe, write_tiny_start
from model.training.stage_task import StageTask, is_trained
from tests.films import write_class_folder

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = tiny()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny start weights."""
    folder = tmp_path_factory.mktemp("start")
    write_tiny_start(folder)
    return folder


def stage_task(start: Path, stage: str, **options: object) -> StageTask:
    """A stage at toy size."""
    recipe = replace(smoke_recipe(stage), activation_checkpointing=False)
    task = build_task(replace(recipe, options=replace(recipe.options, **options)), CONFIG, load_start(start, CONFIG))
    assert isinstance(task, StageTask)
    return task


def video_batch(count: int = 2) -> VideoBatch:
    """Frames of noise at every fourth place of the grid; the first and the last are keyframes."""
    generator = torch.Generator().manual_seed(3)
    marked = torch.zeros(count, 12, dtype=torch.bool)
    marked[:, [0, 11]] = True
    return VideoBatch(
        names=tuple(f"clip-{index}" for index in range(count)),
        prompts=("dog barking",) * count,
        frames=torch.randint(0, 256, (count, 12, 64, 128, 3), dtype=torch.uint8, generator=generator),
        indices=torch.arange(0, 48, 4).repeat(count, 1),
        fps=torch.full((count,), 6),
        is_keyframe=marked,
        mel=torch.randn(count, 1, 128, 204, generator=generator),
    )


def test_only_time_and_sound_learn() -> None:
    """The released part: temporal layers but the first transformer and the norms, and what DynamiCrafter lacks."""
    learns = {name: is_trained(name) for name, _ in UNet(CONFIG.keyframes_unet).named_parameters()}

    assert not any(learnt for name, learnt in learns.items() if name.startswith(("encoder.0.", "output", "time_")))
    assert not any(learnt for name, learnt in learns.items() if ".spatial." in name and ".audio_" not in name)
    assert not any(learnt for name, learnt in learns.items() if ".temporal.norm." in name)
    for name in (
        "encoder.1.temporal.layer.first_attention.query.weight",
        "encoder.1.temporal.input.weight",
        "middle.residual_in.temporal.stages.0.norm.weight",
        "decoder.0.residual.temporal.stages.3.convolution.weight",
        "middle.spatial.layer.cross_attention.audio_gate",
        "encoder.1.spatial.layer.cross_attention.audio_key.weight",
        "audio_projection.weight",
        "fps_embedding.expand.weight",
        "frame_index_embedding.contract.bias",
    ):
        assert learns[name], name


def test_frozen_parts_stay_and_released_parts_move(start: Path) -> None:
    """One optimiser step changes trained tensors of UNet and resampler, and nothing else."""
    task = stage_task(start, "keyframes")
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.1)

    loss, _ = task.train()(video_batch())
    loss.backward()
    optimiser.step()

    moved = {name for name, tensor in task.state_dict().items() if not tensor.equal(before[name])}
    frozen = {name for name, parameter in task.named_parameters() if not parameter.requires_grad}
    assert moved
    assert not moved & frozen
    assert any(name.startswith("resampler.") for name in moved)
    assert not any(name.startswith("_start") for name in before)


def test_conditions_are_dropped_as_released(start: Path) -> None:
    """Text; text and picture; picture and sound; sound: a twentieth of the clips each, and never all of them."""
    task = stage_task(start, "keyframes").train()
    count = 8000
    kept, null = torch.ones(count, 1, 1), torch.zeros(count, 1, 1)
    frames = {"image": kept[..., None], "null_image": null[..., None], "audio": kept[..., None]}
    inputs = StageConditioning(
        text=kept, null_text=null, null_audio=null[..., None], concat=kept, frame_index=kept, fps=kept, **frames
    )
    torch.manual_seed(0)

    dropped = task._drop_conditions(inputs)

    pattern = torch.stack([dropped.text.flatten(), dropped.image.flatten(), dropped.audio.flatten()], dim=1)
    counted = np.unique(pattern.numpy(), axis=0, return_counts=True)
    shares = {tuple(map(int, row)): n / count for row, n in zip(*counted, strict=True)}
    assert set(shares) == {(0, 1, 1), (0, 0, 1), (1, 0, 0), (1, 1, 0), (1, 1, 1)}
    assert shares.pop((1, 1, 1)) == pytest.approx(0.8, abs=0.02)
    assert all(share == pytest.approx(0.05, abs=0.01) for share in shares.values())


def test_nothing_is_dropped_when_measuring(start: Path) -> None:
    """In evaluation, and with a rate of 0, every condition stays."""
    batch, torch_state = video_batch(), torch.get_rng_state()
    losses = []
    for task in (stage_task(start, "keyframes").eval(), stage_task(start, "keyframes", dropout=0.0).eval()):
        torch.set_rng_state(torch_state)
        losses.append(float(task(batch)[0].detach()))

    assert losses[0] == losses[1]


def test_stages_are_given_the_frames_that_generation_gives_them(start: Path) -> None:
    """The keyframe stage sees the first frame everywhere, the interpolation stage its keyframes and zeros."""
    batch = video_batch()
    shown = {}
    for stage in ("keyframes", "interpolation"):
        task = stage_task(start, stage)
        latents = task._encode(batch.pixels())
        shown[stage] = (latents, task._inputs(batch, latents))

    latents, inputs = shown["keyframes"]
    assert inputs.concat.equal(latents[:, :, :1].expand_as(latents))
    assert inputs.fps.tolist() == [6, 6]
    latents, inputs = shown["interpolation"]
    assert inputs.concat[:, :, [0, 11]].equal(latents[:, :, [0, 11]])
    assert not inputs.concat[:, :, 1:11].any()


def test_recomputed_activations_give_the_same_gradients(start: Path) -> None:
    """Activation checkpointing changes memory, not numbers."""
    gradients = []
    for is_on in (False, True):
        task = stage_task(start, "keyframes", audio_drop_path=False).train()
        task.unet.activation_checkpointing = is_on
        torch.manual_seed(1)
        task(video_batch())[0].backward()
        gradients.append({name: p.grad for name, p in task.named_parameters() if p.grad is not None})

    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


@pytest.mark.parametrize("stage", ["keyframes", "interpolation"])
def test_sample_videos_show_what_the_stage_generates(start: Path, stage: str) -> None:
    """The keyframe stage draws twelve frames, the interpolation stage all 48, each beside the truth."""
    task = stage_task(start, stage, sample_steps=1).eval()

    with torch.no_grad():
        videos = task.samples(video_batch())

    assert videos["generated"].shape == (12 if stage == "keyframes" else 48, 64, 128, 3)
    assert videos["truth"].shape == (12, 64, 128, 3)


def test_localizer_starts_from_the_encoder_of_the_diffusion_stages() -> None:
    """Blocks are the encoder's; positions of another grid are not, those of the paper's variant are, and frozen."""
    encoder = AudioTrunk(CONFIG.audio_encoder)

    released, paper = (
        ListeningTask(listening_config(CONFIG, variant), ListeningOptions(variant=variant), encoder=encoder)
        for variant in ("released", "paper")
    )

    for task in (released, paper):
        assert task.localizer.trunk.blocks[0].attention.qkv.weight.equal(encoder.blocks[0].attention.qkv.weight)
    assert released.localizer.trunk.positions.shape != encoder.positions.shape
    assert released.localizer.trunk.positions.requires_grad
    assert paper.localizer.trunk.positions.equal(encoder.positions)
    assert not paper.localizer.trunk.positions.requires_grad


def test_localizer_goes_on_from_that_of_the_start_weights(caplog: pytest.LogCaptureFixture) -> None:
    """One of the recipe's shape is taken over whole; another is left out, and the log says so."""
    start = build_components(CONFIG)
    recipe = smoke_recipe("localizer")
    assert isinstance(recipe, ListeningRecipe)
    paper = replace(recipe, options=replace(recipe.options, variant="paper"))

    same, other = (build_task(chosen, CONFIG, start).components()["localizer"] for chosen in (recipe, paper))

    assert start.localizer is not None
    given = start.localizer.state_dict()
    assert all(tensor.equal(given[name]) for name, tensor in same.state_dict().items())
    assert set(other.state_dict()) != set(given)
    assert caplog.text.count("is not used") == 1


def test_positions_are_stretched_to_another_time_grid() -> None:
    """A trunk with more columns gets the encoder's positions, interpolated along time."""
    narrow = AudioTrunk(replace(CONFIG.audio_encoder, stride=(10, 10)))
    wide = AudioTrunk(CONFIG.audio_encoder)

    start_from(wide, narrow)

    assert wide.positions[:, 0].equal(narrow.positions[:, 0])
    assert wide.class_token.equal(narrow.class_token)


def test_stages_that_share_a_resampler_part_when_one_is_trained(start: Path) -> None:
    """The interpolation stage's resampler is its own from the first step; the keyframe stage's stays."""
    components = load_start(start, CONFIG)
    recipe = smoke_recipe("interpolation")

    task = build_task(recipe, CONFIG, components)

    trained = task.components()["interpolation_resampler"]
    assert components.interpolation_resampler is None
    assert trained is not components.resampler
    assert trained.state_dict()["queries"].equal(components.resampler.state_dict()["queries"])


def test_keyframe_run_ends_in_a_model_folder(tmp_path: Path, start: Path) -> None:
    """A folder of films with a broken one among them: skipped by name; the export generates with the new weights."""
    data = tmp_path / "data"
    write_class_folder(data, per_class=2)
    (data / "train" / "hammering" / "broken.mp4").write_bytes(b"cut")
    arguments = ["keyframes", "--out", str(tmp_path / "run"), "--data", str(data), "--start", str(start)]
    arguments += ["--set", "keyframe_share=0", "--set", "batch_size=5", "--set", "accumulation=1", "--steps", "1"]
    arguments += ["--set", "precision=fp32", "--set", "learning_rate=0.01"]

    stopped = CliRunner().invoke(app, arguments)
    result = CliRunner().invoke(app, [*arguments, "--broken", "skip", "--export", str(tmp_path / "model")])

    assert stopped.exit_code == 2
    assert "train/hammering/broken.mp4: not a video" in stopped.output
    assert result.exit_code == 0, result.output
    pipeline = KeyVIDPipeline.from_pretrained(tmp_path / "model")
    own, new = (load_file(folder / "keyframes_unet" / "model.safetensors") for folder in (start, tmp_path / "model"))
    changed_names = {name for name, tensor in new.items() if not tensor.equal(own[name])}
    assert changed_names == {name for name in changed_names if is_trained(name)} != set()
    curve = pipeline.localize(AudioClip(torch.zeros(1, 32_000), 16_000))
    assert len(curve.values) == 48


def test_stage_without_motion_scores_names_the_command(tmp_path: Path, start: Path) -> None:
    """Keyframes cannot be chosen without scores."""
    write_class_folder(tmp_path / "data", per_class=1)
    arguments = ["interpolation", "--out", str(tmp_path / "run"), "--data", str(tmp_path / "data")]

    result = CliRunner().invoke(app, [*arguments, "--start", str(start), "--steps", "1", "--set", "batch_size=1"])

    assert result.exit_code == 2
    assert "keyvid data motion-scores" in result.output


def test_scores_of_another_film_are_refused(tmp_path: Path, start: Path) -> None:
    """A clip that was replaced after its motion was measured is named."""
    write_class_folder(tmp_path / "data", per_class=1, classes=["hammering"])
    (film,) = (tmp_path / "data").rglob("*.mp4")
    np.save(f"{film}.dis.npy", np.ones(200, np.float32))
    arguments = ["interpolation", "--out", str(tmp_path / "run"), "--data", str(tmp_path / "data")]

    result = CliRunner().invoke(app, [*arguments, "--start", str(start), "--steps", "1", "--set", "batch_size=1"])

    assert result.exit_code == 2
    assert "59 pairs of frames, but 200 motion scores" in result.output


def test_smoke_lowers_the_loss_of_every_recipe() -> None:
    """The three recipes of keyvid-512 learn one batch of drawn clips, read from films with their motion scores."""
    result = CliRunner().invoke(app, ["--smoke"])

    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines() if " of one batch " in line]
    assert [line[0] for line in lines] == ["localizer:", "keyframes:", "interpolation:"]
    assert all(float(line[-2]) < 0.9 * float(line[5]) for line in lines)
