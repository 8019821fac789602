"""Measure the service under load; `make load` calls this. Exits with 1 when anything is lost, refused or left over."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.load import creates, polls, soak, uploads
from benchmarks.proofs import run_proofs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.proofs import Proof

RESULTS = Path(__file__).with_name("results.json")
SHORT_SOAK_S = 60.0
SOAK_S = 150.0
HOUR_S = 3600.0


def _soak_s(options: argparse.Namespace) -> float:
    if options.soak_hours is not None:
        return float(options.soak_hours) * HOUR_S
    return SHORT_SOAK_S if options.short else SOAK_S


PROOFS: Mapping[str, Proof] = {
    "creates": lambda options, say: creates.create(callers=40 if options.short else 200, say=say),
    "polls": lambda options, say: polls.poll(seconds=5.0 if options.short else 20.0, say=say),
    "uploads": lambda options, say: uploads.upload(megabytes=20 if options.short else 80, say=say),
    "soak": lambda options, say: soak.soak(seconds=_soak_s(options), say=say),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--soak-hours", type=float, help="length of the soak, instead of two and a half minutes")
    run_proofs(PROOFS, parser, results=RESULTS)
