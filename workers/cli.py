"""Commands of the queue side: `worker`, `reconciler`, and `doctor`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from typing import Annotated

import typer
from pydantic import ValidationError

from workers.settings import Settings, describe_settings

app = typer.Typer(no_args_is_help=True, add_completion=False)

SETTINGS_ERROR = 2


@app.callback()
def queue_side() -> None:
    """Keep typer from turning a single command into the whole program."""


@app.command()
def worker() -> None:
    """Run queued jobs on this machine until SIGTERM; settings are KEYVID_* variables."""
    from workers.lifecycle import run_worker
    from workers.parent import end_with_parent

    settings = _settings()
    end_with_parent(os.environ)
    run_worker(settings)


@app.command()
def reconciler() -> None:
    """Repair what crashed, send lost tickets again, and clear storage, until SIGTERM."""
    from workers.logs import configure_logs
    from workers.parent import end_with_parent
    from workers.reconciler import run_reconciler

    settings = _settings()
    configure_logs(settings, process="reconciler")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    end_with_parent(os.environ)
    run_reconciler(settings, stop)


@app.command()
def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False) -> None:
    """Say what this machine can run, and list every setting; exits with 1 when something is missing."""
    from workers.diagnosis import diagnose, unknown_variables

    settings = _settings()
    findings = diagnose(settings)
    rows = describe_settings(settings)
    unknown = unknown_variables(settings)
    if as_json:
        report = {
            "findings": [asdict(finding) for finding in findings],
            "settings": [asdict(row) for row in rows],
            "unknown_variables": unknown,
        }
        typer.echo(json.dumps(report, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table

        console = Console()
        checks = Table("", "check", "finding", box=None, header_style="bold")
        for finding in findings:
            checks.add_row("[green]ok[/]" if finding.is_good else "[red]no[/]", finding.name, finding.detail)
        table = Table("variable", "value", "default", "meaning", box=None, header_style="bold")
        for row in rows:
            table.add_row(row.variable, row.value, row.default, row.description)
        console.print(checks)
        console.print()
        console.print(table)
        if unknown:
            console.print(f"\nnot a setting of the worker: {', '.join(unknown)}")
    if not all(finding.is_good for finding in findings):
        raise typer.Exit(1)


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        for detail in error.errors():
            place = "_".join(str(part) for part in detail["loc"]).upper()
            name = f"KEYVID_{place}: " if place else ""
            typer.echo(f"{name}{detail['msg']}", err=True)
        sys.exit(SETTINGS_ERROR)
