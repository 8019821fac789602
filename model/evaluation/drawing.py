"""Pictures of an evaluation: quality against time, and contact sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from model.evaluation.bootstrap import Estimate
    from model.evaluation.photographs import PhotographReading
    from model.evaluation.settings import SettingReading

_INK = "#1f2933"
_PLAIN = "#2563eb"
_GUIDED = "#ea580c"
_SHEET_COLUMNS = 6
_REACH_SHOWN_PX = 30.0


def plot_settings(path: Path, readings: Sequence[SettingReading]) -> None:
    """Draw correlation, placement and end-point error over the seconds of each setting, as PNG."""
    figure = Figure(figsize=(12.0, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels: tuple[tuple[str, list[Estimate]], ...] = (
        ("correlation of motion", [reading.timing for reading in readings]),
        ("placement", [reading.placement for reading in readings]),
        ("end-point error, px", [reading.endpoint_px for reading in readings]),
    )
    for number, (title, estimates) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), 1 + number)
        for reading, estimate in zip(readings, estimates, strict=True):
            colour = _PLAIN if reading.setting.guidance_audio == 1 else _GUIDED
            reach = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
            axes.errorbar([reading.seconds], [estimate.value], yerr=reach, color=colour, marker="o", capsize=3)
            axes.annotate(
                reading.setting.name,
                (reading.seconds, estimate.value),
                xytext=(5, 5),
                textcoords="offset points",
                fontsize=8,
                color=_INK,
            )
        axes.set(title=title, xlabel="seconds per clip, before decoding", xscale="log")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png")


def draw_contact_sheet(path: Path, readings: Sequence[PhotographReading]) -> None:
    """Draw photographs a row: the first frame, frames at the sound's events, and how far each pixel moves; as JPEG."""
    figure = Figure(figsize=(2.6 * (_SHEET_COLUMNS + 1), 1.85 * len(readings)), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(readings), _SHEET_COLUMNS + 1)
    for row, reading in enumerate(readings):
        for column, frame in enumerate(frames_to_show(reading)):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(reading.frames[frame])
            title = f"{reading.photograph.name}, {reading.photograph.prompt}" if column == 0 else f"frame {frame}"
            _tidy(axes, title)
        axes = figure.add_subplot(grid[row, _SHEET_COLUMNS])
        axes.imshow(reading.reach_px, cmap="magma", vmin=0, vmax=_REACH_SHOWN_PX)
        _tidy(axes, f"reach, {reading.moved_px:.0f} px")
    sources = "; ".join(f"{reading.photograph.name}: {reading.photograph.credit}" for reading in readings)
    figure.supxlabel(f"Photographs: {sources}", fontsize=8, color=_INK, wrap=True)
    figure.savefig(path, format="jpg", pil_kwargs={"quality": 85})


def frames_to_show(reading: PhotographReading) -> tuple[int, ...]:
    """The first frame and five others: at the sound's events, then where they leave the widest gaps."""
    last = len(reading.frames) - 1
    shown = sorted({0, *[frame for frame in reading.shown if 0 < frame <= last][: _SHEET_COLUMNS - 1]})
    while len(shown) < _SHEET_COLUMNS:
        ends = [*shown, last + 1]
        gaps = np.diff(ends)
        widest = int(gaps.argmax())
        shown.insert(widest + 1, shown[widest] + int(gaps[widest]) // 2)
    return tuple(shown)


def _tidy(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=8, color=_INK)
    axes.set_axis_off()
