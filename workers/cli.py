"""Commands of the queue side: `worker`, `listener`, `reconciler`, `dispatcher`, and `doctor`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError

from workers.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False)

SETTINGS_ERROR = 2

AnySettings = TypeVar("AnySettings", bound=Settings)


@app.callback()
def queue_side() -> None:
    """Keep typer from turning a single command into the whole program."""


@app.command()
def worker() -> None:
    """Run queued jobs on this machine until SIGTERM; settings are KEYVID_* variables."""
    from workers.lifecycle import run_worker
    from workers.parent import end_with_parent

    settings = settings_or_exit(Settings)
    _tell_metrics(settings)
    end_with_parent(os.environ)
    run_worker(settings)


@app.command()
def reconciler() -> None:
    """Repair what crashed, send lost tickets again, and clear storage, until SIGTERM."""
    from workers.logs import configure_logs
    from workers.parent import end_with_parent
    from workers.reconciler import run_reconciler

    settings = settings_or_exit(Settings)
    _tell_metrics(settings)
    configure_logs(settings, process="reconciler")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    end_with_parent(os.environ)
    run_reconciler(settings, stop)


@app.command()
def dispatcher() -> None:
    """Send the webhooks that are due, until SIGTERM."""
    from workers.logs import configure_logs
    from workers.parent import end_with_parent
    from workers.webhooks.dispatcher import run_dispatcher

    settings = settings_or_exit(Settings)
    _tell_metrics(settings)
    configure_logs(settings, process="dispatcher")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    end_with_parent(os.environ)
    run_dispatcher(settings, stop)


@app.command()
def listener() -> None:
    """Hold a localizer on the CPU and answer what is heard in sounds, for POST /v1/localizations, until SIGTERM."""
    from workers.listening.server import run_listener
    from workers.logs import configure_logs
    from workers.parent import end_with_parent

    settings = settings_or_exit(Settings)
    _tell_metrics(settings)
    configure_logs(settings, process="listener")
    end_with_parent(os.environ)
    run_listener(settings)


@app.command()
def doctor(
    *,
    url: Annotated[
        str | None,
        typer.Option(help="Look at a running deployment instead, with the key in KEYVID_API_KEY if it asks for one."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Plan the memory of this model instead: a name, or a folder of weights.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say what this machine can run and list all settings, or how a deployment is; exits with 1 if anything fails."""
    if url is not None:
        look_from_outside(url, as_json=as_json)
        return
    examine(settings_or_exit(Settings), model=model, as_json=as_json)


def look_from_outside(url: str, *, as_json: bool) -> None:
    """Report on a running deployment; exit with 1 when something of it fails."""
    from workers.deployment import report_deployment

    if not url.startswith(("http://", "https://")):
        typer.echo("--url: give an address such as http://127.0.0.1:8000", err=True)
        raise typer.Exit(SETTINGS_ERROR)
    if not report_deployment(url, as_json=as_json):
        raise typer.Exit(1)


def _tell_metrics(settings: Settings) -> None:
    """Listen for scrapes where a port is set; exit with one line when it cannot be had."""
    from workers.metrics import serve_metrics

    try:
        serve_metrics(settings)
    except OSError as error:
        typer.echo(f"KEYVID_METRICS_PORT: {settings.metrics_host}:{settings.metrics_port}: {error.strerror}", err=True)
        raise typer.Exit(SETTINGS_ERROR) from error


def examine(settings: Settings, *, model: str | None, as_json: bool) -> None:
    """Report on this machine, or on a model's memory; exit with 1 when something is missing."""
    from workers.diagnosis import report
    from workers.memory_report import NoPlan, report_memory

    if model is None:
        if not report(settings, as_json=as_json):
            raise typer.Exit(1)
        return
    try:
        report_memory(model, settings, as_json=as_json)
    except NoPlan as error:
        typer.echo(f"keyvid: {error}", err=True)
        raise typer.Exit(1) from error


def settings_or_exit(kind: type[AnySettings], **given: object) -> AnySettings:
    """Read the settings, where options that were `given` (not None) win; say what is wrong and exit with 2."""
    try:
        return kind.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for detail in error.errors():
            place = "_".join(str(part) for part in detail["loc"]).upper()
            name = f"KEYVID_{place}: " if place else ""
            typer.echo(f"{name}{detail['msg']}", err=True)
        sys.exit(SETTINGS_ERROR)
