"""Bootstrap intervals hold what they should, and pairs are drawn together."""

import numpy as np
import pytest

from model.evaluation.bootstrap import bootstrap, bootstrap_difference, mean_difference, mean_estimate, ratio


def test_mean_stands_inside_an_interval_of_the_right_width() -> None:
    """The interval of a mean is about four standard errors wide."""
    values = np.random.default_rng(1).normal(3.0, 1.0, 400)

    estimate = mean_estimate(values)

    assert estimate.value == pytest.approx(values.mean())
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert estimate.low < estimate.value < estimate.high


def test_equal_values_have_no_spread() -> None:
    """Clips that all score alike leave nothing to chance."""
    estimate = mean_estimate([0.5] * 20)

    assert (estimate.low, estimate.value, estimate.high) == (0.5, 0.5, 0.5)


def test_f1_of_a_set_counts_events_not_clips() -> None:
    """A figure of sums: one clip of many events outweighs several of few."""
    sums = np.array([[9.0, 10.0], [0.0, 1.0]])

    assert bootstrap(sums, ratio).value == pytest.approx(9 / 11)


def test_empty_sums_give_zero() -> None:
    """A set in which nothing could be counted scores 0 and does not divide by it."""
    assert bootstrap(np.zeros((3, 2)), ratio).value == 0.0


def test_small_but_steady_difference_is_told_from_none() -> None:
    """Drawn together, noise that both rows share cancels."""
    noise = np.random.default_rng(2).normal(0.0, 1.0, 100)

    difference = mean_difference(noise + 0.05, noise)

    assert difference.low == pytest.approx(0.05)
    assert difference.high == pytest.approx(0.05)


def test_rows_of_other_clips_cannot_be_compared() -> None:
    """Pairs need partners."""
    with pytest.raises(ValueError, match="same clips"):
        bootstrap_difference(np.zeros((3, 2)), np.zeros((4, 2)), ratio)
