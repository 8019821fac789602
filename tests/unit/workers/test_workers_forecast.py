"""Forecasts of running videos."""

from __future__ import annotations

import pytest

from workers.forecast import Pace
from workers.jobs import JobStage

PACE = Pace({JobStage.LOCALIZATION: 1.0, JobStage.KEYFRAMES: 10.0, JobStage.INTERPOLATION: 20.0, JobStage.MUX: 2.0})


@pytest.mark.parametrize(
    ("stage", "step", "total", "left_s"),
    [
        (JobStage.LOCALIZATION, 0, 1, 33.0),
        (JobStage.KEYFRAMES, 3, 4, 24.5),
        (JobStage.INTERPOLATION, 0, 0, 22.0),
        (JobStage.MUX, 48, 48, 0.0),
        (JobStage.DONE, 0, 0, None),
    ],
)
def test_what_is_left_follows_the_steps(stage: JobStage, step: int, total: int, left_s: float | None) -> None:
    """The rest of the present stage and all of the later ones count, as long as they took before."""
    assert PACE.left_after(stage, step=step, total=total) == left_s


def test_nothing_is_told_that_was_not_measured() -> None:
    """Without a completed video there is no forecast."""
    assert Pace({}).left_after(JobStage.KEYFRAMES, step=1, total=4) is None
