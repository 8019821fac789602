"""The curves that laws of motion are made of, and which way things go."""

from collections.abc import Callable

import numpy as np
import pytest

from model.evaluation.sync import prominent_peaks, smooth
from model.training.procedural.canvas import Canvas, Pen, union
from model.training.procedural.creatures import figure
from model.training.procedural.dice import Dice
from model.training.procedural.instruments import horn
from model.training.procedural.motions import circle, move, opening, pulse, strike
from model.training.procedural.rhythms import Score, play_automatic, play_hits, play_notes, play_strokes
from model.training.procedural.tools import ball, gun, hammer


def score_at(*frames: int, strengths: tuple[float, ...] = ()) -> Score:
    """Events at video frames, at full strength unless it is given."""
    times = tuple(frame / 24 for frame in frames)
    return Score(times, strengths or (1.0,) * len(times), (0.2,) * len(times))


def peaks_of(curve: np.ndarray) -> list[int]:
    """Frames at which a viewer sees a curve's motion peak."""
    return prominent_peaks(smooth(100 * np.abs(np.diff(curve, prepend=curve[:1]))))


def test_strike_falls_fastest_into_contact() -> None:
    """A hammer is up before the blow, down at it, and moves most in the frame of contact."""
    pose = strike(score_at(20, 40))

    assert pose[20] == 0
    assert pose[17] > 0.9
    assert int(np.argmax(np.abs(np.diff(pose[:22])))) + 1 == 20
    assert pose[21] == 0


def test_fast_strikes_still_reach_contact() -> None:
    """At six blows a second every blow is a separate fall."""
    pose = strike(score_at(8, 12, 16, 20))

    assert all(pose[frame] == 0 for frame in (8, 12, 16, 20))
    assert all(pose[frame - 1] > 0.3 for frame in (12, 16, 20))


@pytest.mark.parametrize("law", [strike, opening])
def test_events_in_quick_turn_are_seen_one_by_one(law: Callable[[Score], np.ndarray]) -> None:
    """Neither lifting nor closing in between looks like another event, six times a second or twice."""
    for gap in (4, 5, 6, 9, 12):
        frames = tuple(range(8, 44, gap))

        assert peaks_of(law(score_at(*frames))) == pytest.approx(frames, abs=1)


@pytest.mark.parametrize("law", [strike, opening, lambda score: pulse(score, 0.2)])
def test_of_a_quick_row_every_event_moves_alike(law: Callable[[Score], np.ndarray]) -> None:
    """The last one too, which nothing follows: a viewer sees a burst of motion for each, and stillness after it."""
    for gap in (5, 7, 9):
        frames = (2, 20, 20 + gap, 20 + 2 * gap)
        energy = smooth(np.abs(np.diff(law(score_at(*frames)), prepend=0)))
        bursts = [energy[frame : frame + 2].max() for frame in frames[2:]]
        rests = [energy[frame + 2 : frame + gap - 1].min() for frame in frames[1:]]

        assert bursts[-1] > 0.95 * bursts[0]
        assert max(rests) < 0.25 * min(bursts)


def test_quiet_events_move_as_far_as_they_seem_loud() -> None:
    """Eight decibels less is 0.58 of the motion, and is seen between full ones."""
    score = score_at(8, 20, 32, strengths=(1.0, 0.4, 1.0))

    assert pulse(score, 0.05)[20] == pytest.approx(0.4**0.6)
    assert peaks_of(opening(score)) == pytest.approx((8, 20, 32), abs=1)
    assert peaks_of(strike(score)) == pytest.approx((8, 20, 32), abs=1)


def test_pulse_dies_after_its_event() -> None:
    """Nothing before, all at the event, less with every frame."""
    curve = pulse(score_at(10), 0.1)

    assert not curve[:10].any()
    assert curve[10] == 1
    assert (np.diff(curve[10:]) < 0).all()


def test_mouth_opens_at_once_and_closes_slowly() -> None:
    """The largest step is the opening; the mouth is all but shut before the next call."""
    curve = opening(score_at(6, 24))

    assert int(np.argmax(np.diff(curve[:20]))) + 1 == 6
    assert np.diff(curve[:24]).min() > -0.1
    assert curve[23] < 0.2


def test_circle_moves_as_much_in_every_frame() -> None:
    """At constant loudness the pair of curves turns at constant speed."""
    first, second = circle(np.ones(48, np.float32), 2.0)

    steps = np.hypot(np.diff(first), np.diff(second))
    assert np.allclose(steps, steps[0], rtol=1e-4)


def test_hammer_is_lifted_and_gun_recoils_from_its_muzzle() -> None:
    """Heads rise on the screen between blows; guns go back where they do not shoot."""
    canvas = Canvas(80, 128)
    score = score_at(24)

    hammered = move("impact", canvas, hammer(Pen(canvas, (0.8, 0.5), size=0.7), Dice(1)), score)
    shot = move("shot", canvas, gun(Pen(canvas, (0.8, 0.5), size=0.7), Dice(1)), score)

    assert hammered[0][0][1].min() < -0.05  # down is positive
    assert shot[0][0][0].min() < -0.05
    assert shot[0][0][0].max() < 0.03


def test_ball_rises_from_the_ground() -> None:
    """A bouncing ball goes up without going sideways."""
    canvas = Canvas(80, 128)

    fields, _ = move("impact", canvas, ball(Pen(canvas, (0.8, 0.5), size=0.5), Dice(2)), score_at(20))

    assert fields[0][1].min() < -0.05
    assert np.abs(fields[0][0]).max() < 0.1 * np.abs(fields[0][1]).max()


def test_dancer_goes_down_and_keeps_the_feet() -> None:
    """At each beat the head goes down farthest, and the ground under the feet stays."""
    canvas = Canvas(80, 128)

    fields, curves = move("beat", canvas, figure(Pen(canvas, (0.8, 0.5), size=0.7), Dice(1)), score_at(20))

    down = fields[0][1]
    rows = np.abs(down).max(axis=1)
    assert down[np.unravel_index(np.abs(down).argmax(), down.shape)] > 0.05
    assert rows[round(0.25 * 80)] > 5 * rows[round(0.83 * 80)]
    assert int(curves[0].argmax()) == 20


def test_only_a_trombone_moves_its_slide() -> None:
    """A trumpet is lifted and nothing else, whatever it plays."""
    canvas = Canvas(80, 128)
    score = play_notes(Dice(4))
    moved = [
        (drawn, move("horn", canvas, drawn, score))
        for drawn in (horn(Pen(canvas, (0.8, 0.5), size=0.7), Dice(seed)) for seed in range(8))
    ]

    assert {len(fields) for _, (fields, _) in moved} == {1, 2}
    for drawn, (fields, _) in moved:
        assert len(fields) == (2 if "slide" in drawn.parts else 1)


def test_hits_are_ordered_and_at_most_six_a_second() -> None:
    """Rhythms keep the shortest gap that video frames can tell apart."""
    for seed in range(40):
        times = play_hits(Dice(seed)).times_s

        assert all(0 < time < 2 for time in times)
        assert min(np.diff(times), default=1.0) > 0.15


def test_automatic_fire_is_regular_within_a_burst() -> None:
    """Shots of one burst follow at one rate of 5 to 9 a second."""
    gaps = np.diff(play_automatic(Dice(3)).times_s)

    assert 1 / 9.1 < gaps.min() < 1 / 4.9
    assert np.isclose(gaps, gaps.min(), rtol=1e-3).mean() >= 0.5


def test_bow_is_loud_in_mid_stroke_and_silent_at_the_turn() -> None:
    """Loudness of a bowed string dips where the stroke reverses."""
    score = play_strokes(Dice(5))
    assert score.loudness is not None

    for turn in score.turns_s[:2]:
        assert score.loudness[round(turn * 16_000)] < 0.1
    for loudest in score.times_s:
        assert score.loudness[round(loudest * 16_000)] > 0.6


def test_reserved_draws_are_disjoint() -> None:
    """Held-out clips draw from a part of the range that training never draws from."""
    trained, held_out = Dice(1), Dice(1, is_held_out=True)

    seen = np.array([trained.reserved(1.0, 100.0) for _ in range(500)])
    unseen = np.array([held_out.reserved(1.0, 100.0) for _ in range(500)])

    inside = (seen >= unseen.min()) & (seen <= unseen.max())
    assert not inside.any()


def test_pen_measures_distances_in_scene_units() -> None:
    """Shapes are zero on their outline, negative inside, whatever the frame's size and turn."""
    canvas = Canvas(100, 160)
    pen = Pen(canvas, (0.8, 0.5), size=0.5, angle=0.7)

    disc = pen.disc(0.0, 0.0, 0.4)
    square = pen.polygon([(-0.2, -0.2), (0.2, -0.2), (0.2, 0.2), (-0.2, 0.2)])

    assert np.isclose(disc.min(), -0.2, atol=0.01)
    assert np.isclose((disc < 0).mean() * 1.6, np.pi * 0.2**2, rtol=0.02)
    assert np.isclose((square < 0).mean() * 1.6, 0.2**2, rtol=0.03)
    assert (union(disc, square) <= disc).all()
