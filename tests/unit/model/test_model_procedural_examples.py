"""The demo set and the files of the examples folder."""

import json
import wave
from pathlib import Path

import numpy as np
from PIL import Image

from model.training.procedural.dice import Dice
from model.training.procedural.examples import demo_set, write_examples
from model.training.procedural.unheard import IMPULSIVE_VOICES, perform_unheard, play_steadily


def test_demo_set_is_fixed_and_its_events_are_apart() -> None:
    """Same clips every time, with events that a video of 24 frames a second can show apart."""
    first, again = demo_set(3), demo_set(3)

    for clip, same in zip(first, again, strict=True):
        assert np.array_equal(clip.samples, same.samples)
        assert np.array_equal(clip.picture, same.picture)
        assert clip.picture.shape == (320, 512, 3)
        assert clip.samples.shape == (32_000,)
        assert min(np.diff(clip.event_times_s), default=1.0) > 0.15
    assert len({clip.name for clip in first}) == 3


def test_unheard_sounds_start_when_the_score_says() -> None:
    """Before the first event there is nothing; right after it there is sound."""
    for number, voice in enumerate(IMPULSIVE_VOICES):
        dice = Dice(number)
        score = play_steadily(dice, 2.0)

        samples = perform_unheard(voice, score, dice)

        onset = round(score.times_s[0] * 16_000)
        assert not samples[: onset - 1].any()
        assert np.abs(samples[onset : onset + 800]).max() > 0.05 * np.abs(samples).max()


def test_examples_are_a_picture_a_sound_and_its_events(tmp_path: Path) -> None:
    """Each example can be sent as it is: PNG, 2 s WAV, prompt and times inside the sound."""
    write_examples(tmp_path, height=80, width=128)

    names = {path.stem for path in tmp_path.iterdir()}
    assert names == {"hammer", "dog", "violin"}
    for name in names:
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.size == (128, 80)
        with wave.open(str(tmp_path / f"{name}.wav")) as sound:
            assert (sound.getframerate(), sound.getnframes()) == (44_100, 88_200)
        told = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        assert told["prompt"]
        assert all(0 <= time < 2 for time in told["event_times_s"])
