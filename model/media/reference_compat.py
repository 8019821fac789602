"""Defects of the published evaluation, for numbers that must be comparable with the published ones."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import numpy as np
import torch

from model.clips import AudioClip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_AAC_FRAME_SAMPLES = 1024
_KEYFRAME_CRF = 10
# One thread: the encoder's result depends on their number.
_ENCODER_OPTIONS = {"crf": str(_KEYFRAME_CRF), "threads": "1"}
# x264's routines for AVX-512 gave other bytes in one of a hundred runs for pictures of 64x32; those for AVX2 never did.
_WITHOUT_AVX512 = {"x264-params": "asm=avx2"}


def join_audio_frames(frames: Sequence[Tensor], *, as_released: bool = False) -> Tensor:
    """Decoded audio frames `[samples, channels]` as one sound `[channels, samples]`.

    The release reshapes each frame where it should transpose it: of a stereo frame, the first channel becomes its first
    half at half speed, left and right interleaved. Mono is not affected. Published evaluations heard that, and so
    does `as_released`.
    """
    if as_released:
        return torch.cat([frame.reshape(frame.shape[1], frame.shape[0]) for frame in frames], dim=1)
    return torch.cat([frame.T for frame in frames], dim=1)


def as_released_loader(clip: AudioClip) -> AudioClip:
    """A clip as the released loader would hand it on, had it come in AAC frames of 1024 samples from its start."""
    frames = torch.split(clip.samples.T, _AAC_FRAME_SAMPLES)
    return AudioClip(join_audio_frames(frames, as_released=True), clip.sample_rate_hz)


def through_video(pictures: Tensor, *, fps: int) -> Tensor:
    """Keyframes uint8 `[K, 3, H, W]` (even sizes) as the interpolation of the release reads them: from a lossy MP4.

    Source: released behaviour, H.264 at CRF 10 in 4:2:0.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        has_avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
        options = {**_ENCODER_OPTIONS, **_WITHOUT_AVX512} if has_avx512 else _ENCODER_OPTIONS
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = pictures.shape[2:]
        stream.pix_fmt = "yuv420p"
        for picture in pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r", format="mp4") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).to(pictures.device)
