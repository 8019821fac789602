"""When things happen in a clip: the one score that both the sound and the motion follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from model.training.procedural.canvas import Field
    from model.training.procedural.dice import Dice

SAMPLE_RATE_HZ = 16_000
DURATION_S = 2.0
NUM_SAMPLES = 32_000
FPS = 24
NUM_FRAMES = 48

_FIRST_S, _LAST_S = 0.08, 1.93
_LOUDNESS_EXPONENT = 0.6  # of the sound's pressure; 10 dB less seems half as loud


@dataclass(frozen=True, slots=True)
class Score:
    """What is played.

    Args:
        times_s: onsets, ascending; of sustained kinds, when they are loudest.
        strengths: sound pressure of each, 0 to 1; the strongest is 1.
        lengths_s: how long each lasts.
        loudness: [32000], of sustained kinds the loudness over time, 0 to 1.
        pitch: [32000], of tuned kinds the pitch in octaves above the lowest note, 0 to 1.
        turns_s: of bowed kinds, when the bow turns; the stroke before the first turn goes to the right.
    """

    times_s: tuple[float, ...]
    strengths: tuple[float, ...]
    lengths_s: tuple[float, ...]
    loudness: Field | None = None
    pitch: Field | None = None
    turns_s: tuple[float, ...] = ()

    @property
    def efforts(self) -> tuple[float, ...]:
        """How far each event moves what is heard, 0 to 1: as loud as it seems, after Stevens (1957)."""
        return tuple(float(strength**_LOUDNESS_EXPONENT) for strength in self.strengths)

    @property
    def contact_frames(self) -> tuple[int, ...]:
        """The video frame that shows each event: frame t shows time t / 24 s."""
        return tuple(min(round(time * FPS), NUM_FRAMES - 1) for time in self.times_s)


def seconds() -> Field:
    """Time of every sample."""
    return np.arange(NUM_SAMPLES, dtype=np.float32) / SAMPLE_RATE_HZ


def at_frames(curve: Field) -> Field:
    """A curve of samples, read at the video frames."""
    read: Field = curve[np.round(np.arange(NUM_FRAMES) * SAMPLE_RATE_HZ / FPS).astype(int)]
    return read


def play_hits(dice: Dice, *, shortest_s: float = 0.16) -> Score:
    """Separate hits: a steady beat, loose intervals, a few alone, or bursts; at most 6 a second."""
    style = dice.pick(("steady", "steady", "loose", "sparse", "burst"))
    if style == "steady":
        period = 1.0 / dice.octaves(1.0, min(6.2, 1.0 / shortest_s))
        jitter = dice.between(0.0, 0.06) * period
        times = np.arange(dice.between(_FIRST_S, _FIRST_S + period), _LAST_S, period)
        times = times + dice.generator.normal(0, jitter, len(times))
    elif style == "loose":
        times = dice.between(_FIRST_S, 0.6) + np.cumsum(shortest_s + dice.generator.gamma(1.5, 0.15, 12))
    elif style == "sparse":
        times = dice.generator.uniform(_FIRST_S + 0.1, _LAST_S - 0.15, dice.integer(1, 3))
    else:
        start, period = dice.between(0.1, 0.9), dice.between(shortest_s, 0.24)
        times = start + period * np.arange(dice.integer(2, 4))
        if dice.chance(0.6):
            times = np.concatenate((times, times + dice.between(0.3, 0.6) + times[-1] - times[0]))
    kept = _separated(times, shortest_s)
    return Score(kept, _strengths(dice, len(kept)), (0.1,) * len(kept))


def play_calls(dice: Dice, *, length_s: tuple[float, float], gap_s: tuple[float, float]) -> Score:
    """Barks, syllables, notes: each lasts, then a pause."""
    times, lengths = [], []
    time = dice.between(_FIRST_S, 0.5)
    while time < _LAST_S - 0.1:
        length = dice.octaves(*length_s)
        times.append(time)
        lengths.append(min(length, DURATION_S - time))
        time += max(length + dice.octaves(*gap_s), 0.17)
        if dice.chance(0.1):
            time += dice.between(0.2, 0.6)
    return Score(tuple(times), _strengths(dice, len(times)), tuple(lengths))


def play_automatic(dice: Dice) -> Score:
    """Bursts of 5 to 9 shots a second."""
    period = 1.0 / dice.octaves(5.0, 9.0)
    times: list[float] = []
    time = dice.between(_FIRST_S, 0.5)
    while time < _LAST_S and len(times) < 16:
        for _ in range(dice.integer(3, 9)):
            times.append(time)
            time += period
        time += dice.between(0.25, 0.7)
    kept = tuple(time for time in times if time < _LAST_S)
    return Score(kept, (1.0,) * len(kept), (period,) * len(kept))


def play_strokes(dice: Dice) -> Score:
    """Bow strokes: each swells and dies; the next goes the other way. Events are their loudest moments."""
    steady = dice.octaves(0.22, 0.9)
    # More than half of the first stroke is heard: what it is the second of could not be.
    time = dice.between(-0.4 * steady, 0.35)
    loudness = np.zeros(NUM_SAMPLES, np.float32)
    pitch = np.zeros(NUM_SAMPLES, np.float32)
    clock = seconds()
    times, strengths, lengths, turns = [], [], [], []
    while time < DURATION_S - 0.05:
        length = steady * (1.0 if dice.chance(0.7) else dice.between(0.7, 1.5))
        strength = dice.between(0.7, 1.0)
        phase = (clock - time) / length
        inside = (phase > 0) & (phase < 1)
        loudness += strength * np.maximum(np.sin(np.pi * np.clip(phase, 0, 1)), 0.0) ** np.float32(0.8)
        pitch[inside] = dice.pick((0.0, 0.17, 0.33, 0.58, 0.75, 1.0))
        if time + 0.5 * length < DURATION_S:
            times.append(max(time + 0.5 * length, 0.0))
            strengths.append(strength)
            lengths.append(length)
        time += length
        turns.append(time)
    return Score(tuple(times), tuple(strengths), tuple(lengths), loudness, pitch, tuple(turns))


def play_notes(dice: Dice) -> Score:
    """Notes of a horn, which start sharply and may glide into the next pitch."""
    calls = play_calls(dice, length_s=(0.14, 0.6), gap_s=(0.015, 0.15))
    clock = seconds()
    notes = [dice.pick((0.0, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0)) for _ in calls.times_s]
    pitch = np.full(NUM_SAMPLES, notes[0], np.float32)  # only intervals can be heard: the slide waits at the first note
    for time, previous, note in zip(calls.times_s[1:], notes, notes[1:], strict=False):
        glide = np.clip((clock - time + 0.02) / 0.05, 0, 1)
        pitch = np.where(clock >= time - 0.02, previous + (note - previous) * glide, pitch).astype(np.float32)
    return Score(calls.times_s, calls.strengths, calls.lengths_s, None, pitch)


def play_swells(dice: Dice, *, slowest_s: float = 1.2) -> Score:
    """Loudness of wind, water and motors: rises and falls between quiet and loud."""
    clock = seconds()
    style = dice.pick(("swell", "swell", "start", "pulse"))
    knots_t, knots_v = [-0.5], [dice.between(0.05, 0.35)]
    if style == "start":
        start = dice.between(0.2, 1.2)
        knots_t += [start, start + dice.between(0.08, 0.3), 2.5]
        knots_v += [knots_v[0] * 0.3, 1.0, dice.between(0.5, 1.0)]
        peaks = [knots_t[2]]
    else:
        time = dice.between(0.0, 0.5)
        shortest = 0.18 if style == "pulse" else 0.35
        peaks = []
        while time < 2.3:
            rise = dice.octaves(shortest, slowest_s * 0.5)
            knots_t += [time + rise, time + 2 * rise + dice.between(0.0, 0.2)]
            knots_v += [dice.between(0.65, 1.0), dice.between(0.02, 0.3)]
            peaks.append(knots_t[-2])
            time = knots_t[-1]
    loudness = _smooth_through(np.array(knots_t), np.array(knots_v), clock)
    loudness = (loudness / max(float(loudness.max()), 0.3)).astype(np.float32)
    inside = tuple(float(peak) for peak in peaks if 0 <= peak < DURATION_S)
    return Score(inside, (1.0,) * len(inside), (0.3,) * len(inside), loudness)


def _smooth_through(times: Field, values: Field, clock: Field) -> Field:
    """Curve through knots that rests at each."""
    index = np.clip(np.searchsorted(times, clock, side="right") - 1, 0, len(times) - 2)
    part = np.clip((clock - times[index]) / np.maximum(times[index + 1] - times[index], 1e-6), 0, 1)
    part = part * part * (3 - 2 * part)
    curve: Field = values[index] + (values[index + 1] - values[index]) * part
    return curve


def _separated(times: Field, shortest_s: float) -> tuple[float, ...]:
    """The times inside the clip, none closer to the one before than `shortest_s`."""
    kept: list[float] = []
    for time in sorted(float(value) for value in times):
        if _FIRST_S <= time < _LAST_S and (not kept or time - kept[-1] >= shortest_s * 0.98):
            kept.append(time)
    return tuple(kept) if kept else (1.0,)


def _strengths(dice: Dice, count: int) -> tuple[float, ...]:
    """Loudness of each event; the strongest is 1."""
    spread = dice.pick((0.0, 0.15, 0.35, 0.6))
    drawn = 1.0 - spread * dice.generator.random(count)
    return tuple(float(value) for value in drawn / drawn.max())
