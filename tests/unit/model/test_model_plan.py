"""Laws of the keyframe plan."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.clips import KeyframePlan, MotionCurve, PeakRule
from model.localization.plan import motion_curve, plan_keyframes

CURVES = st.lists(st.floats(-2, 2), min_size=48, max_size=48)


@pytest.mark.parametrize("rule", ["paper", "onsets"])
@given(values=CURVES)
@settings(max_examples=150, deadline=None)
def test_every_curve_has_a_plan(values: list[float], rule: PeakRule) -> None:
    """Twelve ascending frames from 0 on, holding the first five peaks; the same each time."""
    curve = motion_curve(values, rule=rule)

    plan = plan_keyframes(curve)

    assert len(plan.indices) == 12
    assert plan.indices[0] == 0
    assert all(a < b for a, b in itertools.pairwise(plan.indices))
    assert plan.indices[-1] < 48
    assert set(curve.peaks[:5]) <= set(plan.indices)
    assert plan_keyframes(curve) == plan


@pytest.mark.parametrize("level", [0.0, 0.7])
def test_a_flat_curve_gives_a_uniform_plan(level: float) -> None:
    """Silence, and ripples too small to be events, have no peaks: every fourth frame is a keyframe."""
    ripples = level + 0.005 * np.sin(np.arange(48))

    curve = motion_curve(ripples)

    assert curve.peaks == ()
    assert plan_keyframes(curve).indices == tuple(range(0, 48, 4))


def test_the_lowest_valley_between_two_peaks_is_kept() -> None:
    """Between neighbouring peaks one valley becomes a keyframe; before the first peak none does."""
    frames = np.arange(48)
    values = (
        np.exp(-((frames - 12) ** 2) / 8) + np.exp(-((frames - 36) ** 2) / 8) - 0.2 * np.exp(-((frames - 24) ** 2) / 8)
    )

    curve = motion_curve(values)

    assert curve.peaks == (12, 36)
    assert {0, 12, 24, 36} <= set(plan_keyframes(curve).indices)


@given(CURVES)
@settings(max_examples=150, deadline=None)
def test_every_onset_lies_between_two_peaks_and_is_planned(values: list[float]) -> None:
    """By the rule of onsets each peak has one valley, lower than it and later than the peak before; all are planned."""
    curve = motion_curve(values, rule="onsets")
    planned = set(plan_keyframes(curve).indices)

    assert len(curve.valleys) == len(curve.peaks)
    for before, onset, peak in zip([0, *curve.peaks], curve.valleys, curve.peaks, strict=False):
        assert before <= onset < peak
        assert values[onset] < values[peak]
    assert set(curve.valleys[:5]) <= planned


def test_an_event_lies_between_two_keyframes() -> None:
    """Sudden motion that dies away slowly: its first frame is a keyframe, and so is the last calm frame before it."""
    frames = np.arange(48)
    values = sum(np.where(frames >= event, np.exp(-(frames - event) / 4), 0.0) for event in (7, 22, 36))

    curve = motion_curve(values, rule="onsets")

    assert curve.peaks == (7, 22, 36)
    assert {6, 7, 21, 22, 35, 36} <= set(plan_keyframes(curve).indices)


def test_a_gap_that_is_full_hands_its_frames_on() -> None:
    """Peaks in a row of short gaps leave frames that only the long gap can take."""
    curve = MotionCurve((0.0,) * 14, peaks=(1, 2, 3, 4, 5), valleys=())

    plan = plan_keyframes(curve)

    assert len(set(plan.indices)) == 12
    assert plan.indices[:6] == (0, 1, 2, 3, 4, 5)


def test_too_few_frames_are_refused() -> None:
    """A plan needs room for its keyframes."""
    with pytest.raises(ValueError, match="cannot hold"):
        plan_keyframes(motion_curve([0.0] * 8))


@pytest.mark.parametrize("indices", [(), (1, 2), (0, 2, 2), (0, 3, 1), (0, 48)])
def test_what_is_no_plan_is_refused(indices: tuple[int, ...]) -> None:
    """A plan is not empty, starts at 0, ascends and stays inside the clip."""
    with pytest.raises(ValueError, match="not a keyframe plan"):
        KeyframePlan(indices, 48)
