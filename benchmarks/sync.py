"""Does what is seen happen when it is heard: F1 of motion peaks in the MP4 against known events.

    python -m benchmarks.sync [--json FILE]

The sounds and pictures are the demo set, whose seeds and ranges training never saw.
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

if TYPE_CHECKING:
    from collections.abc import Mapping


def rows() -> tuple[SyncRow, ...]:
    """Score keyvid-mini and its comparisons on the demo set."""
    clips = timed_demo_set()
    with Console(stderr=True).status(f"generating {2 * len(clips)} videos"):
        return sync_report(KeyVIDPipeline.from_pretrained("keyvid-mini"), clips)


def measure() -> Mapping[str, float]:
    """Figures for the table of all benchmarks."""
    return {f"{row.name}, F1": row.within_two.f1 for row in rows()}


def main() -> None:
    """Print the rows as a table and, if asked, write them as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    path = arguments.parse_args().json
    scored = rows()
    Console().print(sync_table(scored))
    if path is not None:
        path.write_text(json.dumps([sync_as_json(row) for row in scored], indent=2) + "\n")


if __name__ == "__main__":
    main()
