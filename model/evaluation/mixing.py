"""Forty sounds of syntheses that training never used, each as the world might hand it on.

Rooms, codecs, a music bed, quiet events and a second source; none of it shares code with the recordings of training.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Literal

import av
import numpy as np
from scipy import signal

from model.training.procedural.canvas import Canvas
from model.training.procedural.catalogue import SUBJECTS
from model.training.procedural.clip import FIRST_RESERVED_SEED
from model.training.procedural.dice import Dice
from model.training.procedural.examples import DemoClip
from model.training.procedural.pictures import paint_scene
from model.training.procedural.rhythms import NUM_SAMPLES, SAMPLE_RATE_HZ, Score
from model.training.procedural.unheard import IMPULSIVE_VOICES, perform_unheard, play_steadily

if TYPE_CHECKING:
    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]

Condition = Literal["room", "codec", "music", "quiet events", "second source"]

CONDITIONS: tuple[Condition, ...] = ("room", "codec", "music", "quiet events", "second source")
NUM_MIXED = 40
# Up to six events a second; slow ones are more, because at fast rates any video is near an event.
RATES_HZ = (1.0, 2.0, 1.5, 3.0, 1.0, 4.0, 2.0, 6.0)
_SEED = FIRST_RESERVED_SEED + 2**21
_BLAST_HZ = 2.0  # explosions do not come faster
_NOISE_FLOOR = 0.003
_BED_GAIN = 0.12  # of the events' peak: a pad some 18 dB below them
_OTHER_GAIN = 0.1
_QUIET = 0.5  # every other event: 6 dB less than its neighbours
_QUIET_LEVEL = 0.05  # and the whole clip 26 dB below full scale
_OPUS_RATE_HZ = 48_000
_OPUS_BITS_PER_SECOND = 16_000


def mixed_scene(number: int) -> DemoClip:
    """Picture and sound of scene `number`, 0 to 39: voices, rates and conditions in turn."""
    dice = Dice((_SEED, number), is_held_out=True)
    voice = IMPULSIVE_VOICES[number % len(IMPULSIVE_VOICES)]
    # Every round of the conditions starts one rate later, so that each condition meets each rate.
    rate = RATES_HZ[(number + number // len(RATES_HZ)) % len(RATES_HZ)]
    condition = CONDITIONS[number % len(CONDITIONS)]
    subject = next(subject for subject in SUBJECTS if subject.voice == voice)
    score = play_steadily(dice, min(rate, _BLAST_HZ) if voice == "blast" else rate)
    if condition == "quiet events":
        fading = tuple(strength * (_QUIET if index % 2 else 1.0) for index, strength in enumerate(score.strengths))
        score = Score(score.times_s, fading, score.lengths_s)
    dry = _to_peak(perform_unheard(voice, score, dice).astype(np.float32))
    samples = mix(dry, condition, dice)
    canvas = Canvas(320, 512)
    paint_scene(canvas, subject, dice, stand_in_share=0.0)
    name = f"{number:02d} {subject.phrases[0]} ({condition})"
    return DemoClip(name, subject.kind, canvas.picture(), samples, subject.phrases[0], score.times_s)


def mix(dry: Samples, condition: Condition, dice: Dice) -> Samples:
    """Hand on a dry sound [32000] of peak 1 under one condition: float32 [32000], peak below 1."""
    noise = _NOISE_FLOOR * dice.generator.standard_normal(len(dry))
    if condition == "room":
        sound = _in_room(dry, dice) + noise
    elif condition == "music":
        sound = dry + _BED_GAIN * music_bed(dice) + noise
    elif condition == "second source":
        other = perform_unheard("metal", play_steadily(dice, dice.between(1.0, 3.0)), dice)
        sound = dry + _OTHER_GAIN * _to_peak(other.astype(np.float32)) + noise
    else:
        sound = dry + noise
    level = _QUIET_LEVEL if condition == "quiet events" else 0.8
    levelled = _to_peak(sound.astype(np.float32)) * np.float32(level)
    return through_opus(levelled) if condition == "codec" else levelled


def music_bed(dice: Dice) -> Samples:
    """A slow chord of detuned tones [32000] of peak 1, which has no onset of its own."""
    time = np.arange(NUM_SAMPLES) / SAMPLE_RATE_HZ
    root = dice.octaves(110, 220)
    bed = np.zeros(NUM_SAMPLES)
    for semitones in (0, 3 + dice.integer(0, 1), 7, 12):
        for detune in (0.997, 1.003):
            pitch = root * 2 ** (semitones / 12) * detune
            tremolo = 1 + 0.3 * np.sin(2 * np.pi * dice.between(0.3, 0.9) * time + dice.between(0, 6))
            bed += tremolo * signal.sawtooth(2 * np.pi * pitch * time + dice.between(0, 6), 0.5)
    return _to_peak(bed.astype(np.float32))


def through_opus(samples: Samples) -> Samples:
    """What is left of a sound [n] at 16 kHz after Opus at 16 kbit/s; nothing is shifted."""
    buffer = BytesIO()
    with av.open(buffer, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=_OPUS_RATE_HZ, layout="mono")
        stream.bit_rate = _OPUS_BITS_PER_SECOND
        raised = signal.resample_poly(samples, _OPUS_RATE_HZ // SAMPLE_RATE_HZ, 1).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(raised[None], format="flt", layout="mono")
        frame.rate = _OPUS_RATE_HZ
        container.mux([*stream.encode(frame), *stream.encode(None)])
    buffer.seek(0)
    with av.open(buffer, "r") as container:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=_OPUS_RATE_HZ)
        chunks = [
            converted.to_ndarray()[0] for frame in container.decode(audio=0) for converted in resampler.resample(frame)
        ]
    lowered = signal.resample_poly(np.concatenate(chunks), 1, _OPUS_RATE_HZ // SAMPLE_RATE_HZ)
    kept = np.zeros(len(samples), np.float32)
    kept[: min(len(kept), len(lowered))] = lowered[: len(kept)]
    return np.clip(kept, -1, 1)


def _in_room(dry: Samples, dice: Dice) -> Samples:
    """Image sources of a shoe-box: sparse echoes that grow denser and weaker, each duller than the last."""
    decay_s = dice.octaves(0.06, 0.25)
    wet = dry.astype(np.float64)
    time = 0.004
    while time < 4 * decay_s:
        delay = round(time * SAMPLE_RATE_HZ)
        weight = 0.45 * np.exp(-time / decay_s) * (1 if dice.chance(0.5) else -1)
        dull = signal.lfilter([0.5], [1, -0.5], dry)
        wet[delay:] += weight * dull[: len(dry) - delay]
        time += dice.between(0.003, 0.012)
    return wet.astype(np.float32)


def _to_peak(samples: Samples) -> Samples:
    return samples / np.float32(np.abs(samples).max() + 1e-9)
