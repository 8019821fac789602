"""Behaviour of the release that published weights depend on, where stored numbers alone would not name it."""

from __future__ import annotations

import pytest
import torch

from model import AudioClip, GenerationParams, ImageFrame, KeyVIDPipeline
from model.config import StageConfig, keyvid_512, tiny
from model.diffusion.ddim import ddim_steps
from model.diffusion.denoise import denoise
from model.diffusion.guidance import Guidance
from model.diffusion.noise import stage_noise
from model.diffusion.schedule import noise_schedule

STAGES = {"keyframes": keyvid_512().keyframes, "interpolation": keyvid_512().interpolation}


def test_published_stages_are_sampled_as_released() -> None:
    """Frame rates that the networks are told, steps, noise and the scales of each stage."""
    keyframes, interpolation = STAGES.values()

    assert (keyframes.fps, interpolation.fps) == (6, 24)
    assert keyframes.guidance == Guidance(text=7.5, image=2.0, audio=7.5, rescale=0.7)
    assert interpolation.guidance == Guidance(text=7.5, image=2.0, audio=9.0, rescale=0.7)
    assert {(stage.num_inference_steps, stage.eta, stage.dynamic_rescale) for stage in STAGES.values()} == {
        (90, 1.0, True)
    }
    assert (keyvid_512().interpolation_mode, keyvid_512().audio_layout) == ("released", "released")


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_25_released_steps_are_finite(stage: StageConfig) -> None:
    """In the reference rounding makes 1 - alpha - sigma^2 negative at the first of them, and all is not a number."""
    noise = stage_noise(5, "test")
    shape = (1, 4, 12, 4, 4)

    latents = denoise(
        lambda branches, x, _timestep: [0.5 * x + len(branch) / 10 for branch in branches],
        noise.normal(shape),
        schedule=stage.schedule,
        sampling=stage.sampling(GenerationParams(seed=5, num_inference_steps=25)),
        noise=noise,
    )

    assert torch.isfinite(latents).all()
    assert latents.std() > 0


def test_the_last_step_ends_short_of_a_clean_latent() -> None:
    """It goes to alpha-bar of the first timestep, not to 1, and adds noise; the first one starts at pure noise."""
    schedule = noise_schedule(dynamic_rescale=True)

    first, *_, last = ddim_steps(schedule, 90, eta=1.0)

    assert (first.timestep, first.alpha_prod) == (999, 0.0)
    assert last.alpha_prod_previous == pytest.approx(0.99915, abs=1e-5)
    assert last.sigma > 0
    assert last.rescale == 1.0


def test_null_conditions_are_encodings_of_nothing() -> None:
    """A grey picture, a spectrogram of zeros and an empty prompt go through the encoders, as in training."""
    pipeline = KeyVIDPipeline.from_config(tiny(height=32, width=64))
    parts, config = pipeline.components, pipeline.config
    sound = AudioClip(torch.linspace(-9, 9, 32_000).sin()[None], 16_000)

    told = pipeline.encode(ImageFrame(torch.ones(3, 32, 64)), sound, "a dog")

    with torch.inference_mode():
        mel = torch.zeros(1, 1, 128, config.audio_encoder.mel_frames)
        assert torch.allclose(told.null_audio.tokens, parts.audio_encoder(mel), atol=1e-6)
        assert parts.resampler is not None
        grey = parts.resampler(parts.image_encoder.encode(torch.zeros(1, 3, 32, 64)))
        assert torch.allclose(told.null_image, grey, atol=1e-6)
    assert torch.equal(told.null_text, parts.text_encoder.encode([""]))
    for told_part, null in ((told.text, told.null_text), (told.image, told.null_image)):
        assert told_part.abs().sum() > 0
        assert not torch.equal(told_part, null)
