"""What lies between a sound and its recording: walls, noise, other sources, a microphone, a codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from model.training.procedural.rhythms import NUM_SAMPLES, SAMPLE_RATE_HZ, play_hits
from model.training.procedural.sounds import chord, perform
from model.training.procedural.tones import band, clock, tilt, white

if TYPE_CHECKING:
    from model.training.procedural.canvas import Field
    from model.training.procedural.dice import Dice


def record(dry: Field, dice: Dice) -> Field:
    """Record a dry sound [32000] as a phone in a room might: float32 [32000], peak below 1."""
    sound = dry / (np.abs(dry).max() + 1e-9)
    if dice.chance(0.7):
        sound = _reverberate(sound, dice)
    power = float(np.sqrt(np.mean(sound**2))) + 1e-9
    if dice.chance(0.3):
        other = perform(dice.pick(("wood", "metal", "rubber")), play_hits(dice), dice)
        sound = sound + other / (np.abs(other).max() + 1e-9) * np.float32(dice.octaves(0.02, 0.2))
    if dice.chance(0.3):
        sound = sound + chord(dice) * np.float32(power * dice.octaves(0.05, 1.0))
    floor_db = dice.between(8.0, 45.0) if dice.chance(0.8) else 60.0
    noise = tilt(white(dice, NUM_SAMPLES), dice.between(-2.0, 0.0))
    sound = sound + noise * np.float32(power * 10 ** (-floor_db / 20) / (float(noise.std()) + 1e-9))
    if dice.chance(0.35):
        sound = band(sound, dice.octaves(60, 350), dice.octaves(2800, 7500), steepness=dice.between(2, 8))
    if dice.chance(0.3):
        sound = _compress(sound, dice)
    peak = np.abs(sound).max() + 1e-9
    recorded: Field = (sound / peak * dice.octaves(0.05, 0.95)).astype(np.float32)
    return recorded


def _reverberate(sound: Field, dice: Dice) -> Field:
    """A room: a few early reflections and a tail of 0.1 to 1 s, darker than the sound and at most 3 dB louder."""
    decay = dice.octaves(0.03, 0.25)
    time = clock(min(6 * decay, 1.0))
    echoes = white(dice, len(time)) * np.exp(-time / decay)
    if dice.chance(0.3):  # a bare room: single echoes that can be told apart
        echoes *= dice.generator.random(len(time)) < dice.octaves(0.003, 0.1)
    tail = band(echoes, 100, dice.octaves(1500, 6000), steepness=1.0)
    tail *= np.clip((time - dice.between(0.002, 0.02)) / 0.004, 0, 1)
    tail *= np.float32(dice.octaves(0.1, 1.4) / (np.sqrt(np.sum(tail**2)) + 1e-9))
    for _ in range(dice.integer(1, 4)):
        tail[min(int(dice.octaves(0.003, 0.04) * SAMPLE_RATE_HZ), len(tail) - 1)] += dice.between(-0.35, 0.35)
    tail[0] = 1.0
    size = fft.next_fast_len(NUM_SAMPLES + len(tail), real=True)
    wet: Field = fft.irfft(fft.rfft(sound, size) * fft.rfft(tail, size), size)[:NUM_SAMPLES].astype(np.float32)
    return wet


def _compress(sound: Field, dice: Dice) -> Field:
    """A loud phone and a lossy codec: soft clipping, then few levels per stretch."""
    peak = np.abs(sound).max() + 1e-9
    driven = np.tanh(sound / peak * dice.between(0.8, 2.5))
    stretches = driven.reshape(-1, 320)
    step = np.abs(stretches).max(axis=1, keepdims=True) / dice.integer(12, 60) + 1e-6
    decoded: Field = (np.round(stretches / step) * step).reshape(-1).astype(np.float32)
    return decoded
