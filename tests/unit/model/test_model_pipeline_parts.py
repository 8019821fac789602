"""Models with other parts than the usual: no localizer, or a resampler of the interpolation's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model.clips import AudioClip, ImageFrame, KeyframePlan, MotionCurve
from model.config import tiny
from model.errors import CheckpointMissing
from model.generation import GenerationParams, GenerationState
from model.pipeline import GeneratedLatents, KeyVIDPipeline

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

    with pytest.raises(CheckpointMissing, match="tiny has no localizer"):
        _generate(pipeline, None)

    assert _generate(pipeline, STATE).plan == PLAN


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
