"""Defects of the published evaluation, which can be asked for."""

from __future__ import annotations

import torch

from model.clips import AudioClip
from model.media.reference_compat import as_released_loader, through_video


def test_stereo_is_interleaved_frame_by_frame() -> None:
    """Of each 1024 samples the first half remains, left and right in turn; so does the end, which is shorter."""
    left = torch.arange(2500.0)
    clip = as_released_loader(AudioClip(torch.stack([left, -left]), 44_100))

    heard = clip.samples[0].tolist()
    assert clip.samples.shape == (2, 2500)
    assert clip.sample_rate_hz == 44_100
    assert heard[:4] == [0, 0, 1, -1]
    assert heard[1024:1028] == [1024, -1024, 1025, -1025]
    assert heard[2048:2052] == [2048, -2048, 2049, -2049]


def test_mono_is_heard_as_it_is() -> None:
    """Only stereo files were damaged."""
    clip = AudioClip(torch.arange(2500.0)[None], 16_000)

    assert torch.equal(as_released_loader(clip).samples, clip.samples)


def test_pictures_lose_a_little_in_the_video() -> None:
    """Smooth pictures come back near to what they were, but not equal, in order, and the same every time."""
    ramp = torch.arange(64).expand(3, 32, 64) * 2
    pictures = torch.stack([ramp + 10 * index for index in range(12)]).to(torch.uint8)

    read = through_video(pictures, fps=6)

    error = (read.float() - pictures.float()).abs()
    assert (read.dtype, read.shape) == (torch.uint8, pictures.shape)
    assert 0 < error.mean() < 3
    assert torch.equal(read, through_video(pictures, fps=6))
