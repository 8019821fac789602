"""The base that diffusion adds to."""

from __future__ import annotations

import torch

from model.diffusion.noise import stage_noise
from model.interpolation.freenoise import blend_between_keyframes, draw_permutations, reschedule
from model.residual import bend_through, channel_scale, place_keyframes

FRAMES = (0, 3, 7)


def test_the_base_passes_through_the_keyframes() -> None:
    """At keyframes it is the keyframe, between them the correction is linear, after the last one constant."""
    draft = torch.randn(1, 4, 10, 2, 2)
    correction = torch.tensor([0.0, 3.0, -1.0]).view(1, 1, 3, 1, 1)
    keyframes = draft[:, :, FRAMES] + correction

    base = bend_through(draft, keyframes, FRAMES)

    drawn = (base - draft)[0, 0, :, 0, 0]
    torch.testing.assert_close(base[:, :, FRAMES], keyframes)
    torch.testing.assert_close(drawn, torch.tensor([0, 1, 2, 3, 2, 1, 0, -1, -1, -1.0]), atol=1e-5, rtol=1e-5)


def test_keyframes_are_placed_among_zeros() -> None:
    """Only the keyframes' places hold something."""
    placed = place_keyframes(torch.ones(1, 4, 3, 2, 2), FRAMES, 10)

    assert placed[0, 0, :, 0, 0].tolist() == [1, 0, 0, 1, 0, 0, 0, 1, 0, 0]


def test_each_channel_has_its_scale() -> None:
    """The scale multiplies channels, whatever the other axes."""
    latents = torch.ones(2, 3, 4, 5, 6)

    assert (channel_scale((1.0, 2.0, 3.0), latents) * latents)[0, :, 0, 0, 0].tolist() == [1, 2, 3]


def test_blended_noise_keeps_the_keyframes() -> None:
    """Keyframes keep their own noise and a frame between them has less variance."""
    noise = stage_noise(0, "test").normal((1, 4, 48, 32, 32))

    blended = blend_between_keyframes(noise, (0, 20, 47))

    assert torch.equal(blended[:, :, [0, 20, 47]], noise[:, :, [0, 20, 47]])
    assert blended[:, :, 10].std() < 0.8


def test_rescheduled_noise_is_the_first_window_shuffled() -> None:
    """Every later block holds the frames of the first window, each once, in an order that the seed decides."""
    noise = stage_noise(0, "test").normal((1, 1, 48, 1, 1))
    permutations = draw_permutations(stage_noise(1, "test"), 48)

    rescheduled = reschedule(noise, permutations)[0, 0, :, 0, 0]

    first = noise[0, 0, :12, 0, 0]
    assert permutations.shape == (6, 6)
    for start in range(12, 48, 12):
        assert sorted(rescheduled[start : start + 12].tolist()) == sorted(first.tolist())
    assert torch.equal(permutations, draw_permutations(stage_noise(1, "test"), 48))
