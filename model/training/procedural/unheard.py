"""Sounds made by other synthesis than training uses, for asking whether a model hears onsets or knows our voices.

Frequency modulation, plucked delay lines, sparse impulses, sweeps and random walks; no modes, formants or shaped noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import signal

from model.training.procedural.rhythms import NUM_SAMPLES, SAMPLE_RATE_HZ, Score
from model.training.procedural.tones import add_at, clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.training.procedural.canvas import Field
    from model.training.procedural.dice import Dice

IMPULSIVE_VOICES = ("wood", "skin", "rubber", "metal", "clatter", "dog", "frog", "chicken", "single", "kit", "blast")


def play_steadily(dice: Dice, rate_hz: float) -> Score:
    """Hits at `rate_hz` with a little human unevenness, all inside the clip."""
    period = 1.0 / rate_hz
    start = dice.between(0.12, 0.12 + 0.6 * min(period, 0.6))
    times = np.arange(start, 1.88, period)
    times = times + dice.generator.uniform(-0.04, 0.04, len(times)) * period
    strengths = dice.generator.uniform(0.8, 1.0, len(times))
    length = min(0.6 * period, 0.22)
    kept = tuple(float(time) for time in times)
    return Score(kept, tuple(float(value) for value in strengths / strengths.max()), (length,) * len(kept))


def perform_unheard(voice: str, score: Score, dice: Dice) -> Field:
    """Synthesise a score for one of `IMPULSIVE_VOICES`: [32000], dry, of any level."""
    track = np.zeros(NUM_SAMPLES, np.float32)
    for number, (time, strength) in enumerate(zip(score.times_s, score.strengths, strict=True)):
        if number == 0:
            sound = _MAKERS[voice](dice)
        add_at(track, (sound * strength * dice.between(0.9, 1.1)).astype(np.float32), time)
    return track


def _modulated(dice: Dice, pitch: tuple[float, float], decay: tuple[float, float], index: float) -> Field:
    """Frequency-modulated strike whose spectrum narrows as it dies."""
    time = clock(0.7)
    carrier, die = dice.octaves(*pitch), dice.octaves(*decay)
    modulator = carrier * dice.pick((1.41, 1.73, 2.31, 0.57))
    depth = index * np.exp(-time / (0.5 * die))
    struck: Field = np.exp(-time / die) * np.sin(
        2 * np.pi * carrier * time + depth * np.sin(2 * np.pi * modulator * time)
    )
    return struck


def _plucked(dice: Dice, pitch: tuple[float, float], damping: float) -> Field:
    """A burst that runs round a lossy delay line."""
    delay = max(4, round(SAMPLE_RATE_HZ / dice.octaves(*pitch)))
    burst = np.zeros(round(0.6 * SAMPLE_RATE_HZ), np.float32)
    burst[:delay] = dice.generator.uniform(-1, 1, delay)
    feedback = np.zeros(delay + 2)
    feedback[0] = 1.0
    feedback[delay : delay + 2] = -0.5 * damping
    line: Field = signal.lfilter([1.0], feedback, burst)
    return line


def _yelped(dice: Dice, pitch: tuple[float, float]) -> Field:
    """A modulated glide, up and down."""
    length = dice.between(0.1, 0.22)
    time = clock(length)
    part = time / length
    frequency = dice.octaves(*pitch) * 2 ** (0.5 * np.sin(np.pi * part))
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE_HZ
    depth = dice.between(1.5, 4.0) * (1 - part)
    envelope = np.minimum(time / 0.006, 1) * (1 - part) ** 0.7
    call: Field = envelope * np.sin(phase + depth * np.sin(dice.pick((1.0, 2.0, 0.5)) * phase))
    return call


def _crackled(dice: Dice, decay: tuple[float, float]) -> Field:
    """Sparse impulses that thin out, through a one-pole filter."""
    time = clock(0.5)
    die = dice.octaves(*decay)
    dense = dice.generator.random(len(time)) < 0.7 * np.exp(-time / die)
    spikes = np.where(dense, np.sign(dice.generator.standard_normal(len(time))), 0.0) * np.exp(-0.7 * time / die)
    pole = dice.between(0.3, 0.8)
    shot: Field = signal.lfilter([1 - pole], [1.0, -pole], spikes)
    return shot


def _swept(dice: Dice) -> Field:
    """A falling sweep with a sharp start."""
    time = clock(0.35)
    top, low = dice.octaves(500, 1800), dice.octaves(45, 90)
    phase = 2 * np.pi * np.cumsum(low + (top - low) * np.exp(-time / dice.octaves(0.008, 0.03))) / SAMPLE_RATE_HZ
    swept: Field = np.sin(phase) * np.exp(-time / dice.octaves(0.06, 0.15))
    return swept


def _rumbled(dice: Dice) -> Field:
    """A random walk that dies away under crackles."""
    time = clock(1.0)
    walk = signal.lfilter([1.0], [1.0, -0.985], dice.generator.standard_normal(len(time)))
    rumble = walk / np.abs(walk).max() * np.exp(-time / dice.octaves(0.15, 0.4))
    rumble[: round(0.5 * SAMPLE_RATE_HZ)] += 0.8 * _crackled(dice, (0.03, 0.08))[: round(0.5 * SAMPLE_RATE_HZ)]
    blast: Field = rumble * np.minimum(time / 0.004, 1)
    return blast


_MAKERS: dict[str, Callable[[Dice], Field]] = {
    "wood": lambda dice: _modulated(dice, (250, 900), (0.03, 0.08), 3.0),
    "skin": lambda dice: _swept(dice) + 0.2 * _crackled(dice, (0.01, 0.02))[: round(0.35 * SAMPLE_RATE_HZ)],
    "rubber": lambda dice: _modulated(dice, (90, 260), (0.03, 0.07), 1.5),
    "metal": lambda dice: _modulated(dice, (600, 2200), (0.08, 0.25), 5.0),
    "clatter": lambda dice: _plucked(dice, (300, 1200), 0.93),
    "dog": lambda dice: _yelped(dice, (250, 600)),
    "frog": lambda dice: _yelped(dice, (120, 260)),
    "chicken": lambda dice: _yelped(dice, (500, 1000)),
    "single": lambda dice: _crackled(dice, (0.02, 0.06)),
    "kit": _swept,
    "blast": _rumbled,
}
