"""When sounds begin: the rise of the spectrogram from one moment to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.media.mel import log_mel, resample

if TYPE_CHECKING:
    from model.clips import AudioClip

_RATE_HZ = 16_000
_HOP_S = 0.01
_CENTRE_S = 0.0125  # of the first column, which looks at 25 ms


def onset_envelope(audio: AudioClip, *, num_frames: int, fps: float) -> npt.NDArray[np.float64]:
    """Spectral flux of a sound around each video frame: float64 `[num_frames]`, at least 0.

    The mean over the mel bands of what they gained since the column before, averaged over the columns of a frame.
    """
    clip = resample(audio.window(0.0, num_frames / fps), _RATE_HZ)
    columns = int(num_frames / fps / _HOP_S) - 2  # those that look at sound only
    mel = log_mel(clip, num_frames=columns)[0, 0].double().numpy()
    flux = np.maximum(np.diff(mel, axis=1), 0.0).mean(axis=0)
    frame = np.floor((_CENTRE_S + _HOP_S * np.arange(1, columns)) * fps + 0.5).astype(int)
    inside = frame < num_frames
    total = np.bincount(frame[inside], weights=flux[inside], minlength=num_frames)
    envelope: npt.NDArray[np.float64] = total / np.maximum(np.bincount(frame[inside], minlength=num_frames), 1)
    return envelope
