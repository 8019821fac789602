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
_COLOURS = ("#1f2933", "#93c5fd", "#3b82f6", "#1d4ed8", "#7c3aed", "#c026d3", "#fdba74", "#ea580c", "#7c2d12")
_SHEET_COLUMNS = 6
_REACH_SHOWN_PX = 30.0


def plot_settings(path: Path, readings: Sequence[SettingReading]) -> None:
    """Draw correlation, placement and end-point error over the seconds of each setting, as PNG."""
    figure = Figure(figsize=(13.5, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels: tuple[tuple[str, list[Estimate]], ...] = (
        ("correlation of motion", [reading.timing for reading in readings]),
        ("placement", [reading.placement for reading in readings]),
        ("end-point error, px", [reading.endpoint_px for reading in readings]),
    )
    for number, (title, estimates) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), 1 + number)
        for index, (reading, estimate) in enumerate(zip(readings, estimates, strict=True)):
            reach = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
            axes.errorbar(
                [reading.seconds],
                [estimate.value],
                yerr=reach,
                color=_COLOURS[index % len(_COLOURS)],
                marker="o" if reading.setting.guidance_audio == 1 else "^",
                markersize=7,
                capsize=3,
                label=reading.setting.name,
            )
        axes.set(title=title, xlabel="seconds per clip, before decoding", xscale="log")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.savefig(path, pil_kwargs={"quality": 82})


def draw_contact_sheet(path: Path, readings: Sequence[PhotographReading]) -> None:
    """Draw a photograph a row, as PNG: the first frame, four at the sound's events, the most moved, and the reach."""
    figure = Figure(figsize=(2.6 * (_SHEET_COLUMNS + 1), 1.85 * len(readings)), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(readings), _SHEET_COLUMNS + 1)
    for row, reading in enumerate(readings):
        for column, frame in enumerate(frames_to_show(reading)):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(reading.frames[frame])
            title = f"{reading.photograph.name}, {reading.photograph.prompt}" if column == 0 else f"frame {frame}"
            _tidy(axes, title)
        axes = figure.add_subplot(grid[row, _SHEET_COLUMNS - 1])
        axes.imshow(reading.frames[reading.most_moved])
        _tidy(axes, f"frame {reading.most_moved}, most moved")
        axes = figure.add_subplot(grid[row, _SHEET_COLUMNS])
        axes.imshow(reading.reach_px, cmap="magma", vmin=0, vmax=_REACH_SHOWN_PX)
        _tidy(axes, f"reach, {reading.moved_px:.0f} px")
    sources = "; ".join(f"{reading.photograph.name}: {reading.photograph.credit}" for reading in readings)
    figure.supxlabel(f"Photographs: {sources}", fontsize=8, color=_INK, wrap=True)
    figure.savefig(path, pil_kwargs={"quality": 82})


def frames_to_show(reading: PhotographReading) -> tuple[int, ...]:
    """The first frame and four others: at the sound's events, then where they leave the widest gaps."""
    last = len(reading.frames) - 1
    shown = sorted({0, *[frame for frame in reading.shown if 0 < frame <= last][: _SHEET_COLUMNS - 2]})
    while len(shown) < _SHEET_COLUMNS - 1:
        gaps = np.diff([*shown, last + 1])
        widest = int(gaps.argmax())
        shown.insert(widest + 1, shown[widest] + int(gaps[widest]) // 2)
    return tuple(shown)


def _tidy(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=8, color=_INK)
    axes.set_axis_off()
