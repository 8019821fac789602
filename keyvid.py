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

COMMANDS: Mapping[str, str] = {
    "serve": "service.cli",
    "api": "service.cli",
    "worker": "workers.cli",
    "reconciler": "workers.cli",
    "generate": "model.cli",
    "localize": "model.cli",
    "train": "model.training.cli",
    "evaluate": "model.evaluation.cli",
    "openapi": "service.cli",
    "doctor": "workers.cli",
}


class CommandTable(TyperGroup):
    """Finds each command in the package that owns it, importing that package only then."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002  (typer's own type is private)
        """The commands whose package is installed here (a container holds only its own), the most asked for first."""
        return [name for name, module in COMMANDS.items() if find_spec(module.partition(".")[0])]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """The command of that name, or None."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return get_group(import_module(COMMANDS[cmd_name]).app).get_command(ctx, cmd_name)


app = typer.Typer(cls=CommandTable, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main_callback() -> None:
    """Animate a picture to a sound: KeyVID as a service and on the command line."""


def main() -> None:
    """Run the command line."""
    app(prog_name="keyvid")


if __name__ == "__main__":
    main()
