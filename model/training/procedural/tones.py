"""Building blocks of synthesised sound: noise, modes, resonances, envelopes. All is float32 at 16 kHz."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from model.training.procedural.rhythms import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.training.procedural.canvas import Field
    from model.training.procedural.dice import Dice


def clock(length_s: float) -> Field:
    """Times of a stretch of sound."""
    return np.arange(max(16, round(length_s * SAMPLE_RATE_HZ)), dtype=np.float32) / SAMPLE_RATE_HZ


def white(dice: Dice, count: int) -> Field:
    """White noise of unit power."""
    return dice.generator.standard_normal(count, dtype=np.float32)


def reshape_spectrum(samples: Field, gain: Callable[[Field], Field]) -> Field:
    """Multiply the spectrum by `gain` of the frequency in Hz."""
    size = fft.next_fast_len(len(samples), real=True)
    spectrum = fft.rfft(samples, size)
    frequency = np.arange(len(spectrum), dtype=np.float32) * np.float32(SAMPLE_RATE_HZ / size)
    shaped: Field = fft.irfft(spectrum * gain(frequency), size)[: len(samples)].astype(np.float32)
    return shaped


def band(samples: Field, low_hz: float, high_hz: float, *, steepness: float = 4.0) -> Field:
    """Keep a band; outside of it the spectrum falls by `steepness` x 6 dB per octave."""

    def gain(frequency: Field) -> Field:
        below = (np.maximum(frequency, 1.0) / low_hz) ** steepness
        above = (frequency / high_hz) ** steepness
        passed: Field = below / (1 + below) / (1 + above)
        return passed

    return reshape_spectrum(samples, gain)


def tilt(samples: Field, octave_gain: float, *, corner_hz: float = 200.0) -> Field:
    """Slope the spectrum above `corner_hz`: -1 falls by 6 dB per octave."""
    return reshape_spectrum(samples, lambda frequency: (1 + frequency / corner_hz) ** octave_gain)


def formants(samples: Field, peaks: Sequence[tuple[float, float, float]], *, floor: float = 0.05) -> Field:
    """Resonances: (frequency Hz, bandwidth Hz, gain) each, over a faint flat part."""

    def gain(frequency: Field) -> Field:
        total = np.full_like(frequency, floor)
        for centre, width, height in peaks:
            total += height / (1 + ((frequency - centre) / (0.5 * width)) ** 2)
        return total

    return reshape_spectrum(samples, gain)


def ring(modes: Sequence[tuple[float, float, float]], length_s: float) -> Field:
    """Decaying sines: (frequency Hz, decay s, amplitude) each."""
    time = clock(length_s)
    total = np.zeros_like(time)
    for frequency, decay, amplitude in modes:
        if frequency < 0.47 * SAMPLE_RATE_HZ:
            total += amplitude * np.sin(2 * np.pi * frequency * time) * np.exp(-time / decay)
    return total


def pulses(frequency_hz: Field, *, sharpness: float) -> Field:
    """Voiced source of a changing pitch: a sawtooth, rounded by `sharpness` 0 to 1."""
    phase = np.cumsum(frequency_hz) / SAMPLE_RATE_HZ
    saw = 2 * (phase % 1.0) - 1
    sine = np.sin(2 * np.pi * phase)
    return (sharpness * saw + (1 - sharpness) * sine).astype(np.float32)


def swell(length_s: float, *, attack_s: float, release_s: float) -> Field:
    """Envelope that rises, holds and falls within `length_s`."""
    time = clock(length_s)
    rise = np.clip(time / attack_s, 0, 1)
    fall = np.clip((time[-1] - time) / release_s, 0, 1)
    envelope: Field = np.minimum(rise, fall) ** 1.2
    return envelope


def add_at(track: Field, sound: Field, time_s: float) -> None:
    """Mix `sound` into `track` from `time_s` on; what hangs over either end is cut."""
    start = round(time_s * SAMPLE_RATE_HZ)
    if start < 0:
        sound, start = sound[-start:], 0
    stop = min(start + len(sound), len(track))
    if stop > start:
        track[start:stop] += sound[: stop - start]
