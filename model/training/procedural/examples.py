"""The demo set, and the pictures and sounds of the examples folder: `python -m model.training.procedural.examples`."""

from __future__ import annotations

import json
import sys
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import signal

from model.training.procedural.canvas import Canvas, Pen, soften
from model.training.procedural.catalogue import SUBJECTS
from model.training.procedural.clip import FIRST_RESERVED_SEED
from model.training.procedural.creatures import dog
from model.training.procedural.dice import Dice
from model.training.procedural.instruments import bottle, violin
from model.training.procedural.pictures import paint_scene
from model.training.procedural.places import paint_landscape, paint_room, paint_table
from model.training.procedural.rhythms import SAMPLE_RATE_HZ, Score, play_strokes
from model.training.procedural.rooms import record
from model.training.procedural.sounds import perform
from model.training.procedural.tools import hammer
from model.training.procedural.unheard import IMPULSIVE_VOICES, perform_unheard, play_steadily

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.training.procedural.canvas import Field

_FILE_RATE_HZ = 44_100
_OVERSAMPLING = 2
# Mostly slow: at five events a second, any video has a peak within two frames of most of them.
SLOW_RATES_HZ = (1.0, 1.5, 2.0, 1.0, 3.0, 1.5, 1.0, 2.0, 5.0)
# Hard to follow, and hard to tell from chance: the events of another sound would score 0.61 on a perfect video.
EVEN_RATES_HZ = (1.0, 2.0, 3.0, 4.0, 5.0)
_DEMO_SEED = FIRST_RESERVED_SEED + 2**20


@dataclass(frozen=True, slots=True)
class DemoClip:
    """A picture and a sound that no training saw, with the times at which something happens in the sound.

    Args:
        name: of the clip, unique in the set.
        kind: law of motion of its subject.
        picture: uint8 `[320, 512, 3]`.
        samples: float32 `[32000]`, 16 kHz mono.
        prompt: names the subject.
        event_times_s: onsets, ascending.
    """

    name: str
    kind: str
    picture: npt.NDArray[np.uint8]
    samples: npt.NDArray[np.float32]
    prompt: str
    event_times_s: tuple[float, ...]


def demo_set(count: int = 24, *, rates_hz: Sequence[float] = SLOW_RATES_HZ) -> list[DemoClip]:
    """Clips of sudden sounds at the rates in turn: other synthesis, other seeds and other rooms than in training."""
    return [_demo_clip(index, rates_hz[index % len(rates_hz)]) for index in range(count)]


def _demo_clip(index: int, rate: float) -> DemoClip:
    dice = Dice((_DEMO_SEED, index), is_held_out=True)
    voice = IMPULSIVE_VOICES[index % len(IMPULSIVE_VOICES)]
    subject = next(subject for subject in SUBJECTS if subject.voice == voice)
    score = play_steadily(dice, min(rate, 2.0) if voice == "blast" else rate)
    samples = record(perform_unheard(voice, score, dice), dice)
    canvas = Canvas(320, 512)
    paint_scene(canvas, subject, dice, stand_in_share=0.0)
    name = f"{index:02d}-{subject.phrases[0].replace(' ', '-')}"
    return DemoClip(name, subject.kind, canvas.picture(), samples.astype(np.float32), subject.phrases[0], score.times_s)


@dataclass(frozen=True, slots=True)
class _Example:
    """One example: who paints it, what is heard when, and what its prompt says."""

    name: str
    prompt: str
    voice: str
    paint: Callable[[Canvas], None]
    score: Score
    seed: int


def write_examples(folder: Path, *, height: int = 640, width: int = 1024) -> None:
    """Write `NAME.png`, `NAME.wav` (44.1 kHz mono, 2 s) and `NAME.json` (prompt, event times) of each example."""
    folder.mkdir(parents=True, exist_ok=True)
    for example in _EXAMPLES:
        canvas = Canvas(height * _OVERSAMPLING, width * _OVERSAMPLING, light=(-0.6, -0.8))
        example.paint(canvas)
        picture = Image.fromarray(canvas.picture()).resize((width, height), Image.Resampling.LANCZOS)
        picture.save(folder / f"{example.name}.png", optimize=True)
        _write_sound(folder / f"{example.name}.wav", _perform_cleanly(example))
        events = {"prompt": example.prompt, "event_times_s": [round(time, 3) for time in example.score.times_s]}
        (folder / f"{example.name}.json").write_text(json.dumps(events, indent=2) + "\n", encoding="utf-8")


def _perform_cleanly(example: _Example) -> Field:
    """The dry sound in a small, quiet room."""
    dice = Dice((_DEMO_SEED, example.seed))
    dry = perform(example.voice, example.score, dice)
    echo = np.zeros_like(dry)
    for delay_s, gain in ((0.011, 0.22), (0.019, 0.16), (0.031, 0.12), (0.047, 0.08), (0.071, 0.05)):
        shift = round(delay_s * SAMPLE_RATE_HZ)
        echo[shift:] += np.float32(gain) * dry[:-shift]
    return dry + echo


def _write_sound(path: Path, samples: Field) -> None:
    resampled = signal.resample_poly(samples, _FILE_RATE_HZ // 100, SAMPLE_RATE_HZ // 100)
    levels = np.round(resampled / np.abs(resampled).max() * 0.8 * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_FILE_RATE_HZ)
        file.writeframes(levels.tobytes())


def _unfocus(canvas: Canvas, radius: float) -> None:
    """Blur all that is painted so far: it lies behind."""
    for channel in canvas.rgb:
        channel[...] = soften(channel, radius / canvas.pixel)


def _light_up(canvas: Canvas, at: tuple[float, float], strength: float) -> None:
    """Warm light from one side, darker corners."""
    near = np.exp(-((canvas.x - at[0]) ** 2 + (canvas.y - at[1]) ** 2) / 0.8)
    corners = (canvas.x / canvas.aspect - 0.5) ** 2 + (canvas.y - 0.5) ** 2
    canvas.scale_light((1.0 - 0.5 * strength + strength * near) * (1.0 - 0.55 * corners))


def _paint_hammer(canvas: Canvas) -> None:
    edge = paint_table(canvas, Dice(11)) - 0.1
    for x, size, seed in ((0.16, 0.36, 12), (0.42, 0.26, 3), (1.25, 0.32, 7), (1.47, 0.42, 9)):
        bottle(Pen(canvas, (x, edge - 0.3 * size), size=size), Dice(seed))
    _unfocus(canvas, 0.012)
    hammer(Pen(canvas, (0.84, 0.46), size=0.88), Dice(4))
    _light_up(canvas, (0.55, 0.3), 0.45)


def _paint_dog(canvas: Canvas) -> None:
    paint_landscape(canvas, Dice(2))
    _unfocus(canvas, 0.006)
    dog(Pen(canvas, (0.8, 0.54), size=0.86), Dice(7))
    _light_up(canvas, (0.6, 0.25), 0.3)


def _paint_violin(canvas: Canvas) -> None:
    paint_room(canvas, Dice(12))
    _unfocus(canvas, 0.008)
    violin(Pen(canvas, (0.8, 0.53), size=0.84, angle=0.22), Dice(7))
    _light_up(canvas, (0.6, 0.35), 0.4)


_EXAMPLES = (
    _Example(
        "hammer", "hammering", "wood", _paint_hammer,
        Score((0.3, 0.72, 1.14, 1.56), (0.9, 1.0, 0.95, 1.0), (0.1,) * 4), 1,
    ),
    _Example(
        "dog", "dog barking", "dog", _paint_dog,
        Score((0.25, 0.62, 1.3, 1.62), (1.0, 0.9, 1.0, 0.85), (0.18, 0.15, 0.2, 0.15)), 2,
    ),
    _Example("violin", "playing violin", "violin", _paint_violin, play_strokes(Dice(13)), 3),
)  # fmt: skip


if __name__ == "__main__":
    write_examples(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("examples"))
