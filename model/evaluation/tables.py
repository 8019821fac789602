"""The evaluation's rows as tables for a terminal and as plain values for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from model.evaluation.motion import HeldOutClip, mean_by_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from model.evaluation.report import SyncRow

_COLUMNS: Mapping[str, Callable[[HeldOutClip], float]] = {
    "error": lambda clip: clip.generated.error,
    "error of draft": lambda clip: clip.draft.error,
    "timing": lambda clip: clip.generated.timing,
    "timing of draft": lambda clip: clip.draft.timing,
    "placement": lambda clip: clip.generated.placement,
    "placement of draft": lambda clip: clip.draft.placement,
    "amplitude": lambda clip: clip.generated.amplitude,
    "AP@3": lambda clip: clip.keypoints.recall_at_3,
    "AP@5": lambda clip: clip.keypoints.recall_at_5,
    "precision@3": lambda clip: clip.keypoints.precision_at_3,
}


def sync_table(rows: Sequence[SyncRow]) -> Table:
    """Sync of the demo set, one kind of video a row."""
    table = Table("videos", "F1 +-2", "precision", "recall", "F1 +-1", "median lag", title="sync on the demo set")
    for row in rows:
        two = row.within_two
        figures = (two.f1, two.precision, two.recall, row.within_one.f1)
        lag = "-" if row.median_lag is None else f"{row.median_lag:+.0f}"
        table.add_row(row.name, *(f"{figure:.3f}" for figure in figures), lag)
    return table


def motion_table(clips: Sequence[HeldOutClip]) -> Table:
    """Motion and localization of held-out clips, one kind of scene a row."""
    table = Table("kind", *_COLUMNS, title=f"{len(clips)} held-out procedural clips")
    columns = [mean_by_kind(clips, value) for value in _COLUMNS.values()]
    for kind in columns[0]:
        table.add_row(kind, *(f"{column[kind]:.2f}" for column in columns))
    return table


def as_json(rows: Sequence[SyncRow], clips: Sequence[HeldOutClip]) -> dict[str, object]:
    """Everything that the tables show."""
    return {
        "sync": [sync_as_json(row) for row in rows],
        "held_out": {name: mean_by_kind(clips, value) for name, value in _COLUMNS.items()},
        "held_out_clips": len(clips),
    }


def sync_as_json(row: SyncRow) -> dict[str, str | float | None]:
    """One row as plain values."""
    return {
        "videos": row.name,
        "f1_within_2_frames": row.within_two.f1,
        "precision": row.within_two.precision,
        "recall": row.within_two.recall,
        "f1_within_1_frame": row.within_one.f1,
        "median_lag_frames": row.median_lag,
    }
