"""Tables of figures with their intervals: for a terminal, for the model card, and as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from model.evaluation.bootstrap import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

Cell = Estimate | float | str | None
"""A figure with its interval, a plain figure, a word, or nothing to say."""


@dataclass(frozen=True, slots=True)
class ReportTable:
    """One table.

    Args:
        name: short key, unique in a report.
        title: what was measured, on how many clips.
        columns: headings, the first that of the rows' names.
        rows: a name and one cell for each further column.
        note: how to read it, if that needs words.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    note: str = ""

    def to_rich(self) -> Table:
        """For a terminal."""
        table = Table(*self.columns, title=self.title, caption=self.note or None)
        for name, cells in self.rows:
            table.add_row(name, *(_written(cell) for cell in cells))
        return table

    def to_markdown(self) -> str:
        """For a document: a heading sentence, the table, the note."""
        lines = [self.title, "", _line(self.columns), _line(["---"] * len(self.columns))]
        lines += [_line([name, *(_written(cell) for cell in cells)]) for name, cells in self.rows]
        if self.note:
            lines += ["", self.note]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, object]:
        """Plain values; figures with intervals are lists of value, low and high."""
        return {
            "title": self.title,
            "note": self.note,
            "rows": {
                name: {column: _plain(cell) for column, cell in zip(self.columns[1:], cells, strict=True)}
                for name, cells in self.rows
            },
        }


def write_markdown(tables: Sequence[ReportTable], heading: str) -> str:
    """All tables below one heading."""
    return "\n".join([f"# {heading}\n", *(table.to_markdown() for table in tables)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _written(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Estimate):
        return f"{_figure(cell.value)} [{_figure(cell.low)}, {_figure(cell.high)}]"
    return _figure(cell)


def _figure(value: float) -> str:
    rounded = f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return rounded.removeprefix("-") if float(rounded) == 0 else rounded


def _plain(cell: Cell) -> object:
    return [cell.value, cell.low, cell.high] if isinstance(cell, Estimate) else cell
