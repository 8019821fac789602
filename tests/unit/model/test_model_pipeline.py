"""The pipeline with a tiny model: stages, determinism, resuming, saving."""

from __future__ import annotations

import copy
import json
import string
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file, save_file

from model import AudioClip, GenerationParams, GenerationState, ImageFrame, KeyVIDPipeline
from model.config import ModelConfig, keyvid_512, keyvid_mini, tiny
from model.encoders.text import ClipTextConfig
from model.errors import CheckpointMismatch, CheckpointMissing, InvalidInput, InvalidParams
from model.networks.draft import DraftConfig
from model.pretrained import COMPONENTS, build_components
from model.serialization import from_json, to_json

if TYPE_CHECKING:
    from pathlib import Path

    from model.generation import Progress
    from model.pipeline import GeneratedLatents

PARAMS = GenerationParams(seed=7)
PROMPT = "a dog barks"


def small_tiny() -> ModelConfig:
    """Shrink the tiny model's video to what a second can generate."""
    return tiny(height=32, width=64)


def small_mini() -> ModelConfig:
    """Take keyvid-mini's structure with fewer channels and steps."""
    mini = keyvid_mini()
    unet = replace(mini.keyframes_unet, model_channels=16, head_width=8)
    return replace(
        mini,
        keyframes=replace(mini.keyframes, num_inference_steps=2),
        interpolation=replace(mini.interpolation, num_inference_steps=2),
        keyframes_unet=unet,
        interpolation_unet=unet,
    )


@pytest.fixture(scope="module", params=["tiny", "mini"])
def pipeline(request: pytest.FixtureRequest) -> KeyVIDPipeline:
    """Return a model of each kind with random weights, also where training starts from zero."""
    built = KeyVIDPipeline.from_config(small_tiny() if request.param == "tiny" else small_mini(), seed=1)
    generator = torch.Generator().manual_seed(0)
    for module in built.components.modules().values():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return built


def picture(pipeline: KeyVIDPipeline) -> ImageFrame:
    """Make a picture of the model's size."""
    video = pipeline.config.video
    generator = torch.Generator().manual_seed(0)
    return ImageFrame(torch.rand(3, video.height, video.width, generator=generator) * 2 - 1)


def sound(*, seconds: float = 2.0) -> AudioClip:
    """Make stereo clicks twice a second at 22.05 kHz."""
    samples = torch.zeros(2, round(22_050 * seconds))
    samples[:, 4_000::11_025] = 0.9
    return AudioClip(samples, 22_050)


def generate(pipeline: KeyVIDPipeline, params: GenerationParams = PARAMS, **options: object) -> GeneratedLatents:
    """Generate from the same picture and sound, up to the latents."""
    return pipeline.generate_latents(picture(pipeline), sound(), PROMPT, params, **options)  # type: ignore[arg-type]


def test_the_same_request_gives_the_same_frames(pipeline: KeyVIDPipeline) -> None:
    """Two runs agree in every pixel; another seed does not."""
    first, again = (pipeline(picture(pipeline), sound(), PROMPT, PARAMS) for _ in range(2))
    other = generate(pipeline, GenerationParams(seed=8))

    video = pipeline.config.video
    assert first.video.frames.shape == (48, video.height, video.width, 3)
    assert first.video.fps == 24
    assert np.array_equal(first.video.frames, again.video.frames)
    assert not torch.equal(generate(pipeline).latents, other.latents)


def test_a_resumed_generation_is_the_same(pipeline: KeyVIDPipeline) -> None:
    """From the state of either finished stage, also through bytes, the same frames follow and no stage runs twice."""
    states: list[GenerationState] = []
    whole = generate(pipeline, on_state=states.append)

    for state, stages in zip(states, (["keyframes", "interpolation"], ["interpolation"]), strict=True):
        resumed = generate(pipeline, state=GenerationState.from_bytes(state.to_bytes()))
        assert torch.equal(resumed.latents, whole.latents)
        assert list(resumed.seconds) == stages
        assert (resumed.curve, resumed.plan) == (whole.curve, whole.plan)


@pytest.mark.parametrize("params", [PARAMS, replace(PARAMS, reference_compat=True)])
def test_the_first_stage_may_run_before_there_is_a_picture(pipeline: KeyVIDPipeline, params: GenerationParams) -> None:
    """It tells its steps and leaves what a whole run leaves after it, which a run goes on from."""
    told: list[Progress] = []
    left: list[GenerationState] = []
    left_by_all: list[GenerationState] = []

    planned = pipeline.plan(sound(), params, on_step=told.append, on_state=left.append)
    generate(pipeline, params, on_state=left_by_all.append)

    assert [(step.stage, step.step, step.total) for step in told] == [("localization", step, 1) for step in range(2)]
    assert left == [planned]
    assert left_by_all[0] == planned
    assert list(generate(pipeline, params, state=planned).seconds) == ["keyframes", "interpolation"]


@pytest.mark.parametrize("guidance_batch", [1, 2])
def test_guidance_branches_in_slices_give_the_same_latents(pipeline: KeyVIDPipeline, guidance_batch: int) -> None:
    """One after the other, in pairs or all at once: only rounding differs."""
    params = GenerationParams(seed=7, guidance_text=2.0, guidance_image=1.5, guidance_audio=3.0)
    sliced = KeyVIDPipeline(pipeline.config, pipeline.components, guidance_batch=guidance_batch)

    states: list[GenerationState] = []
    together, apart = (generate(made, params, on_state=states.append).latents for made in (pipeline, sliced))

    keyframes = [state.keyframe_latents for state in states if state.keyframe_latents is not None]
    torch.testing.assert_close(keyframes[1], keyframes[0], rtol=0, atol=1e-4)
    # The tiny model hands its keyframes on in 8 bits, so that rounding may move a pixel by one.
    torch.testing.assert_close(apart, together, rtol=0, atol=1e-3)


def test_progress_is_told_before_each_step(pipeline: KeyVIDPipeline) -> None:
    """Each stage counts from 0 to its number of steps."""
    told: list[Progress] = []

    generate(pipeline, GenerationParams(seed=1, num_inference_steps=3), on_step=told.append)

    assert [(step.stage, step.step, step.total) for step in told] == [
        *[("localization", step, 1) for step in range(2)],
        *[("keyframes", step, 3) for step in range(4)],
        *[("interpolation", step, 3) for step in range(4)],
    ]


@pytest.mark.parametrize("hook", ["on_step", "check", "on_state"])
def test_a_hook_that_raises_ends_the_generation(pipeline: KeyVIDPipeline, hook: str) -> None:
    """What a hook raises reaches the caller as it is, whatever it derives from."""

    class Cancelled(BaseException):
        pass

    def cancel(*_: object) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        pipeline.generate_latents(picture(pipeline), sound(), PROMPT, PARAMS, **{hook: cancel})  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["released", "freenoise"])
def test_both_ways_of_interpolation_run(pipeline: KeyVIDPipeline, mode: str) -> None:
    """The named alternative gives another video around the same keyframe plan."""
    own = generate(pipeline)

    named = generate(pipeline, GenerationParams(seed=7, interpolation_mode=mode))  # type: ignore[arg-type]

    assert named.plan == own.plan
    assert torch.equal(named.latents, own.latents) == (mode == pipeline.config.interpolation_mode)


def test_motion_strength_multiplies_motion_or_is_refused(pipeline: KeyVIDPipeline) -> None:
    """Latent flow goes twice as far; a model that paints has no such thing, and says so before it works."""
    params = GenerationParams(seed=7, motion_strength=2.0)
    if pipeline.config.name == "tiny":
        with pytest.raises(InvalidParams, match="motion_strength"):
            generate(pipeline, params)
        return

    assert torch.equal(generate(pipeline, params).latents, 2 * generate(pipeline).latents)


def test_conditions_change_the_video(pipeline: KeyVIDPipeline) -> None:
    """Prompt, sound and guidance each have an effect."""
    base = generate(pipeline).latents
    quiet = AudioClip(torch.zeros(1, 32_000), 16_000)

    silent = pipeline.generate_latents(picture(pipeline), quiet, PROMPT, PARAMS).latents
    renamed = pipeline.generate_latents(picture(pipeline), sound(), "violin", PARAMS).latents
    guided = generate(pipeline, GenerationParams(seed=7, guidance_audio=5.0)).latents

    for changed in (silent, renamed, guided):
        assert not torch.equal(base, changed)


def test_only_the_first_two_seconds_count(pipeline: KeyVIDPipeline) -> None:
    """A longer sound gives the same curve as its beginning, a shorter one is filled up with silence."""
    longer, exact, shorter = sound(seconds=5), sound(seconds=2), sound(seconds=1)

    assert pipeline.localize(longer) == pipeline.localize(exact)
    assert len(pipeline.localize(shorter).values) == 48


def test_a_picture_of_another_size_is_refused(pipeline: KeyVIDPipeline) -> None:
    """The model says which size it animates."""
    with pytest.raises(InvalidInput, match="px"):
        pipeline(ImageFrame(torch.zeros(3, 32, 32)), sound(), PROMPT, PARAMS)


def test_an_untrained_model_moves_nothing() -> None:
    """Networks that predict exact zeros do not divide by their spread."""
    untrained = KeyVIDPipeline.from_config(small_tiny())

    assert torch.isfinite(generate(untrained).latents).all()


def test_a_saved_model_is_the_same(pipeline: KeyVIDPipeline, tmp_path: Path) -> None:
    """Configuration and frames survive the folder."""
    pipeline.save_pretrained(tmp_path)

    loaded = KeyVIDPipeline.from_pretrained(tmp_path)

    assert loaded.config == pipeline.config
    assert torch.equal(generate(loaded).latents, generate(pipeline).latents)


def test_what_both_stages_have_in_common_is_held_once(tmp_path: Path) -> None:
    """Parameters that are equal in both UNets share their memory; what one of them learnt is its own, and stays so."""
    pipeline = KeyVIDPipeline.from_config(small_mini())
    keyframes, interpolation = (copy.deepcopy(pipeline.components.keyframes_unet) for _ in range(2))
    with torch.no_grad():
        next(interpolation.parameters()).add_(1)
    components = replace(pipeline.components, keyframes_unet=keyframes, interpolation_unet=interpolation)
    KeyVIDPipeline(pipeline.config, components).save_pretrained(tmp_path)

    loaded = KeyVIDPipeline.from_pretrained(tmp_path).components

    pairs = zip(loaded.keyframes_unet.parameters(), loaded.interpolation_unet.parameters(), strict=True)
    assert [one is other for one, other in pairs] == [False] + [True] * (len(list(keyframes.parameters())) - 1)
    assert all(map(torch.equal, loaded.interpolation_unet.parameters(), interpolation.parameters()))


def test_half_precision_files_load(pipeline: KeyVIDPipeline, tmp_path: Path) -> None:
    """Weights stored in half precision run in single precision."""
    pipeline.save_pretrained(tmp_path, dtype=torch.float16)

    loaded = KeyVIDPipeline.from_pretrained(tmp_path)

    assert {p.dtype for m in loaded.components.modules().values() for p in m.parameters()} == {torch.float32}
    assert generate(loaded).latents.shape[2] == 48


def test_weights_that_do_not_fit_are_refused(pipeline: KeyVIDPipeline, tmp_path: Path) -> None:
    """A missing, an unknown and a misshapen tensor are each named."""
    pipeline.save_pretrained(tmp_path)
    file = tmp_path / "keyframes_unet" / "model.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))

    for changed, complaint in (
        ({key: value for key, value in tensors.items() if key != name}, f"{name} is missing"),
        ({**tensors, "stranger": torch.zeros(1)}, "stranger is not expected"),
        ({**tensors, name: torch.zeros(1, 2, 3)}, rf"{name} is \[1, 2, 3\], not"),
    ):
        save_file(changed, file)
        with pytest.raises(CheckpointMismatch, match=rf"keyframes_unet/model\.safetensors .*{complaint}.*; convert or"):
            KeyVIDPipeline.from_pretrained(tmp_path)


def test_a_clip_text_encoder_keeps_its_vocabulary(tmp_path: Path) -> None:
    """The tokenizer travels in the folder, and its absence is named."""
    letters = [letter + end for letter in string.ascii_lowercase for end in ("", "</w>")]
    vocabulary = {token: index for index, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    text = ClipTextConfig(dim=32, depth=1, heads=2, vocabulary=len(vocabulary))
    built = KeyVIDPipeline.from_config(replace(small_tiny(), text_encoder=text))
    with pytest.raises(CheckpointMissing, match="vocabulary"):
        generate(built)

    built.components.text_encoder.load_tokenizer(tmp_path)  # type: ignore[attr-defined]
    built.save_pretrained(tmp_path / "saved")
    loaded = KeyVIDPipeline.from_pretrained(tmp_path / "saved")

    assert torch.equal(loaded.components.text_encoder.encode(["dog"]), built.components.text_encoder.encode(["dog"]))
    assert torch.equal(generate(loaded).latents, generate(built).latents)


def test_the_published_model_has_the_published_size() -> None:
    """Every component of keyvid-512 can be described without a byte of weights."""
    with init_empty_weights(include_buffers=False):
        modules = build_components(keyvid_512()).modules()

    sizes = {name: sum(parameter.numel() for parameter in module.parameters()) for name, module in modules.items()}
    assert sizes["keyframes_unet"] == 1_467_252_052
    assert sizes["interpolation_unet"] == 1_465_201_492
    assert set(sizes) == set(COMPONENTS) - {"draft"}


def test_damaged_folders_are_refused(pipeline: KeyVIDPipeline, tmp_path: Path) -> None:
    """No folder, no weights, damaged ones, a foreign configuration or index: each is named, with a remedy."""
    with pytest.raises(
        CheckpointMissing, match=r"no weights in .*nothing: give .* that has a model_index\.json, or keyvid-mini"
    ):
        KeyVIDPipeline.from_pretrained(tmp_path / "nothing")
    pipeline.save_pretrained(tmp_path)
    weights, index = tmp_path / "localizer" / "model.safetensors", tmp_path / "model_index.json"
    described = json.loads(index.read_text())

    weights.write_bytes(b"not safetensors at all")
    with pytest.raises(CheckpointMismatch, match=r"localizer/model\.safetensors is damaged .*: convert or copy"):
        KeyVIDPipeline.from_pretrained(tmp_path)
    weights.unlink()
    with pytest.raises(CheckpointMissing, match=r"localizer/model\.safetensors is missing; convert or copy"):
        KeyVIDPipeline.from_pretrained(tmp_path)
    weights.with_name("config.json").write_text('{"width": 1}')
    with pytest.raises(CheckpointMismatch, match=r"localizer/config\.json: not a LocalizerConfig: .*: convert or copy"):
        KeyVIDPipeline.from_pretrained(tmp_path)
    weights.with_name("config.json").write_text("{")
    with pytest.raises(CheckpointMismatch, match=r"localizer/config\.json is not JSON: convert or copy"):
        KeyVIDPipeline.from_pretrained(tmp_path)
    index.write_text(json.dumps({**described, "components": {"localizer": "Mystery"}}))
    with pytest.raises(CheckpointMismatch, match="unknown kind"):
        KeyVIDPipeline.from_pretrained(tmp_path)
    index.write_text("{}")
    with pytest.raises(CheckpointMismatch, match="format"):
        KeyVIDPipeline.from_pretrained(tmp_path)


def test_a_foreign_state_is_refused() -> None:
    """Bytes that are no state do not pass as one."""
    with pytest.raises(ValueError, match="not a generation state"):
        GenerationState.from_bytes(b"0123456789")


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"seed": 2**32},
        {"seed": 0, "num_inference_steps": 0},
        {"seed": 0, "num_inference_steps": 201},
        {"seed": 0, "guidance_audio": float("nan")},
        {"seed": 0, "guidance_text": -0.1},
        {"seed": 0, "guidance_image": 31.0},
        {"seed": 0, "motion_strength": 0.2},
        {"seed": 0, "motion_strength": float("nan")},
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    """Seeds, steps and scales have limits."""
    with pytest.raises(InvalidParams):
        GenerationParams(**wrong)  # type: ignore[arg-type]


def test_configurations_survive_json() -> None:
    """Every field comes back with its type; a missing, an extra and a mistyped one are refused."""
    config = DraftConfig(width=64, grid=(5, 8))
    data = json.loads(json.dumps(to_json(config)))

    assert from_json(DraftConfig, data) == config
    for wrong in ({**data, "more": 1}, {k: v for k, v in data.items() if k != "width"}, {**data, "width": "64"}, []):
        with pytest.raises(CheckpointMismatch):
            from_json(DraftConfig, wrong)
