"""Sounds in their canonical form."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from service.media.audio import canonicalize_audio
from service.media.limits import ProbeLimits
from service.media.refusal import Refused
from tests import uploads


def canonical(data: bytes, decoder: str) -> tuple[np.ndarray, int, dict[str, float]]:
    """Samples int16 `[samples, channels]`, rate, and what was measured."""
    target = io.BytesIO()
    measured = canonicalize_audio(io.BytesIO(data), target, decoder, ProbeLimits())
    target.seek(0)
    with wave.open(target) as reader:
        samples = np.frombuffer(reader.readframes(reader.getnframes()), "<i2").reshape(-1, reader.getnchannels())
        return samples, reader.getframerate(), measured


def loudest_hertz(samples: np.ndarray, rate: int) -> float:
    """The frequency that holds most energy in the first channel."""
    return float(np.argmax(np.abs(np.fft.rfft(samples[:, 0]))) * rate / len(samples))


@pytest.mark.parametrize(
    ("decoder", "container", "codec"),
    [("flac", "flac", "flac"), ("mp3", "mp3", "libmp3lame"), ("ogg", "ogg", "libopus"), ("mov", "ipod", "aac")],
)
def test_every_accepted_format_becomes_a_wav_of_the_same_tone(decoder: str, container: str, codec: str) -> None:
    """Compressed sounds keep pitch, length, rate and channels."""
    samples, rate, measured = canonical(uploads.sound(container, codec), decoder)

    assert rate == measured["sample_rate"] == 48_000
    assert samples.shape[1] == measured["channels"] == 2
    assert measured["duration_s"] == pytest.approx(1.0, abs=0.03)
    assert loudest_hertz(samples, rate) == pytest.approx(440, abs=2)


def test_wav_keeps_its_samples() -> None:
    """A 16-bit WAV of a usual rate passes through within one step of the scale."""
    samples, rate, measured = canonical(uploads.wav(0.5, rate=22_050, channels=2), "wav")

    expected = uploads.tone(0.5, rate=22_050, channels=2) * 32767
    assert rate == 22_050
    assert np.abs(samples - expected).max() <= 2
    assert measured == {"duration_s": 0.5, "sample_rate": 22_050, "channels": 2}


def test_high_rate_is_reduced_to_48_khz() -> None:
    """A 192 kHz sound is measured as it is and kept at 48 kHz, in tune."""
    samples, rate, measured = canonical(uploads.wav(1.0, rate=192_000), "wav")

    assert (rate, len(samples), measured["sample_rate"]) == (48_000, 48_000, 192_000)
    assert loudest_hertz(samples, rate) == pytest.approx(440, abs=2)


def test_samples_beyond_full_scale_are_clipped() -> None:
    """A float sound that is too loud does not wrap around."""
    samples, _, _ = canonical(uploads.float_wav(np.full((8000, 1), 7.0, np.float32)), "wav")

    assert samples.min() == samples.max() == 32767


def test_silence_is_accepted() -> None:
    """A sound in which nothing is heard is a sound."""
    samples, _, measured = canonical(uploads.silence(1.0), "wav")

    assert not samples.any()
    assert measured["duration_s"] == 1.0


def test_streamed_wav_without_a_length_is_accepted() -> None:
    """A header written before the length was known is no reason to refuse."""
    streamed = bytearray(uploads.wav(1.0))
    streamed[4:8] = streamed[40:44] = b"\xff\xff\xff\xff"

    assert canonical(bytes(streamed), "wav")[2]["duration_s"] == 1.0


@pytest.mark.parametrize(
    ("data", "decoder", "code"),
    [
        (uploads.wav()[:44], "wav", "audio_decode_failed"),
        (uploads.wav_of(np.zeros((0, 1), np.float32), rate=16_000), "wav", "audio_too_short"),
        (uploads.wav(1.0)[:9000], "wav", "audio_decode_failed"),
        (uploads.wav(0.2), "wav", "audio_too_short"),
        (uploads.wav(61.0, rate=8000), "wav", "audio_too_long"),
        (uploads.wav(1.0, rate=4000), "wav", "audio_decode_failed"),
        (uploads.wav(0.5, rate=384_000), "wav", "audio_decode_failed"),
        (uploads.wav(1.0, channels=6), "wav", "audio_decode_failed"),
        (uploads.float_wav(np.full((8000, 1), np.nan, np.float32)), "wav", "audio_decode_failed"),
        (uploads.float_wav(np.full((8000, 1), np.inf, np.float32)), "wav", "audio_decode_failed"),
        (uploads.sound("flac", "flac")[:12_000], "flac", "audio_decode_failed"),
        (uploads.sound("ipod", "aac")[:9000], "mov", "audio_decode_failed"),
        (b"RIFF\x24\x00\x00\x00WAVE" + b"just words " * 20, "wav", "audio_decode_failed"),
        (b"ID3" + b"just words " * 2000, "mp3", "audio_decode_failed"),
        (uploads.hours_of_opus(1.0), "ogg", "audio_too_long"),
    ],
    ids=[
        "header alone", "no samples", "cut wav", "short", "long", "low rate", "high rate", "six channels", "nan",
        "infinite", "cut flac", "cut m4a", "words as wav", "words as mp3", "an hour of opus",
    ],
)  # fmt: skip
def test_unusable_sound_is_refused(data: bytes, decoder: str, code: str) -> None:
    """Each kind of bad sound has its code."""
    with pytest.raises(Refused) as refused:
        canonical(data, decoder)

    assert refused.value.code == code
