"""Sounds of other syntheses keep their events, whatever they are mixed with."""

import numpy as np
import pytest

from model.evaluation.mixing import (
    CONDITIONS,
    NUM_MIXED,
    RATES_HZ,
    Condition,
    mix,
    mixed_scene,
    music_bed,
    through_opus,
)
from model.evaluation.scenes import SceneKey
from model.training.procedural.dice import Dice


def struck(*times_s: float) -> np.ndarray:
    """Short decaying tones."""
    samples = np.zeros(32_000, np.float32)
    for time in times_s:
        start = round(time * 16_000)
        tail = np.arange(min(2_000, 32_000 - start))
        samples[start : start + len(tail)] += (np.sin(tail * 0.4) * np.exp(-tail / 300)).astype(np.float32)
    return samples / np.abs(samples).max()


def test_opus_moves_nothing() -> None:
    """What comes back lines up with what went in, to the sample, and is as long."""
    samples = struck(0.4, 1.3)

    decoded = through_opus(samples)

    lag = int(np.argmax(np.correlate(decoded, samples, "full"))) - 31_999
    assert lag == 0
    assert decoded.shape == samples.shape
    assert not np.array_equal(decoded, samples)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_condition_keeps_the_events_loudest(condition: Condition) -> None:
    """The energy right after an event is well above that right before it."""
    sound = mix(struck(0.4, 1.3), condition, Dice(3))

    assert sound.dtype == np.float32
    assert sound.shape == (32_000,)
    assert np.abs(sound).max() < 1
    for start in (6_400, 20_800):
        assert np.square(sound[start : start + 800]).sum() > 4 * np.square(sound[start - 800 : start]).sum()


def test_music_bed_is_steady() -> None:
    """No tenth of a second is much louder than the others: it adds no event."""
    loudness = np.sqrt(np.square(music_bed(Dice(5))).reshape(20, -1).mean(axis=1))

    assert loudness.max() < 2.5 * loudness.min()


def test_forty_scenes_meet_all_rates_under_all_conditions() -> None:
    """Every rate up to six a second occurs at least five times, and never under one condition only."""
    met = {(CONDITIONS[number % 5], RATES_HZ[(number + number // 8) % 8]) for number in range(NUM_MIXED)}

    for rate in set(RATES_HZ):
        assert len({condition for condition, met_rate in met if met_rate == rate}) >= 3
    assert max(RATES_HZ) == 6


def test_scene_is_the_same_every_time() -> None:
    """A number names one picture and one sound, with its events inside the clip."""
    first, second = mixed_scene(8), mixed_scene(8)

    assert np.array_equal(first.samples, second.samples)
    assert np.array_equal(first.picture, second.picture)
    assert all(0 < time < 2 for time in first.event_times_s)
    assert SceneKey("unheard", 8).sound().samples.shape == (1, 32_000)
