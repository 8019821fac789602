"""`keyvid parity`: stored reference cases, reproduced and compared."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the hints)
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def parity(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of stored cases.", exists=True, file_okay=False)
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every compared tensor.")] = False,
) -> None:
    """Run every reference case in DIR and compare with the published numbers; exit with 1 if one disagrees."""
    import json

    from rich.console import Console
    from rich.progress import track

    from model.evaluation.parity.report import as_json as report_as_json
    from model.evaluation.parity.report import parity_table
    from model.evaluation.parity.runner import CasesMissing, ListingBroken, find_cases, run_cases

    try:
        cases = find_cases(folder)
    except (CasesMissing, ListingBroken) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    progress = Console(stderr=True)
    runs = track(run_cases(cases), "cases", total=len(cases), console=progress, transient=True)
    results = list(runs)
    if as_json:
        typer.echo(json.dumps(report_as_json(results), indent=2))
    else:
        # Wide enough for a line per case also where the output is not a terminal.
        console = Console() if Console().is_terminal else Console(width=140)
        console.print(parity_table(results, every_tensor=verbose))
    if not all(result.is_passed for result in results):
        raise typer.Exit(1)
