"""Models with other parts than the usual: no localizer, a borrowed one, or a resampler of the interpolation's own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from model.clips import AudioClip, ImageFrame, KeyframePlan, MotionCurve
from model.config import tiny
from model.errors import CheckpointMismatch, CheckpointMissing, InvalidParams, KeyframesNeeded
from model.generation import GenerationParams, GenerationState
from model.memory_plan import describe
from model.pipeline import GeneratedLatents, KeyVIDPipeline
from model.pretrained import natural_unet_dtype

if TYPE_CHECKING:
    from pathlib import Path

PLAN = KeyframePlan(tuple(range(0, 48, 4)), 48)
STATE = GenerationState(MotionCurve((0.0,) * 48, (), ()), PLAN)


def _generate(pipeline: KeyVIDPipeline, state: GenerationState | None) -> GeneratedLatents:
    picture = torch.linspace(-1, 1, 3 * 32 * 64).reshape(3, 32, 64)
    sound = torch.linspace(-1, 1, 32_000).sin()[None]
    params = GenerationParams(seed=3, num_inference_steps=1)
    return pipeline.generate_latents(ImageFrame(picture), AudioClip(sound, 16_000), "a dog", params, state=state)


def test_a_model_without_localizer_needs_given_keyframes() -> None:
    """Its error says so, and a state that holds a plan is generated from."""
    pipeline = KeyVIDPipeline.from_config(replace(tiny(height=32, width=64), localizer=None))

    with pytest.raises(KeyframesNeeded, match="tiny has no localizer"):
        _generate(pipeline, None)

    assert _generate(pipeline, STATE).plan == PLAN


def test_chosen_keyframes_replace_the_heard_ones() -> None:
    """The curve is heard all the same, and the state that stages leave says who chose."""
    pipeline = KeyVIDPipeline.from_config(tiny(height=32, width=64))
    left: list[GenerationState] = []
    chosen = tuple(range(1, 12))
    params = GenerationParams(seed=3, num_inference_steps=1, keyframes=(0, *(2 * index for index in chosen)))
    picture, sound = ImageFrame(torch.zeros(3, 32, 64)), AudioClip(torch.linspace(-1, 1, 32_000).sin()[None], 16_000)

    generated = pipeline.generate_latents(picture, sound, "", params, on_state=left.append)

    assert generated.plan.indices == params.keyframes
    assert generated.curve == pipeline.localize(sound)
    assert [GenerationState.from_bytes(state.to_bytes()).keyframe_source for state in left] == ["request"] * 2
    assert _generate(pipeline, None).keyframe_source == "tiny"


@pytest.mark.parametrize("frames", [(0, 4), (*range(11), 48)])
def test_as_many_keyframes_as_are_painted(frames: tuple[int, ...]) -> None:
    """Another number of frames, or one past the end, is refused."""
    pipeline = KeyVIDPipeline.from_config(tiny(height=32, width=64))
    params = GenerationParams(seed=3, keyframes=frames)

    with pytest.raises(InvalidParams, match="paints 12 keyframes, at most frame 47"):
        pipeline(ImageFrame(torch.zeros(3, 32, 64)), AudioClip(torch.zeros(1, 32_000), 16_000), "", params)


@pytest.mark.parametrize("frames", [(), (1, 2), (0, 3, 3), (0, 9, 4)])
def test_keyframes_ascend_from_the_first_frame(frames: tuple[int, ...]) -> None:
    """Whatever the model."""
    with pytest.raises(InvalidParams, match="ascend from 0"):
        GenerationParams(seed=3, keyframes=frames)


def test_a_borrowed_localizer_hears_as_its_own_model_does(tmp_path: Path) -> None:
    """A model without one takes keyvid-mini's, unless it is told to do without or to take another's."""
    KeyVIDPipeline.from_config(replace(tiny(height=32, width=64), localizer=None)).save_pretrained(tmp_path / "deaf")
    KeyVIDPipeline.from_config(tiny(height=32, width=64), seed=5).save_pretrained(tmp_path / "other")
    sound = AudioClip(torch.linspace(-9, 9, 32_000).sin()[None], 16_000)

    heard = {
        localizer: KeyVIDPipeline.from_pretrained(tmp_path / "deaf", localizer=localizer)
        for localizer in ("auto", "keyvid-mini", str(tmp_path / "other"), "own")
    }

    mini = KeyVIDPipeline.from_pretrained("keyvid-mini").localize(sound)
    assert heard["auto"].localize(sound) == heard["keyvid-mini"].localize(sound) == mini
    other = heard[str(tmp_path / "other")]
    assert other.localize(sound) == KeyVIDPipeline.from_pretrained(tmp_path / "other").localize(sound)
    assert heard["own"].listener is None
    assert _generate(heard["auto"], None).keyframe_source == "keyvid-mini"


def test_who_cannot_lend_a_localizer_is_refused(tmp_path: Path) -> None:
    """A model without one, and one that hears clips of another length."""
    deaf = replace(tiny(height=32, width=64), localizer=None)
    KeyVIDPipeline.from_config(deaf).save_pretrained(tmp_path / "deaf")

    with pytest.raises(CheckpointMissing, match="no localizer to lend"):
        KeyVIDPipeline.from_pretrained(tmp_path / "deaf", localizer=str(tmp_path / "deaf"))
    pipeline = KeyVIDPipeline.from_config(tiny(height=32, width=64))
    listener = pipeline.listener
    assert listener is not None
    longer = replace(listener.config, video=replace(listener.config.video, frames=96))
    with pytest.raises(CheckpointMismatch, match="another length"):
        KeyVIDPipeline(pipeline.config, pipeline.components, listener=replace(listener, config=longer))


def test_reference_defects_are_repeated_when_asked_for() -> None:
    """A stereo sound is heard otherwise and a mono one is not; keyframes change on their way to the interpolation."""
    pipeline = KeyVIDPipeline.from_config(tiny(height=32, width=64))
    generator = torch.Generator().manual_seed(0)
    for module in pipeline.components.modules().values():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    clicks = torch.zeros(2, 32_000)
    clicks[0, 4_000::8_000] = 0.9
    picture = ImageFrame(torch.linspace(-1, 1, 3 * 32 * 64).reshape(3, 32, 64))

    def generate(channels: int, *, compat: bool) -> GeneratedLatents:
        params = GenerationParams(seed=3, num_inference_steps=1, reference_compat=compat)
        return pipeline.generate_latents(picture, AudioClip(clicks[:channels], 16_000), "", params)

    mono, as_released = generate(1, compat=False), generate(1, compat=True)
    assert mono.curve == as_released.curve
    assert not torch.equal(mono.latents, as_released.latents)
    assert generate(2, compat=False).curve != generate(2, compat=True).curve


def test_interpolation_uses_its_own_resampler() -> None:
    """A second resampler changes what the interpolation sees, and nothing of the keyframes."""
    pipeline = KeyVIDPipeline.from_config(tiny(height=32, width=64))
    shared = pipeline.components
    own = replace(pipeline.config, interpolation_resampler=pipeline.config.resampler)
    other = KeyVIDPipeline.from_config(own, seed=1).components.interpolation_resampler
    apart = KeyVIDPipeline(own, replace(shared, interpolation_resampler=other))
    left: list[GenerationState] = []
    picture = ImageFrame(torch.zeros(3, 32, 64))
    sound = AudioClip(torch.zeros(1, 32_000), 16_000)

    for pipe in (pipeline, apart):
        pipe.generate_latents(
            picture, sound, "", GenerationParams(seed=3, num_inference_steps=1), on_state=left.append, state=STATE
        )
    both = [pipe.encode(picture, sound, "") for pipe in (pipeline, apart)]

    assert torch.equal(left[0].keyframe_latents, left[1].keyframe_latents)  # type: ignore[arg-type]
    assert torch.equal(both[0].image, both[1].image)
    stages = [conditioning.at_all_frames(concat=picture.pixels, fps=24, residual_scale=(1.0,)) for conditioning in both]
    assert not torch.equal(stages[0].image, stages[1].image)
    assert not torch.equal(stages[0].null_image, stages[1].null_image)


def test_what_nothing_encodes_to_is_encoded_once() -> None:
    """The second video encodes its own words, picture and sound alone, and gets the nulls of the first."""
    pipeline = KeyVIDPipeline.from_config(tiny(height=32, width=64))
    calls: list[int] = []
    pipeline.components.audio_encoder.register_forward_hook(lambda *_: calls.append(1))
    picture, sound = ImageFrame(torch.zeros(3, 32, 64)), AudioClip(torch.linspace(-1, 1, 32_000).sin()[None], 16_000)

    first = pipeline.encode(picture, sound, "a dog")
    second = pipeline.encode(ImageFrame(torch.ones(3, 32, 64)), AudioClip(-sound.samples / 2, 16_000), "a cat")

    assert len(calls) == 3
    assert second.null_image is first.null_image
    assert torch.equal(first.null_text, pipeline.encode(picture, sound, "").text)
    assert not torch.equal(second.text, first.text)
    assert not torch.equal(second.image, first.image)
    assert not torch.equal(second.audio.tokens, first.audio.tokens)


@pytest.mark.parametrize(
    ("stored", "on_gpu"),
    [(torch.bfloat16, torch.bfloat16), (torch.float16, torch.float16), (torch.float32, torch.float16)],
)
def test_unets_run_as_they_are_stored_in_half_precision(
    tmp_path: Path, stored: torch.dtype, on_gpu: torch.dtype
) -> None:
    """Weights that were stored as bfloat16 since they overflow float16 stay so on a GPU, and are planned so."""
    KeyVIDPipeline.from_config(tiny(height=32, width=64)).save_pretrained(tmp_path, dtype=stored)

    assert natural_unet_dtype(tmp_path, "cuda:0") == on_gpu
    assert natural_unet_dtype(tmp_path, "cpu") == torch.float32
    assert json.loads(describe(str(tmp_path), "auto"))["unet_dtype"] == str(on_gpu).removeprefix("torch.")


def test_type_of_missing_or_broken_unets_is_not_guessed(tmp_path: Path) -> None:
    """The errors are those of loading."""
    KeyVIDPipeline.from_config(tiny(height=32, width=64)).save_pretrained(tmp_path)
    file = tmp_path / "interpolation_unet" / "model.safetensors"

    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointMismatch, match=r"interpolation_unet/model\.safetensors is damaged"):
        natural_unet_dtype(tmp_path, "cuda")
    file.unlink()
    with pytest.raises(CheckpointMissing, match="interpolation_unet"):
        natural_unet_dtype(tmp_path, "cuda")
