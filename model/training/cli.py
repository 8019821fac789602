"""`keyvid train`: train keyvid-mini, or one of its parts, from procedural clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(help="mini-localizer, mini-draft, mini-diffusion, or all of them in this order.")
    ] = "all",
    out: Annotated[Path, typer.Option(help="Folder of clips, checkpoints and weights; a stopped run goes on.")] = Path(
        "runs/keyvid-mini"
    ),
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps, instead of the recipe's.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw clips.")] = 1,
    export: Annotated[
        Path | None, typer.Option(help="Write the finished model to this folder, in the format that `generate` loads.")
    ] = None,
) -> None:
    """Train keyvid-mini on procedural clips, on one machine or under `accelerate launch`; Ctrl-C saves and stops."""
    import logging

    from rich.logging import RichHandler

    from model.training import mini
    from model.training.recipes import RECIPES
    from model.training.trainer import TrainingDiverged

    if recipe != "all" and recipe not in RECIPES:
        typer.echo(f"No recipe {recipe!r}; there are {', '.join(RECIPES)}, and all.", err=True)
        raise typer.Exit(2)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    runs = mini.MiniRuns(out)
    try:
        for name in RECIPES if recipe == "all" else (recipe,):
            chosen = RECIPES[name]()
            mini.train(chosen if steps is None else replace(chosen, steps=steps), runs, num_workers=workers)
        if export is not None:
            mini.export(runs, export)
    except FileNotFoundError as error:
        typer.echo(f"{recipe} starts from an earlier recipe's weights: {error}", err=True)
        raise typer.Exit(2) from error
    except TrainingDiverged as error:
        typer.echo(f"Training stopped: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo("Stopped; the same command goes on from the last checkpoint.", err=True)
        raise typer.Exit(130) from None
