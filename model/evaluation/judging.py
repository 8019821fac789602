"""RelSync, AlignSync and the video distance of all rows, in the eyes of our own judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.evaluation.bootstrap import mean_estimate
from model.evaluation.judge import alignsync, relsync
from model.evaluation.metrics.frechet import frechet_distance
from model.evaluation.report import ReportTable
from model.evaluation.rows import TRUTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.evaluation.judge import JudgeReading
    from model.evaluation.reading import SceneReading


def judge_table(readings: Sequence[SceneReading]) -> ReportTable | None:
    """Scores of every encoded row against the ground truth's; None where nothing was judged, or no truth."""
    truths = judged(readings, TRUTH)
    if len(truths) < 2:
        return None
    rows = []
    for row in readings[0].videos:
        own = judged(readings, row)
        if not own:
            continue
        pairs = list(zip(own, truths, strict=True))
        features = [np.stack([reading.features for reading in group]) for group in (own, truths)]
        rows.append(
            (
                row,
                (
                    mean_estimate([100 * relsync(video, truth) for video, truth in pairs]),
                    mean_estimate([100 * alignsync(video, truth) for video, truth in pairs]),
                    frechet_distance(features[0], features[1]),
                ),
            )
        )
    return ReportTable(
        "judge",
        f"Our own sync judge on {len(readings)} held-out clips.",
        ("videos", "RelSync", "AlignSync", "video distance"),
        tuple(rows),
        "RelSync of the ground truth is 50 by definition. The judge was trained on procedural clips: its numbers do "
        "not compare with the paper's. *Video distance*: Frechet distance in the judge's video features, "
        "ill-conditioned below a few hundred clips. In brackets: 95 % bootstrap intervals over the clips.",
    )


def judged(readings: Sequence[SceneReading], row: str) -> list[JudgeReading]:
    """What the judge made of a row's videos; empty unless it saw all of them."""
    videos = [reading.videos[row].judged for reading in readings if row in reading.videos]
    seen = [video for video in videos if video is not None]
    return seen if len(seen) == len(readings) else []
