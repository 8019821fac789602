"""The published codec's dealings with frames and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from model.codecs.vae import VaeCodec, VaeConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

FIRST_FRAME = torch.zeros(1, 3, 16, 24)


class CountedNoise:
    """Zeros, or ones after the first draw, and how often it was asked."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return zeros the first time, then ones."""
        self.shapes.append(tuple(shape))
        return torch.full(tuple(shape), float(len(self.shapes) > 1))


@pytest.fixture(scope="module")
def codec() -> VaeCodec:
    """A narrow autoencoder with random weights."""
    torch.manual_seed(0)
    return VaeCodec(VaeConfig(channels=4, num_groups=2)).eval().requires_grad_(requires_grad=False)


def test_every_picture_has_its_own_draw(codec: VaeCodec) -> None:
    """Two equal pictures differ by the posterior's spread times their draws, and by nothing else."""
    noise = CountedNoise()
    picture = torch.rand(1, 3, 16, 24) * 2 - 1

    latents = codec.encode(picture.repeat(2, 1, 1, 1), noise=noise)

    mean, log_variance = codec.posterior(picture)
    assert noise.shapes == [(1, 4, 2, 3)] * 2
    torch.testing.assert_close(latents[:1], mean * 0.18215)
    torch.testing.assert_close(latents[1:] - latents[:1], (log_variance / 2).exp() * 0.18215, rtol=1e-4, atol=1e-6)


def test_frames_are_decoded_one_by_one(codec: VaeCodec) -> None:
    """Each latent frame gives one 8-bit picture, truncated, the same as alone."""
    latents = torch.randn(1, 4, 3, 2, 3, generator=torch.Generator().manual_seed(0))

    frames = list(codec.decode(latents, FIRST_FRAME))

    alone = codec.draw(latents[:, :, 1]).clamp(-1, 1)
    assert [(frame.dtype, tuple(frame.shape)) for frame in frames] == [(torch.uint8, (1, 16, 24, 3))] * 3
    assert torch.equal(frames[1], ((alone + 1) / 2 * 255).to(torch.uint8).permute(0, 2, 3, 1))


def test_a_video_gets_the_frames_as_they_are(codec: VaeCodec) -> None:
    """They are painted in RGB: nothing is saved by other colours."""
    latents = torch.randn(1, 4, 2, 2, 3, generator=torch.Generator().manual_seed(0))

    for_video = list(codec.decode_for_video(latents, FIRST_FRAME))

    assert all(map(torch.equal, for_video, codec.decode(latents, FIRST_FRAME)))


def test_keyframes_are_handed_over_as_pictures(codec: VaeCodec) -> None:
    """What the interpolation reads are the latents of the 8-bit keyframes, with a draw for each."""
    noise = CountedNoise()
    latents = torch.randn(1, 4, 2, 2, 3, generator=torch.Generator().manual_seed(0))

    handed = codec.hand_over(latents, FIRST_FRAME, noise=noise)

    first = next(codec.decode(latents, FIRST_FRAME)).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    assert handed.shape == latents.shape
    assert len(noise.shapes) == 2
    torch.testing.assert_close(handed[:, :, 0], codec.posterior(first)[0] * 0.18215)


def test_pictures_may_be_changed_on_their_way(codec: VaeCodec) -> None:
    """What is encoded is what comes out of the given function, which gets all 8-bit pictures at once."""
    passed: list[Tensor] = []

    def black(pictures: Tensor) -> Tensor:
        passed.append(pictures)
        return torch.zeros_like(pictures)

    handed = codec.hand_over(torch.ones(1, 4, 2, 2, 3), FIRST_FRAME, noise=CountedNoise(), through=black)

    assert [(pictures.dtype, tuple(pictures.shape)) for pictures in passed] == [(torch.uint8, (2, 3, 16, 24))]
    torch.testing.assert_close(handed[:, :, 0], codec.posterior(torch.full((1, 3, 16, 24), -1.0))[0] * 0.18215)


def test_codec_says_its_geometry(codec: VaeCodec) -> None:
    """Four channels, eight pixels per cell."""
    assert (codec.latent_channels, codec.cell_px) == (4, 8)
