"""Commands of the HTTP API: `keyvid api` and `keyvid openapi`."""

import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.settings import ServiceSettings

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Serve videos over HTTP."""


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for everything that is written.")] = None,
    processes: Annotated[int | None, typer.Option(help="API processes that share the port.", min=1, max=64)] = None,
) -> None:
    """Run the HTTP API alone; workers and the reconciler run elsewhere."""
    import uvicorn

    from service.settings import ServiceSettings
    from workers.cli import settings_or_exit
    from workers.logs import configure_logs
    from workers.metrics import FOLDER_VARIABLE, share_metrics
    from workers.parent import end_with_parent

    settings = settings_or_exit(ServiceSettings, host=host, port=port, data_dir=data_dir, api_processes=processes)
    _refuse_open_door(settings)
    configure_logs(settings, process="api")
    end_with_parent(os.environ)
    threading.Thread(target=_tell_what_confines_decoders, daemon=True).start()  # it takes a process
    _hand_down(settings)
    if settings.api_processes > 1 and FOLDER_VARIABLE not in os.environ:
        share_metrics(settings.data_dir / "metrics")
    uvicorn.run(
        "service.processes:application",
        factory=True,
        workers=settings.api_processes,
        host=settings.host,
        port=settings.port,
        log_config=None,  # our own logs are configured above
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535, show_default="8000"),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder for everything that is written.", show_default="var")
    ] = None,
) -> None:
    """Run the whole service on this machine: API, worker with its runner, and reconciler.

    Prints one line with the address when it takes jobs. Ctrl-C or SIGTERM stops it; a running job goes on where it
    was when the service starts again.
    """
    from service.serve import children, free_port, supervise, takes_jobs
    from service.settings import ServiceSettings
    from workers.cli import settings_or_exit
    from workers.logs import configure_logs
    from workers.metrics import share_metrics

    settings = settings_or_exit(ServiceSettings, host=host, port=port, data_dir=data_dir)
    host, folder = settings.host, settings.data_dir
    port = settings.port or free_port(host)
    _refuse_open_door(settings)
    configure_logs(settings, process="serve")
    share_metrics(settings.data_dir / "metrics")
    # One port cannot be three processes': what they count is told by the API.
    environment = {**os.environ, "KEYVID_DATA_DIR": str(folder), "KEYVID_METRICS_PORT": "0"}
    url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '') else host}:{port}"  # noqa: S104
    supervise(
        children(host=host, port=port, environment=environment),
        is_ready=lambda: takes_jobs(url, settings.database_url),
        on_ready=lambda: typer.echo(f"KeyVID takes jobs at {url} (everything it writes is under {folder})"),
    )


@app.command()
def openapi() -> None:
    """Write the OpenAPI document to standard output."""
    from service.app import create_app

    typer.echo(json.dumps(create_app().openapi(), indent=2))


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
    from service.settings import ServiceSettings
    from workers.cli import examine, look_from_outside, settings_or_exit

    if url is not None:
        look_from_outside(url, as_json=as_json)
        return
    examine(settings_or_exit(ServiceSettings), model=model, as_json=as_json)


def _tell_what_confines_decoders() -> None:
    """Log which measures keep hostile files harmless on this machine; one that is missing is a warning."""
    import structlog

    from service.media.confinement import MEASURES
    from service.media.validation import measures_that_hold

    logger = structlog.get_logger(__name__)
    holds = measures_that_hold()
    tell = logger.info if set(holds) >= set(MEASURES) else logger.warning
    tell("decoders_confined", holds=holds, missing=sorted(set(MEASURES) - set(holds)))


def _hand_down(settings: "ServiceSettings") -> None:
    """Write what the command line chose into the environment, from which each API process reads its settings."""
    from workers.parent import PARENT_VARIABLE
    from workers.settings import ENV_PREFIX

    for name in ("host", "port", "data_dir", "api_processes"):
        os.environ[f"{ENV_PREFIX}{name.upper()}"] = str(getattr(settings, name))
    if settings.api_processes > 1:
        os.environ[PARENT_VARIABLE] = str(os.getpid())


def _refuse_open_door(settings: "ServiceSettings") -> None:
    """Exit with one line that says what to do when others could use this server without a key."""
    from service.access.binding import why_not_open
    from workers.cli import SETTINGS_ERROR

    reason = why_not_open(settings)
    if reason is not None:
        typer.echo(reason, err=True)
        raise typer.Exit(SETTINGS_ERROR)
