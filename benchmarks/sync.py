"""Does what is seen happen when it is heard: F1 of motion peaks in the MP4 against known events.

    python -m benchmarks.sync [--json FILE]

The sounds and pictures are the demo set, whose seeds and ranges training never saw; then the same voices at rates that
are spread evenly from one to five events a second.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from model.evaluation.report import SyncRow, sync_report, timed_demo_set
from model.evaluation.tables import sync_as_json, sync_table
from model.pipeline import KeyVIDPipeline
from model.training.procedural.examples import EVEN_RATES_HZ, SLOW_RATES_HZ

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def rows(rates_hz: Sequence[float]) -> tuple[SyncRow, ...]:
    """Score keyvid-mini and its comparisons on the demo set at these rates."""
    clips = timed_demo_set(rates_hz=rates_hz)
    with Console(stderr=True).status(f"generating {2 * len(clips)} videos"):
        return sync_report(KeyVIDPipeline.from_pretrained("keyvid-mini"), clips)


def measure() -> Mapping[str, float]:
    """Figures for the table of all benchmarks."""
    sets = {"": SLOW_RATES_HZ, "even rates: ": EVEN_RATES_HZ}
    return {f"{label}{row.name}, F1": row.within_two.f1 for label, rates in sets.items() for row in rows(rates)}


def main() -> None:
    """Print the rows as a table and, if asked, write them as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    path = arguments.parse_args().json
    scored = rows(SLOW_RATES_HZ)
    Console().print(sync_table(scored))
    if path is not None:
        path.write_text(json.dumps([sync_as_json(row) for row in scored], indent=2) + "\n")


if __name__ == "__main__":
    main()
