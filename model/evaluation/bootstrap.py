"""Figures of a set of clips with the interval in which they would fall for other clips of the same kind.

Every figure is a function of sums over clips (a mean is sum / count, F1 is 2 matched / (peaks + events)), so that
drawing clips anew is one product of counts and sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

    Figure = Callable[["FloatArray"], "FloatArray"]

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 2000
_TAILS = (2.5, 97.5)  # percentiles: the intervals hold 95 %


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap(sums: FloatArray, figure: Figure, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Estimate a figure by drawing clips with replacement (percentile intervals).

    Args:
        sums: one row per clip of what the figure adds up, `[clips, k]`; not empty.
        figure: totals `[..., k]` to figures `[...]`.
        resamples: sets that are drawn.
        seed: the same seed draws the same sets, so that rows over the same clips can be compared.
    """
    drawn = figure(_draws(len(sums), resamples, seed) @ sums)
    return _estimate(float(figure(sums.sum(axis=0))), drawn)


def bootstrap_difference(
    first: FloatArray, second: FloatArray, figure: Figure, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Estimate figure(first) - figure(second) over the same clips, drawn together; see `bootstrap`.

    Raises: ValueError when the rows are not of the same clips.
    """
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} are not sums over the same clips")
    draws = _draws(len(first), resamples, seed)
    drawn = figure(draws @ first) - figure(draws @ second)
    return _estimate(float(figure(first.sum(axis=0)) - figure(second.sum(axis=0))), drawn)


def ratio(totals: FloatArray) -> FloatArray:
    """Share of the second of two sums: `[..., 2]` to `[...]`; 0 where the second is 0. With ones it is a mean."""
    total, count = totals[..., 0], totals[..., 1]
    shares: FloatArray = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return shares


def mean_estimate(values: npt.ArrayLike) -> Estimate:
    """Mean of one value per clip."""
    column = np.asarray(values, dtype=np.float64)
    return bootstrap(np.stack([column, np.ones_like(column)], axis=1), ratio)


def mean_difference(first: npt.ArrayLike, second: npt.ArrayLike) -> Estimate:
    """Mean of one value per clip, less that of another over the same clips."""
    columns = [np.asarray(values, dtype=np.float64) for values in (first, second)]
    pairs = [np.stack([column, np.ones_like(column)], axis=1) for column in columns]
    return bootstrap_difference(pairs[0], pairs[1], ratio)


def _draws(count: int, resamples: int, seed: int) -> FloatArray:
    """How often each clip is drawn in each set: `[resamples, count]`."""
    counts = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return counts.astype(np.float64)


def _estimate(value: float, drawn: FloatArray) -> Estimate:
    low, high = np.percentile(drawn, _TAILS)
    return Estimate(value, float(low), float(high))
