"""Results of reference cases as a table and as plain values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.evaluation.parity.case import Comparison
    from model.evaluation.parity.runner import CaseResult


def parity_table(results: Sequence[CaseResult], *, every_tensor: bool = False) -> Table:
    """One row for each case, with the tensor that is nearest to its tolerance; failed tensors are all listed."""
    passed = sum(result.is_passed for result in results)
    table = Table("case", "kind", "tensor", "max error", "tolerance", "time", "", title="parity", title_justify="left")
    table.caption = f"{passed} of {len(results)} cases agree"
    for result in results:
        seconds = f"{result.duration_s:.1f} s"
        verdict = "[green]ok[/]" if result.is_passed else "[red]FAILED[/]"
        if result.problem is not None:
            table.add_row(result.name, result.kind, result.problem, "", "", seconds, verdict)
        worst = result.worst
        shown = _shown(result, every_tensor=every_tensor) or ([worst] if worst is not None else [])
        for index, comparison in enumerate(shown):
            case = (result.name, result.kind) if index == 0 else ("", "")
            last = (seconds, verdict) if index == 0 else ("", "")
            table.add_row(*case, comparison.name, f"{comparison.error:.1e}", f"{comparison.tolerance:.0e}", *last)
    return table


def _shown(result: CaseResult, *, every_tensor: bool) -> list[Comparison]:
    return [comparison for comparison in result.comparisons if every_tensor or not comparison.is_within]


def as_json(results: Sequence[CaseResult]) -> dict[str, object]:
    """Everything that was compared; errors that are not finite become null."""
    return {
        "passed": all(result.is_passed for result in results),
        "cases": [
            {
                "case": result.name,
                "kind": result.kind,
                "passed": result.is_passed,
                "problem": result.problem,
                "duration_s": round(result.duration_s, 3),
                "max_error": _finite(result.worst.error) if result.worst else None,
                "tolerance": result.worst.tolerance if result.worst else None,
                "tensors": [
                    {
                        "name": comparison.name,
                        "max_error": _finite(comparison.error),
                        "tolerance": comparison.tolerance,
                        "passed": comparison.is_within,
                    }
                    for comparison in result.comparisons
                ],
            }
            for result in results
        ],
    }


def _finite(error: float) -> float | None:
    return error if math.isfinite(error) else None
