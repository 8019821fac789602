"""Resampling, loudness and mel spectrograms beyond the published numbers."""

from __future__ import annotations

import math

import pytest
import torch

from model.clips import AudioClip
from model.media import mel
from model.media.mel import MEL_FRAMES, centre_crop, log_mel, log_mel_batch, normalize_loudness, resample


def _tone(rate: int, *, seconds: float = 1.0, hertz: float = 440.0) -> AudioClip:
    time = torch.arange(round(seconds * rate)) / rate
    return AudioClip(0.5 * torch.sin(2 * math.pi * hertz * time)[None], rate)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_051, 44_100, 48_000, 192_000])
def test_a_tone_survives_resampling(rate: int) -> None:
    """Any rate, also one without a small common divisor, becomes the same tone at 16 kHz."""
    resampled = resample(_tone(rate), 16_000)

    expected = _tone(16_000).samples
    middle = slice(2_000, 14_000)
    assert abs(resampled.samples.shape[1] - 16_000) <= 1
    torch.testing.assert_close(resampled.samples[:, middle], expected[:, middle], atol=2e-3, rtol=0)


def test_the_same_rate_is_left_alone() -> None:
    """Resampling to the own rate returns the clip itself."""
    clip = _tone(16_000)

    assert resample(clip, 16_000) is clip


def test_loudness_does_not_depend_on_the_level() -> None:
    """The same sound at a tenth of the level is brought to the same RMS, without its offset."""
    loud = _tone(16_000).samples

    quiet, normal = normalize_loudness(torch.cat([0.1 * loud + 0.2, loud]))

    torch.testing.assert_close(quiet, normal, atol=1e-5, rtol=0)
    assert normal.square().mean().sqrt() == pytest.approx(0.1, abs=1e-4)


def test_silence_gets_no_gain() -> None:
    """Noise far below hearing stays what it is, and faint sound is raised 30-fold at most."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 32_000, generator=generator)

    nothing = normalize_loudness(1e-6 * noise)
    faint = normalize_loudness(1e-4 * noise)

    assert nothing.abs().max() < 1e-5
    torch.testing.assert_close(faint, 30 * 1e-4 * (noise - noise.mean()), atol=1e-5, rtol=0)


def test_mel_of_any_length_has_the_asked_width() -> None:
    """Shorter than one window, exactly two seconds and far too long all give 204 columns."""
    for samples in (100, 32_000, 100_000):
        mel = log_mel(AudioClip(torch.zeros(1, samples), 16_000))
        assert mel.shape == (1, 1, 128, MEL_FRAMES)
        assert torch.isfinite(mel).all()


def test_an_offset_is_not_heard() -> None:
    """The mean is removed before the analysis."""
    tone = _tone(16_000, seconds=2).samples

    shifted, plain = log_mel_batch(torch.cat([tone * 0.5 + 0.3, tone * 0.5]))

    # 3 mel bins below the tone hold only rounding noise.
    torch.testing.assert_close(shifted[:, 10:], plain[:, 10:], atol=2e-2, rtol=0)


def test_centre_crop_keeps_the_middle() -> None:
    """A longer clip loses the same on both sides; a shorter one is returned whole."""
    ramp = AudioClip(torch.arange(10.0)[None], 16_000)

    assert centre_crop(ramp, 4).samples.tolist() == [[3.0, 4.0, 5.0, 6.0]]
    assert centre_crop(ramp, 20).samples.shape == (1, 10)


def test_a_batch_equals_its_single_clips() -> None:
    """Training's batched spectrogram is the service's, row by row."""
    rows = torch.cat([_tone(16_000, seconds=2.0).samples, _tone(16_000, seconds=2.0, hertz=660.0).samples])

    batch = log_mel_batch(rows)

    single = torch.cat([log_mel(AudioClip(row[None], 16_000)) for row in rows])
    torch.testing.assert_close(batch, single, atol=5e-5, rtol=0)


def test_ever_new_rates_keep_few_filters() -> None:
    """A filter can weigh 16 MB, and callers choose the rates: only the latest are kept."""
    for rate in range(8_000, 8_200, 10):
        resample(_tone(rate, seconds=0.01), 16_000)

    kept = mel._sinc_kernel.cache_info()
    assert kept.maxsize is not None
    assert kept.currsize <= kept.maxsize <= 8
