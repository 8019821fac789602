"""The `keyvid` command: one table of commands, each living in the package it belongs to.

A package's `cli.py` is imported only when one of its commands runs, so that `keyvid api` never loads torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

if TYPE_CHECKING:
    from collections.abc import Mapping

# Which modules define a command; the first whose package is installed does it. A container holds only its own
# packages: on a worker `doctor` knows nothing of the API's settings.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "serve": ("service.cli",),
    "generate": ("model.cli",),
    "localize": ("model.cli",),
    "doctor": ("service.cli", "workers.cli"),
    "api": ("service.cli",),
    "worker": ("workers.cli",),
    "listener": ("workers.cli",),
    "reconciler": ("workers.cli",),
    "keys": ("service.access.cli",),
    "dispatcher": ("workers.cli",),
    "openapi": ("service.cli",),
    "train": ("model.training.cli",),
    "data": ("model.datasets.cli",),
    "evaluate": ("model.evaluation.cli",),
    "bench": ("benchmarks.cli",),
    "weights": ("model.checkpoints.cli",),
    "parity": ("model.evaluation.parity.cli",),
}


def installed_module(command: str) -> str | None:
    """The module that defines the command here, or None."""
    candidates = COMMANDS.get(command, ())
    return next((module for module in candidates if find_spec(module.partition(".")[0])), None)


class CommandTable(TyperGroup):
    """Finds each command in the package that owns it, importing that package only then."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002  (typer's own type is private)
        """The commands that can run here, the most asked for first."""
        return [name for name in COMMANDS if installed_module(name)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """The command of that name, or None."""
        module = installed_module(cmd_name)
        return get_group(import_module(module).app).get_command(ctx, cmd_name) if module else None


app = typer.Typer(cls=CommandTable, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main_callback() -> None:
    """Animate a picture to a sound: KeyVID as a service and on the command line."""


def main() -> None:
    """Run the command line."""
    app(prog_name="keyvid")


if __name__ == "__main__":
    main()
