"""How `make faults` and `make load` run: one proof after another, its progress, its figures, and an exit status."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from rich.console import Console

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Say = Callable[[str], None]
    Proof = Callable[[argparse.Namespace, Say], Mapping[str, object]]

console = Console()


def run_proofs(proofs: Mapping[str, Proof], arguments: argparse.ArgumentParser, *, results: Path) -> None:
    """Run the proofs that the command line names, store what the long ones found, and exit with 1 if any is broken.

    A proof is given the options and somebody to tell of its progress; it answers its figures, and under `broken` what
    should not be so.
    """
    arguments.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which to run, of {', '.join(proofs)}; default all"
    )
    arguments.add_argument("--short", action="store_true", help="the same in a few minutes, with fewer repetitions")
    options = arguments.parse_args()
    unknown = sorted(set(options.names) - proofs.keys())
    if unknown:
        arguments.error(f"there is no {', '.join(unknown)}; there are {', '.join(proofs)}")
    # So that what was started is ended, too; hypothesis takes a SystemExit for a counter-example, and goes on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # What our own code warns of while it is hurt on purpose is no news.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    found = json.loads(results.read_text()) if results.exists() else {}
    is_whole = True
    for name in options.names or proofs:
        figures = _run(name, proofs[name], options)
        is_whole &= not figures["broken"]
        if not options.short:
            found[name] = figures
            results.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(0 if is_whole else 1)


def _run(name: str, proof: Proof, options: argparse.Namespace) -> Mapping[str, object]:
    """Run one proof and print its figures; an error counts as something broken."""
    console.rule(name)
    began = time.monotonic()

    def say(what: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {what}", highlight=False)

    try:
        figures = dict(proof(options, say))
    except Exception as error:  # noqa: BLE001 - the other proofs are still worth running
        console.print_exception()
        figures = {"broken": [f"{type(error).__name__}: {error}"]}
    figures |= {"seconds": round(time.monotonic() - began, 1), "date": datetime.now(UTC).date().isoformat()}
    broken = figures.setdefault("broken", [])
    for figure, value in figures.items():
        if figure != "broken":
            console.print(f"  {figure}: {value}", highlight=False)
    for line in broken if isinstance(broken, list) else ():
        console.print(f"  broken: {line}", style="red", markup=False)
    console.print("  [red]broken[/red]" if broken else "  [green]everything holds[/green]")
    return figures
