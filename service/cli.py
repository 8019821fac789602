"""Commands of the HTTP API: `keyvid api` and `keyvid openapi`."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Serve videos over HTTP."""


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for everything that is written.")] = None,
) -> None:
    """Run the HTTP API alone; workers and the reconciler run elsewhere."""
    import uvicorn

    from service.app import create_app
    from service.settings import ServiceSettings
    from workers.logs import configure_logs

    given = {"host": host, "port": port, "data_dir": data_dir}
    settings = ServiceSettings.model_validate({name: value for name, value in given.items() if value is not None})
    configure_logs(settings, process="api")
    _end_with_parent()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,  # our own logs are configured above
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


def _end_with_parent() -> None:
    """Stop when the supervisor that started this process is gone, however it went."""
    parent = os.environ.get("KEYVID_PARENT_PID", "")
    if not parent.isdecimal():
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


@app.command()
def openapi() -> None:
    """Write the OpenAPI document to standard output."""
    from service.app import create_app

    typer.echo(json.dumps(create_app().openapi(), indent=2))
