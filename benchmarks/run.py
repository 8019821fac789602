"""Run the benchmarks and print their tables; `make bench` calls this.

Results go to benchmarks/results.json with the machine and the versions they were read on; docs/performance.md quotes
them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks import service, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RESULTS = Path(__file__).with_name("results.json")
BENCHMARKS: Mapping[str, Callable[[], Mapping[str, float]]] = {"service": service.measure, "sync": sync.measure}


def machine() -> dict[str, str | int | None]:
    """What the numbers were read on."""
    model_names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": model_names[0].partition(":")[2].strip() if model_names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "keyvid": version("keyvid"),
    }


def main() -> None:
    """Run the chosen benchmarks, print each as a table, and store all."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which to run, of {', '.join(BENCHMARKS)}; default all"
    )
    names = arguments.parse_args().names or list(BENCHMARKS)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names:
        rows = BENCHMARKS[name]()
        table = Table("figure", "value", title=name)
        for figure, value in rows.items():
            table.add_row(figure, f"{value:.3g}")
        Console().print(table)
        results[name] = {"machine": machine(), "figures": rows}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
