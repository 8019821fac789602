"""The sound of each voice, dry: what is struck, fired, called, bowed, blown or driven, on a given score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.training.procedural.rhythms import (
    DURATION_S,
    NUM_SAMPLES,
    SAMPLE_RATE_HZ,
    Score,
    play_automatic,
    play_calls,
    play_hits,
    play_notes,
    play_strokes,
    play_swells,
    seconds,
)
from model.training.procedural.tones import (
    add_at,
    band,
    clock,
    formants,
    pulses,
    reshape_spectrum,
    ring,
    swell,
    tilt,
    white,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.training.procedural.canvas import Field
    from model.training.procedural.dice import Dice

    Voice = Callable[[Score, Dice], Field]
    Modes = list[tuple[float, float, float]]


def compose(voice: str, dice: Dice) -> Score:
    """Draw a score that suits the voice."""
    return _SCORES[voice](dice)


def perform(voice: str, score: Score, dice: Dice) -> Field:
    """Synthesise a score: [32000], dry, of any level."""
    return _VOICES[voice](score, dice)


def _silence() -> Field:
    return np.zeros(NUM_SAMPLES, np.float32)


def _click(dice: Dice, length_s: float, *, low: float = 500.0, high: float = 7000.0) -> Field:
    """A short burst of noise."""
    time = clock(length_s * 6)
    return band(white(dice, len(time)) * np.exp(-time / length_s), low, high)


# Per material: lowest mode (Hz), its decay (s), spread of the higher modes' frequencies, how fast they die, click.
_MATERIALS: dict[str, tuple[tuple[float, float], tuple[float, float], float, float, float]] = {
    "wood": ((180, 950), (0.02, 0.09), 1.9, 0.7, 0.7),
    "skin": ((60, 280), (0.08, 0.3), 1.5, 0.6, 0.4),
    "rubber": ((70, 420), (0.03, 0.09), 2.1, 0.5, 0.35),
    "clatter": ((350, 1400), (0.02, 0.06), 1.7, 0.8, 0.6),
    "metal": ((500, 3200), (0.06, 0.5), 1.6, 0.85, 0.5),
}


def _struck(material: str) -> Voice:
    """Voice of something hit: inharmonic modes and a click."""

    def voice(score: Score, dice: Dice) -> Field:
        lowest, decays, spread, dying, click = _MATERIALS[material]
        track = _silence()
        frequency, decay = dice.reserved(*lowest), dice.reserved(*decays)
        modes: Modes = []
        for number in range(dice.integer(3, 7)):
            modes.append((frequency, decay * dying**number, dice.between(0.5, 1.0) * 0.8**number))
            frequency *= dice.between(1.15, spread)
        body = ring(modes, min(6 * decay, 1.2))
        tap = _click(dice, dice.octaves(0.001, 0.005), low=dice.octaves(200, 1500))
        share = click * dice.between(0.4, 1.6)
        echoes = dice.integer(2, 6) if material == "clatter" else 0
        for time, strength in zip(score.times_s, score.strengths, strict=True):
            add_at(track, body * strength, time)
            add_at(track, tap * (share * strength * dice.between(0.8, 1.2)), time)
            for _ in range(echoes):
                add_at(track, body * (strength * dice.between(0.1, 0.45)), time + dice.octaves(0.012, 0.14))
        return track

    return voice


def _shots(score: Score, dice: Dice) -> Field:
    """Noise burst, thump and a tail."""
    track = _silence()
    decay = dice.reserved(0.012, 0.06)
    time = clock(0.6)
    burst = band(white(dice, len(time)) * np.exp(-time / decay), dice.octaves(150, 900), dice.octaves(2500, 7500))
    low = dice.reserved(55, 160)
    thump = np.sin(2 * np.pi * low * time * (1 + np.exp(-time / 0.02))) * np.exp(-time / dice.octaves(0.03, 0.12))
    tail = tilt(white(dice, len(time)) * np.exp(-time / dice.octaves(0.06, 0.25)), -1.0) * dice.between(0.02, 0.3)
    shot = burst / (burst.std() + 1e-6) + dice.between(0.3, 1.5) * thump * 2 + tail * 3
    for onset, strength in zip(score.times_s, score.strengths, strict=True):
        add_at(track, shot * (strength * dice.between(0.9, 1.1)), onset)
    return track


def _blast(score: Score, dice: Dice) -> Field:
    """Low noise that dies in 0.2 to 0.6 s, with a crack at its start."""
    track = _silence()
    corner, decay = dice.reserved(60, 500), dice.reserved(0.15, 0.6)
    for onset, strength in zip(score.times_s, score.strengths, strict=True):
        time = clock(1.6)
        rumble = band(white(dice, len(time)), 25, corner, steepness=2.0)
        rumble *= np.exp(-time / decay) * np.clip(time / 0.006, 0, 1)
        crack = _click(dice, dice.octaves(0.004, 0.02), low=200)
        add_at(track, (rumble / (rumble.std() + 1e-6)).astype(np.float32) * strength, onset)
        add_at(track, crack * (dice.between(0.3, 1.5) * strength), onset)
    return track


def _kit(score: Score, dice: Dice) -> Field:
    """Drum kit on the score, over a soft chord."""
    track = _silence()
    time = clock(0.35)
    low = dice.reserved(42, 75)
    kick = np.sin(2 * np.pi * (low * time + 1.4 * (1 - np.exp(-time / 0.025)))) * np.exp(-time / 0.12) * 2
    snare = band(white(dice, len(time)) * np.exp(-time / dice.reserved(0.04, 0.13)), 300, 6000) + 0.6 * ring(
        [(dice.octaves(150, 260), 0.06, 1.0)], 0.35
    )
    hat = band(white(dice, len(time)) * np.exp(-time / dice.octaves(0.012, 0.06)), 4500, 8000) * 0.8
    pattern = dice.pick(((kick, snare), (kick, kick), (kick + hat, snare + hat), (snare, kick)))
    for number, (onset, strength) in enumerate(zip(score.times_s, score.strengths, strict=True)):
        add_at(track, (pattern[number % 2] * strength).astype(np.float32), onset)
    if dice.chance(0.6):
        track += chord(dice) * np.float32(dice.between(0.02, 0.12))
    return track


def chord(dice: Dice) -> Field:
    """A held chord of unit peak, for pads and music in the background."""
    root = dice.octaves(90, 330)
    time = seconds()
    total = _silence()
    for ratio in dice.pick(((1, 1.25, 1.5), (1, 1.2, 1.5), (1, 1.5, 2), (1, 1.334, 1.68))):
        for overtone in range(1, 5):
            total += np.sin(2 * np.pi * root * ratio * overtone * time + dice.between(0, 6.3)) / overtone**1.5
    total *= 1 + 0.2 * np.sin(2 * np.pi * dice.between(0.3, 3) * time)
    level: Field = total / np.abs(total).max()
    return level


# Per call: pitch (Hz), share of noise, formant scale, pitch bend (octaves up to the middle), rasp (Hz, 0 none).
_CALLS: dict[str, tuple[tuple[float, float], tuple[float, float], float, float, tuple[float, float]]] = {
    "dog": ((190, 650), (0.2, 0.6), 1.1, 0.3, (0, 0)),
    "lion": ((45, 110), (0.4, 0.8), 0.6, 0.2, (18, 35)),
    "baby": ((300, 560), (0.02, 0.2), 1.35, 0.25, (0, 0)),
    "speech": ((85, 270), (0.05, 0.25), 1.0, 0.12, (0, 0)),
    "frog": ((90, 260), (0.1, 0.3), 1.3, 0.1, (25, 60)),
    "chicken": ((450, 1000), (0.1, 0.35), 1.5, 0.35, (20, 45)),
}
_VOWELS = ((300, 870), (640, 1190), (530, 1840), (270, 2290), (490, 1350), (730, 1090))


def _called(creature: str) -> Voice:
    """Voice of a throat: a pitched source and breath, through formants."""

    def voice(score: Score, dice: Dice) -> Field:
        pitches, breath, scale, bend, rasp = _CALLS[creature]
        track = _silence()
        pitch, throat = dice.reserved(*pitches), scale * dice.reserved(0.8, 1.25)
        share, sharpness = dice.between(*breath), dice.between(0.5, 1.0)
        rasp_hz = dice.octaves(*rasp) if rasp[0] else 0.0
        vowel = dice.pick(_VOWELS)
        attack = dice.octaves(0.004, 0.018)
        for onset, strength, length in zip(score.times_s, score.strengths, score.lengths_s, strict=True):
            time = clock(length + 0.05)
            arch = np.sin(np.pi * np.clip(time / time[-1], 0, 1))
            vibrato = 0.02 * np.sin(2 * np.pi * 6 * time)
            contour = pitch * dice.between(0.93, 1.07) * 2 ** (bend * (arch - 0.5) + vibrato)
            source = pulses(contour, sharpness=sharpness)
            source = (1 - share) * source + share * 0.6 * white(dice, len(time))
            if rasp_hz:
                source *= (0.5 + 0.5 * np.sin(2 * np.pi * rasp_hz * time)) ** 2
            if creature == "speech":
                vowel = dice.pick(_VOWELS)
            peaks = [
                (vowel[0] * throat, 120 * throat, 1.0),
                (vowel[1] * throat, 180 * throat, 0.6),
                (2700 * throat, 300, 0.25),
            ]
            envelope = swell(length + 0.05, attack_s=attack, release_s=max(0.05, 0.5 * length))
            add_at(track, formants(source, peaks) * envelope * np.float32(strength), onset)
        return track

    return voice


def _bowed(low_hz: float, high_hz: float) -> Voice:
    """Voice of a bowed string: rich harmonics with a body's resonances, as loud as the bow is fast."""

    def voice(score: Score, dice: Dice) -> Field:
        loudness, pitch = _sustained(score)
        base = dice.reserved(low_hz, high_hz)
        time = seconds()
        vibrato = 0.01 * np.sin(2 * np.pi * dice.between(4.5, 6.5) * time) * dice.between(0.0, 1.0)
        tone = pulses(base * 2 ** (pitch * dice.pick((0.0, 0.58, 1.0)) + vibrato), sharpness=dice.between(0.7, 1.0))
        tone = tone + dice.between(0.02, 0.2) * white(dice, NUM_SAMPLES)
        body = [(dice.octaves(250, 5000), dice.octaves(80, 500), dice.between(0.4, 1.0)) for _ in range(6)]
        return formants((tone * loudness).astype(np.float32), body, floor=0.15)

    return voice


def _scraped(score: Score, dice: Dice) -> Field:
    """Steel on stone: bright noise that follows the stroke."""
    loudness, _ = _sustained(score)
    teeth = 1 + dice.between(0.0, 0.6) * np.sin(
        2 * np.pi * np.cumsum(loudness) * dice.octaves(60, 220) / SAMPLE_RATE_HZ
    )
    low = dice.reserved(900, 3000)
    rough = band(white(dice, NUM_SAMPLES), low, low * dice.between(1.6, 3.0))
    ringing = formants(rough, [(dice.octaves(1500, 6000), 60, 3.0) for _ in range(3)], floor=0.7)
    return (ringing * teeth * loudness**1.3).astype(np.float32)


def _blown(low_hz: float, high_hz: float) -> Voice:
    """Voice of brass: harmonics that brighten with loudness."""

    def voice(score: Score, dice: Dice) -> Field:
        _, pitch = _sustained(score)
        base = dice.reserved(low_hz, high_hz)
        envelope = _silence()
        for onset, strength, length in zip(score.times_s, score.strengths, score.lengths_s, strict=True):
            shape = swell(length, attack_s=dice.octaves(0.012, 0.04), release_s=min(0.06, 0.4 * length))
            add_at(envelope, shape * strength * (0.75 + 0.25 * np.exp(-clock(length) / 0.1)), onset)
        envelope = np.minimum(envelope, 1.2)
        tone = pulses(base * 2 ** (pitch * 0.9) * np.ones(NUM_SAMPLES), sharpness=1.0)
        bright = formants(tone, [(dice.octaves(900, 1600), 700, 1.0), (dice.octaves(1800, 3200), 900, 0.6)], floor=0.1)
        dark = reshape_spectrum(tone, lambda frequency: 1 / (1 + (frequency / (2.5 * base)) ** 2))
        mix = envelope**1.5
        return (envelope * (mix * bright + (1 - mix) * dark)).astype(np.float32)

    return voice


def _water(score: Score, dice: Dice) -> Field:
    """Coloured noise with bubbles."""
    loudness, _ = _sustained(score)
    track = band(white(dice, NUM_SAMPLES), dice.octaves(150, 700), dice.reserved(1200, 6000), steepness=1.5)
    track = (track * loudness).astype(np.float32)
    for _ in range(dice.integer(0, 25)):
        time = clock(0.06)
        chirp = np.sin(2 * np.pi * dice.octaves(400, 2000) * time * (1 + 3 * time)) * np.exp(-time / 0.015)
        onset = dice.between(0, DURATION_S - 0.07)
        level = float(loudness[int(onset * SAMPLE_RATE_HZ)]) * dice.between(0.1, 0.5)
        add_at(track, chirp * np.float32(level * track.std() * 8), onset)
    return track


def _gusts(score: Score, dice: Dice) -> Field:
    """Dark noise; a second, higher band opens as it grows louder."""
    loudness, _ = _sustained(score)
    low = band(white(dice, NUM_SAMPLES), 40, dice.reserved(180, 700), steepness=2.0)
    centre = dice.octaves(350, 1400)
    whistle = formants(white(dice, NUM_SAMPLES), [(centre, centre * dice.between(0.1, 0.5), 1.0)], floor=0.02)
    low, whistle = low / low.std(), whistle / whistle.std()
    mixed: Field = (low * loudness**1.2 + dice.between(0.1, 0.8) * whistle * loudness**2.2).astype(np.float32)
    return mixed


def _motor(score: Score, dice: Dice) -> Field:
    """Pulse train whose rate and loudness rise together."""
    loudness, _ = _sustained(score)
    rate = dice.reserved(22, 90) * (1 + dice.between(0.3, 1.2) * loudness)
    track = pulses(rate, sharpness=1.0) + dice.between(0.1, 0.5) * white(dice, NUM_SAMPLES)
    body = [(dice.octaves(80, 2500), dice.octaves(60, 500), dice.between(0.4, 1.0)) for _ in range(4)]
    return formants((track * (0.08 + 0.92 * loudness)).astype(np.float32), body, floor=0.08)


def _sustained(score: Score) -> tuple[Field, Field]:
    """Loudness and pitch of a score, ones and zeros where it has none."""
    loudness = score.loudness if score.loudness is not None else np.ones(NUM_SAMPLES, np.float32)
    return loudness, score.pitch if score.pitch is not None else _silence()


def _calls(length_s: tuple[float, float], gap_s: tuple[float, float]) -> Callable[[Dice], Score]:
    return lambda dice: play_calls(dice, length_s=length_s, gap_s=gap_s)


_SCORES: dict[str, Callable[[Dice], Score]] = {
    **dict.fromkeys(_MATERIALS, play_hits),
    "dog": _calls((0.08, 0.26), (0.06, 0.5)),
    "lion": _calls((0.4, 1.0), (0.1, 0.5)),
    "baby": _calls((0.18, 0.6), (0.05, 0.35)),
    "speech": _calls((0.1, 0.28), (0.03, 0.18)),
    "frog": _calls((0.1, 0.3), (0.06, 0.45)),
    "chicken": _calls((0.08, 0.4), (0.05, 0.35)),
    **dict.fromkeys(("violin", "cello", "scrape"), play_strokes),
    "single": lambda dice: play_hits(dice, shortest_s=0.25),
    "automatic": play_automatic,
    **dict.fromkeys(("trumpet", "trombone"), play_notes),
    **dict.fromkeys(("water", "flush", "gust", "motor"), play_swells),
    "kit": play_hits,
    "blast": lambda dice: play_hits(dice, shortest_s=0.4),
}

_VOICES: dict[str, Voice] = {
    **{material: _struck(material) for material in _MATERIALS},
    **{creature: _called(creature) for creature in _CALLS},
    "violin": _bowed(196, 700),
    "cello": _bowed(65, 260),
    "scrape": _scraped,
    "single": _shots,
    "automatic": _shots,
    "trumpet": _blown(165, 520),
    "trombone": _blown(65, 240),
    "water": _water,
    "flush": _water,
    "gust": _gusts,
    "kit": _kit,
    "blast": _blast,
    "motor": _motor,
}
