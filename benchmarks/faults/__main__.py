"""Prove that nothing is lost; `make faults` calls this. Exits with 1 when anything that must hold does not."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.faults import crashes, frozen, orders, stops, storm
from benchmarks.proofs import run_proofs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.proofs import Proof

RESULTS = Path(__file__).with_name("results.json")
PROOFS: Mapping[str, Proof] = {
    "orders": lambda options, say: orders.search(60 if options.short else 2000, say=say),
    "crashes": lambda options, say: crashes.crash_everywhere(is_short=options.short, say=say),
    "storm-embedded": lambda options, say: storm.blow(
        storm.SHORT if options.short else storm.Storm(), on_servers=False, say=say
    ),
    "storm-servers": lambda options, say: storm.blow(
        storm.SHORT if options.short else storm.Storm(), on_servers=True, say=say
    ),
    "frozen": lambda options, say: frozen.wake_late(seconds=5.0 if options.short else 60.0, say=say),
    "fuzz": lambda options, _: _fuzz(options),
    "stops": lambda options, say: stops.stop_everywhere(rounds=8 if options.short else 100, say=say),
}


def _fuzz(options: argparse.Namespace) -> Mapping[str, object]:
    """Broken forms and requests made from the schemas, in a process of their own."""
    amount = ("--forms", "1000", "--examples", "5") if options.short else ()
    status = subprocess.run([sys.executable, "-m", "benchmarks.faults.fuzz", *amount], check=False).returncode
    return {"broken": ["what was found is told above"] if status else []}


if __name__ == "__main__":
    run_proofs(
        PROOFS, argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__), results=RESULTS
    )
