"""Tables hold what was read, with intervals, and can be shown, quoted and stored."""

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from model.evaluation.bootstrap import Estimate
from model.evaluation.judge import JudgeReading, alignsync, relsync
from model.evaluation.judging import judge_table
from model.evaluation.localization import HeardClip
from model.evaluation.motion import MotionScore
from model.evaluation.reading import PlaybackScore, SceneReading, VideoReading
from model.evaluation.report import ReportTable, write_markdown
from model.evaluation.rows import DENSE, DRAFT, GENERATED, SPLINE_LOCALIZED, SPLINE_UNIFORM, TRUTH, UNIFORM
from model.evaluation.sync import SyncScore
from model.evaluation.tables import (
    ablation_tables,
    gain_table,
    hearing_table,
    kinds_table,
    motion_levels,
    motion_table,
    sync_tables,
)

ROWS = (GENERATED, DRAFT, UNIFORM, DENSE, TRUTH, SPLINE_LOCALIZED, SPLINE_UNIFORM)


def video(quality: float, *, matched: int = 2, score: float = 0.0) -> VideoReading:
    """A video whose figures are all derived from one number, with `matched` of two events found."""
    sync = SyncScore(matched, matched, 2, (0.0,) * matched)
    features = np.random.default_rng(round(1000 * quality)).normal(size=4).astype(np.float32)
    return VideoReading(
        motion=MotionScore(1 - quality, quality, quality, 1.0, 2 * (1 - quality), 2.0, 0.1),
        onset=quality / 2,
        playback=PlaybackScore(sync, sync, quality),
        judged=JudgeReading(score, 0.5, features),
    )


def readings(count: int = 6) -> list[SceneReading]:
    """Scenes of two kinds that move more and more; the model is a little better than its draft in each."""
    scenes = []
    for index in range(count):
        spread = 0.02 * index
        videos = {row: video(0.6 + spread) for row in ROWS}
        videos[GENERATED] = video(0.7 + spread, score=1.0)
        videos[DRAFT] = video(0.65 + spread, matched=1)
        videos[SPLINE_UNIFORM] = video(0.5 + spread)
        videos[TRUTH] = video(1.0 - spread / 100, score=1.0)
        scenes.append(
            SceneReading(f"scene {index}", "wind" if index % 3 == 0 else "impact", (0.5, 1.5), float(index), videos)
        )
    return scenes


def rows_of(table: ReportTable) -> dict[str, dict[str, object]]:
    """Rows as they are stored."""
    stored = table.to_json()["rows"]
    assert isinstance(stored, dict)
    return stored


def test_sudden_kinds_have_a_table_of_their_own() -> None:
    """Wind is left out of the first table and counted in the second."""
    impulsive, every, kinds = sync_tables(readings())

    assert "4 clips, 8 events" in impulsive.title
    assert "6 clips, 12 events" in every.title
    assert rows_of(every)[GENERATED]["F1 +-2"] == [1.0, 1.0, 1.0]
    assert rows_of(every)[DRAFT]["recall"] == [0.5, 0.5, 0.5]
    assert list(rows_of(kinds)) == ["impact (4)", "wind (2)"]
    assert rows_of(every)[GENERATED]["median lag / of its length"] == "+0 / 0"


def test_machine_guns_are_too_fast_to_count() -> None:
    """Events closer than a sixth of a second stay in the table of all kinds alone."""
    fast = [replace(scene, event_times_s=(0.5, 0.62)) for scene in readings()]

    assert [table.name for table in sync_tables(fast)] == ["sync", "sync-kinds"]


def test_motion_is_measured_over_a_still_video() -> None:
    """The end-point error is a share of what a still video misses."""
    stored = rows_of(motion_table(readings()))

    assert stored[GENERATED]["end-point error"][0] == pytest.approx(0.25)  # type: ignore[index]
    assert set(rows_of(kinds_table(readings()))) == {"impact (4)", "wind (2)"}


def test_gain_over_the_draft_is_paired() -> None:
    """A gain that every clip shows has an interval without width, however much the clips differ."""
    low, value, high = np.roll(rows_of(gain_table(readings()))["r of motion"]["difference"], 1)  # type: ignore[arg-type]

    assert value == pytest.approx(0.05)
    assert high - 0.05 == pytest.approx(0, abs=1e-9)
    assert low == pytest.approx(0.05)


def test_levels_are_thirds_by_true_motion() -> None:
    """Six scenes make three levels of two; the least moving ones are subtle."""
    levels = motion_levels(readings())

    assert [len(scenes) for scenes in levels.values()] == [2, 2, 2]
    assert [scene.name for scene in levels["subtle"]] == ["scene 0", "scene 1"]


def test_ablation_compares_keyframes_with_and_without_hearing() -> None:
    """Both tables stand only where their rows were read."""
    levels, splines = ablation_tables(readings())

    assert rows_of(levels)["all, r of motion"]["localized - uniform"][0] == pytest.approx(0.1)  # type: ignore[index]
    assert rows_of(splines)["localized - uniform"]["r of motion"][0] == pytest.approx(0.1)  # type: ignore[index]
    few = [replace(scene, videos={GENERATED: scene.videos[GENERATED]}) for scene in readings()]
    assert ablation_tables(few) == []


def test_judge_compares_with_the_truth_clip_by_clip() -> None:
    """Equal logits are 50; a lower one is less; the truth is at no distance from itself."""
    table = judge_table(readings())
    assert table is not None
    stored = rows_of(table)

    assert stored[TRUTH]["RelSync"][0] == pytest.approx(50)  # type: ignore[index]
    assert stored[GENERATED]["RelSync"][0] == pytest.approx(50)  # type: ignore[index]
    assert stored[UNIFORM]["RelSync"][0] == pytest.approx(100 / (1 + np.e))  # type: ignore[index]
    assert stored[TRUTH]["video distance"] == pytest.approx(0, abs=1e-3)
    blind = {row: replace(reading, judged=None) for row, reading in readings()[0].videos.items()}
    assert judge_table([replace(scene, videos=blind) for scene in readings()]) is None


def test_alignsync_is_about_half_of_relsync() -> None:
    """Where single frames fit no better than the first, the weight is a half."""
    reading = JudgeReading(2.0, 0.5, np.zeros(4, np.float32))

    assert relsync(reading, reading) == pytest.approx(0.5)
    assert alignsync(reading, reading) == pytest.approx(0.25)


def test_localization_has_rows_for_all_kinds_and_blind_guesses() -> None:
    """A localizer that is right has full marks for each kind."""
    curve = tuple(float(frame in (10, 30)) for frame in range(48))

    stored = rows_of(hearing_table([HeardClip(kind, curve, curve) for kind in ("bark", "wind", "wind")]))

    assert list(stored) == ["localizer", "- bark", "- wind", "other sound", "every fifth frame"]
    assert stored["localizer"]["F1"] == [1.0, 1.0, 1.0]


def test_tables_are_shown_quoted_and_stored() -> None:
    """Intervals stand in brackets, missing figures are dashes, and zero has no sign."""
    table = ReportTable(
        "t", "A table.", ("row", "a", "b", "c"), (("x", (Estimate(0.5, 0.25, 0.75), None, -0.001)),), "A note."
    )

    assert "| x | 0.50 [0.25, 0.75] | - | 0.00 |" in table.to_markdown()
    assert write_markdown([table], "Numbers").startswith("# Numbers\n\nA table.\n")
    assert json.loads(json.dumps(table.to_json()))["rows"]["x"]["a"] == [0.5, 0.25, 0.75]
    console = Console(width=120, record=True, file=StringIO())
    console.print(table.to_rich())
    assert "A note." in console.export_text()
