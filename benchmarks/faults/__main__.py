"""Prove that nothing is lost; `make faults` calls this. Exits with 1 when anything that must hold does not."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.faults import crashes, job_life, storm

if TYPE_CHECKING:
    from collections.abc import Mapping

RESULTS = Path(__file__).with_name("results.json")
Proof = "Callable[[bool, Callable[[str], None]], Mapping[str, object]]"

console = Console()


def proofs() -> Mapping[str, Proof]:
    """Every proof by its name: told whether to be short and how to tell of its progress, it answers its figures."""
    return {
        "orders": lambda is_short, say: job_life.search(60 if is_short else 2000, say=say),
        "crashes": lambda is_short, say: crashes.crash_everywhere(is_short=is_short, say=say),
        "storm-embedded": lambda is_short, say: storm.blow(
            storm.SHORT if is_short else storm.Storm(), on_servers=False, say=say
        ),
        "storm-servers": lambda is_short, say: storm.blow(
            storm.SHORT if is_short else storm.Storm(), on_servers=True, say=say
        ),
    }


def main() -> None:
    """Run the chosen proofs, print what each found, and store all."""
    known = proofs()
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    arguments.add_argument("names", nargs="*", metavar="NAME", help=f"which to run, of {', '.join(known)}; default all")
    arguments.add_argument("--short", action="store_true", help="the same in minutes, with fewer repetitions")
    options = arguments.parse_args()
    unknown = set(options.names) - known.keys()
    if unknown:
        arguments.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    is_whole = True
    for name in options.names or known:
        figures = run(name, known[name], is_short=options.short)
        is_whole &= not figures["broken"]
        if not options.short:
            results[name] = figures
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(0 if is_whole else 1)


def run(name: str, proof: Proof, *, is_short: bool) -> Mapping[str, object]:
    """Run one proof and print its figures; an error counts as something broken."""
    console.rule(name)
    began = time.monotonic()

    def say(what: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {what}", highlight=False)

    try:
        figures = dict(proof(is_short, say))
    except Exception as error:  # noqa: BLE001 - the other proofs are still worth running
        console.print_exception()
        figures = {"broken": [f"{type(error).__name__}: {error}"]}
    figures["date"] = datetime.now(UTC).date().isoformat()
    for figure, value in figures.items():
        if figure != "broken":
            console.print(f"  {figure}: {value}", highlight=False)
    for line in figures["broken"]:
        console.print(f"  [red]broken:[/red] {line}")
    console.print("  [green]everything holds[/green]" if not figures["broken"] else "  [red]broken[/red]")
    return figures


if __name__ == "__main__":
    main()
