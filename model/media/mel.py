"""Sound to log-mel spectrogram, as the published audio encoder was trained on it.

Resampling to 16 kHz, loudness normalisation and the 128-bin filter bank live here; decoding files does not.
Everything is float32 torch in the operation order of the published features, so that values agree to the last bits.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

import numpy as np
import soxr
import torch
from torch import Tensor

from model.clips import AudioClip

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 2 * SAMPLE_RATE_HZ
MEL_BINS = 128
MEL_FRAMES = 204

_FRAME_SAMPLES = 400  # 25 ms
_HOP_SAMPLES = 160  # 10 ms
_FFT_SIZE = 512
_PREEMPHASIS = 0.97
_LOW_HZ = 20.0
_HIGH_HZ = 8_000.0
_ENERGY_FLOOR = 1.1920928955078125e-07  # float32 epsilon
_MEL_MEAN = -4.268
_MEL_STD = 9.138

_SINC_ZEROS = 6
_SINC_ROLLOFF = 0.99
_MAX_SINC_TAPS = 4_000_000
_MAX_KEPT_KERNELS = 8  # of up to 16 MB each; callers choose the rates

_TARGET_RMS = 0.1
_SILENT_RMS = 1e-5
_MAX_GAIN = 30.0


def resample(clip: AudioClip, sample_rate_hz: int) -> AudioClip:
    """Resample with a windowed sinc (6 zero crossings, roll-off 0.99, cosine-squared window).

    Rate pairs whose exact polyphase filter would be huge (22051 Hz to 16 kHz) go through soxr instead.
    Source: released behaviour (the function form: the filter is built in float32).
    """
    if clip.sample_rate_hz == sample_rate_hz:
        return clip
    divisor = math.gcd(clip.sample_rate_hz, sample_rate_hz)
    source, target = clip.sample_rate_hz // divisor, sample_rate_hz // divisor
    width = math.ceil(_SINC_ZEROS * source / (_SINC_ROLLOFF * min(source, target)))
    if target * (2 * width + source) > _MAX_SINC_TAPS:
        resampled = soxr.resample(clip.samples.T.numpy(), clip.sample_rate_hz, sample_rate_hz)
        return AudioClip(torch.from_numpy(np.ascontiguousarray(resampled.T)), sample_rate_hz)
    kernel = _sinc_kernel(source, target, width)
    padded = torch.nn.functional.pad(clip.samples, (width, width + source))
    phases = torch.nn.functional.conv1d(padded[:, None], kernel[:, None], stride=source)  # [channels, target, blocks]
    length = math.ceil(target * clip.samples.shape[1] / source)
    return AudioClip(phases.transpose(1, 2).flatten(1)[:, :length].contiguous(), sample_rate_hz)


@lru_cache(maxsize=_MAX_KEPT_KERNELS)
def _sinc_kernel(source: int, target: int, width: int) -> Tensor:
    """One low-pass filter per output phase, `[target, 2 * width + source]`; rates are divided by their gcd."""
    cutoff = _SINC_ROLLOFF * min(source, target)
    offsets = torch.arange(-width, width + source, dtype=torch.float32) / source
    phases = torch.arange(0, -target, -1, dtype=torch.float32) / target
    t = ((phases[:, None] + offsets) * cutoff).clamp(-_SINC_ZEROS, _SINC_ZEROS)
    window = torch.cos(t * math.pi / _SINC_ZEROS / 2) ** 2
    angle = t * math.pi
    sinc: Tensor = torch.where(angle == 0, torch.ones_like(angle), angle.sin() / angle)
    return sinc * (window * (cutoff / source))


def centre_crop(clip: AudioClip, num_samples: int = WINDOW_SAMPLES) -> AudioClip:
    """Keep the middle `num_samples`; a shorter clip is returned as it is (the mel pads it, not the waveform)."""
    start = max(clip.samples.shape[1] - num_samples, 0) // 2
    return AudioClip(clip.samples[:, start : start + num_samples], clip.sample_rate_hz)


def normalize_loudness(samples: Tensor) -> Tensor:
    """Remove the mean of each row and bring it to an RMS of 0.1, with at most 30-fold gain.

    Takes and returns float32 `[B, samples]`. Rows quieter than an RMS of 1e-5 count as silence and get no gain.
    """
    centred = samples - samples.mean(dim=1, keepdim=True)
    rms = centred.square().mean(dim=1, keepdim=True).sqrt()
    gain = (_TARGET_RMS / rms.clamp(min=_SILENT_RMS)).clamp(max=_MAX_GAIN)
    return centred * torch.where(rms < _SILENT_RMS, torch.ones_like(gain), gain)


def log_mel(clip: AudioClip, *, num_frames: int = MEL_FRAMES) -> Tensor:
    """Normalised log-mel spectrogram `[1, 1, 128, num_frames]` of a clip of any rate.

    Only the first channel is analysed, but the mean that is removed is that of all channels, as the published
    weights expect. Two seconds give 198 frames; the rest is zeros placed before normalisation.
    Source: KeyVID, Appendix A; ImageBind's audio preprocessing.
    """
    samples = resample(clip, SAMPLE_RATE_HZ).samples
    return _normalised_bank((samples - samples.mean())[:1], num_frames)


def log_mel_batch(samples: Tensor, *, num_frames: int = MEL_FRAMES) -> Tensor:
    """Normalised log-mel spectrograms of mono sounds at 16 kHz.

    Takes float32 `[B, samples]` in [-1, 1]; returns float32 `[B, 1, 128, num_frames]`, where each row equals
    `log_mel` of that row alone.
    """
    return _normalised_bank(samples - samples.mean(dim=1, keepdim=True), num_frames)


def _normalised_bank(samples: Tensor, num_frames: int) -> Tensor:
    bank = _filter_bank(samples).transpose(1, 2)[..., :num_frames]
    padded = torch.nn.functional.pad(bank, (0, num_frames - bank.shape[2]))
    return ((padded - _MEL_MEAN) / _MEL_STD)[:, None]


def _filter_bank(samples: Tensor) -> Tensor:
    """Kaldi's log filter-bank energies `[B, frames, 128]`, without dither; frames that would overhang are dropped."""
    if samples.shape[1] < _FRAME_SAMPLES:
        return samples.new_zeros(samples.shape[0], 0, MEL_BINS)
    frames = samples.unfold(1, _FRAME_SAMPLES, _HOP_SAMPLES)
    frames = frames - frames.mean(dim=2, keepdim=True)
    previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
    frames = (frames - _PREEMPHASIS * previous) * hann_window()
    power = torch.fft.rfft(frames, n=_FFT_SIZE).abs().square()
    energies = power[..., :-1] @ mel_filters().T  # the Nyquist bin has no weight in any filter
    log_energies: Tensor = energies.clamp(min=_ENERGY_FLOOR).log()
    return log_energies


@cache
def hann_window() -> Tensor:
    """Analysis window of one frame, symmetric, `[400]`."""
    return torch.hann_window(_FRAME_SAMPLES, periodic=False)


@cache
def mel_filters() -> Tensor:
    """Triangular filters `[128, 256]`, linear on the mel scale 1127 ln(1 + f / 700), without area normalisation."""

    def to_mel(frequency_hz: float) -> float:
        return 1127.0 * math.log(1.0 + frequency_hz / 700.0)

    low = to_mel(_LOW_HZ)
    step = (to_mel(_HIGH_HZ) - low) / (MEL_BINS + 1)
    index = torch.arange(MEL_BINS, dtype=torch.float32)[:, None]
    left, centre, right = low + index * step, low + (index + 1) * step, low + (index + 2) * step
    bins_hz = (SAMPLE_RATE_HZ / _FFT_SIZE) * torch.arange(_FFT_SIZE // 2, dtype=torch.float32)
    mel = 1127.0 * (1.0 + bins_hz / 700.0).log()
    rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0)
