"""Previews: pictures on the way that change nothing of what is made."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model import AudioClip, GenerationParams, ImageFrame, KeyVIDPipeline
from model.codecs.latent_flow import LatentFlowCodec
from model.codecs.vae import VaeCodec, VaeConfig
from model.config import ModelConfig, keyvid_mini, tiny
from model.diffusion.noise import stage_noise
from model.previews import Preview, PreviewTap

PARAMS = GenerationParams(seed=7)


def small_mini() -> ModelConfig:
    """keyvid-mini's structure with fewer channels and steps."""
    mini = keyvid_mini()
    unet = replace(mini.keyframes_unet, model_channels=16, head_width=8)
    stage = replace(mini.keyframes, num_inference_steps=2)
    return replace(
        mini,
        keyframes=stage,
        interpolation=replace(mini.interpolation, num_inference_steps=2),
        keyframes_unet=unet,
        interpolation_unet=unet,
    )


@pytest.mark.parametrize("config", [tiny(height=32, width=64), small_mini()], ids=["tiny", "mini"])
def test_previews_show_both_stages_and_change_nothing(config: ModelConfig) -> None:
    """Each is a picture of half the size of one of the keyframes; the latents are those of a run without any."""
    pipeline = KeyVIDPipeline.from_config(config, seed=1)
    video = config.video
    image = ImageFrame(torch.rand(3, video.height, video.width, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    sound = AudioClip(torch.zeros(1, 32_000), 16_000)
    shown: list[Preview] = []

    watched = pipeline.generate_latents(image, sound, "a dog", PARAMS, previews=PreviewTap(lambda: True, shown.append))
    alone = pipeline.generate_latents(image, sound, "a dog", PARAMS)

    assert torch.equal(watched.latents, alone.latents)
    assert {preview.stage for preview in shown} == {"keyframes", "interpolation"}
    assert all(preview.pixels.shape == (video.height // 2, video.width // 2, 3) for preview in shown)
    assert {preview.frame for preview in shown} <= set(alone.plan.indices[1:])


def test_nothing_is_drawn_unless_due() -> None:
    """Between two pictures a step costs one question."""
    tap = PreviewTap(lambda: False, lambda preview: pytest.fail(f"shown: {preview}"))
    look = tap.watching("keyframes", lambda _: pytest.fail("drawn"), [4, 8], positions=[1, 2])

    look(lambda: pytest.fail("worked out"))


def test_frames_take_turns() -> None:
    """Each picture is of the next keyframe, taken from its own place in the latents."""
    shown: list[Preview] = []
    latents = torch.arange(3.0).view(1, 1, 3, 1, 1)
    tap = PreviewTap(lambda: True, shown.append)
    look = tap.watching("keyframes", lambda frame: frame.view(1, 1, 1).to(torch.uint8), [4, 9], positions=[1, 2])

    for _ in range(3):
        look(lambda: latents)

    assert [(preview.frame, int(preview.pixels[0, 0, 0])) for preview in shown] == [(4, 1), (9, 2), (4, 1)]


def test_vae_sketch_has_the_colours_of_the_picture() -> None:
    """The map that is fitted to the picture gives the picture back from its latents, coarsely, without the decoder."""
    codec = VaeCodec(VaeConfig(channels=8, num_groups=4, latent_channels=4))
    colours = torch.tensor([[[-0.8, 0.6], [0.2, -0.4]], [[0.5, -0.7], [0.9, 0.1]], [[0.0, 0.3], [-0.6, 0.7]]])
    picture = colours.repeat_interleave(32, 1).repeat_interleave(32, 2)[None]
    mixed = torch.tensor([[0.5, -0.2, 0.1], [0.3, 0.8, -0.4], [-0.6, 0.1, 0.9], [0.2, 0.2, 0.2]])
    cells = torch.nn.functional.avg_pool2d(picture, 8)
    latents = torch.einsum("lc,bchw->blhw", mixed, cells) + 0.3

    drawn = codec.sketcher(picture, latents)(latents)

    expected = (torch.nn.functional.avg_pool2d(picture, 2)[0].permute(1, 2, 0) + 1) * 127.5
    assert drawn.shape == (32, 32, 3)
    assert (drawn[4:12, 4:12].float() - expected[4:12, 4:12]).abs().max() < 8
    assert (drawn[20:28, 20:28].float() - expected[20:28, 20:28]).abs().max() < 8


def test_sketch_of_still_latent_flow_is_the_picture() -> None:
    """No motion draws the caller's own picture at half its size."""
    codec = LatentFlowCodec()
    picture = torch.rand(1, 3, 320, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1
    still = codec.encode(picture, noise=stage_noise(0, "keyframes"))

    drawn = codec.sketcher(picture, still)(still)

    expected = (torch.nn.functional.avg_pool2d(picture, 2)[0].permute(1, 2, 0) + 1) * 127.5
    assert (drawn.float() - expected).abs().max() < 2
