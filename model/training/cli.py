"""`keyvid train`: train keyvid-mini, a stage of keyvid-512, or the judge of sync."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from model.training.published import PublishedRun
    from model.training.recipes import Recipe

app = typer.Typer(pretty_exceptions_enable=False)

_STOPPED, _WRONG, _INTERRUPTED = 1, 2, 130


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(help="A name that --list shows; `all` is keyvid-mini's, one by one.")
    ] = "all",
    out: Annotated[Path, typer.Option(help="Folder of checkpoints and weights; a stopped run goes on.")] = Path(
        "runs/keyvid-mini"
    ),
    *,
    data: Annotated[
        Path | None, typer.Option(help="Data set of keyvid-512's recipes, with motion scores: see `keyvid data`.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Weights folder that keyvid-512's recipes begin from; see docs/training.md.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps: --set steps=N.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw clips, or threads that decode them.")] = 1,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of decoded clips [OUT/cache], or of the judge's drawn clips [OUT/clips]."),
    ] = None,
    broken: Annotated[
        Literal["stop", "skip"], typer.Option(help="What to do at a clip that cannot be trained on.")
    ] = "stop",
    export: Annotated[
        Path | None, typer.Option(help="Write the finished model to this folder, in the format that `generate` loads.")
    ] = None,
    list_recipes: Annotated[
        bool, typer.Option("--list", help="Show the recipes with their settings, and end.")
    ] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Train keyvid-512's recipes for a few steps at toy size, and end.")
    ] = False,
) -> None:
    """Train a recipe, on one machine or under `accelerate launch`; Ctrl-C saves and stops, the same command goes on."""
    import logging

    from rich.logging import RichHandler

    if list_recipes:
        _list()
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    logging.getLogger("accelerate").setLevel(logging.WARNING)
    changes = [*(settings or []), *([] if steps is None else [f"steps={steps}"])]
    with _command(recipe):
        if smoke:
            _smoke()
            return
        from model.training.judge import JUDGE_RECIPES
        from model.training.published_recipes import PUBLISHED_RECIPES
        from model.training.recipes import RECIPES

        if (data is not None or start is not None) and recipe not in PUBLISHED_RECIPES:
            raise typer.BadParameter(f"--data and --start are for {', '.join(PUBLISHED_RECIPES)}")
        if recipe == "all" or recipe in RECIPES:
            _train_mini(recipe, out, changes, workers=workers, export=export)
        elif recipe in PUBLISHED_RECIPES:
            from model.training.published import PublishedRun

            if data is None or start is None:
                raise typer.BadParameter(f"{recipe} needs --data FOLDER and --start WEIGHTS")
            run = PublishedRun(out, data, start, cache or out / "cache", on_broken=broken, num_workers=workers)
            _train_published(recipe, run, changes, export=export)
        elif recipe in JUDGE_RECIPES:
            _train_judge(out, changes, workers=workers, clips=cache, export=export)
        else:
            raise typer.BadParameter(f"no recipe {recipe!r}; there are {', '.join(_recipes())}, and all")


def _recipes() -> dict[str, Callable[[], Recipe]]:
    """Every recipe by its name."""
    from model.training.judge import JUDGE_RECIPES
    from model.training.published_recipes import PUBLISHED_RECIPES
    from model.training.recipes import RECIPES

    return {**RECIPES, **PUBLISHED_RECIPES, **JUDGE_RECIPES}


def _list() -> None:
    """Each recipe, what it is, and its settings."""
    from model.training.overrides import settings_of

    for name, build in _recipes().items():
        summary = (build.__doc__ or "").strip().partition("\n")[0]
        typer.echo(f"{name}: {summary}")
        for path, (_, value) in settings_of(build()).items():
            typer.echo(f"    {path}={value}")


def _train_mini(recipe: str, out: Path, changes: list[str], *, workers: int, export: Path | None) -> None:
    from model.training import mini
    from model.training.overrides import changed
    from model.training.recipes import RECIPES

    runs = mini.MiniRuns(out)
    chosen = tuple(RECIPES) if recipe == "all" else (recipe,)
    if export is not None:
        untrained = [
            name for name in RECIPES if name not in chosen and not runs.weights(RECIPES[name]().task).is_file()
        ]
        if untrained:
            raise typer.BadParameter(f"--export needs all of keyvid-mini: train {', '.join(untrained)} in {out} too")
    for name in chosen:
        mini.train(changed(RECIPES[name](), changes), runs, num_workers=workers)
    if export is not None:
        mini.export(runs, export)


def _train_published(recipe: str, run: PublishedRun, changes: list[str], *, export: Path | None) -> None:
    from model.training import published
    from model.training.overrides import changed
    from model.training.published_recipes import PUBLISHED_RECIPES

    chosen = changed(PUBLISHED_RECIPES[recipe](), changes)
    published.train(chosen, run)
    if export is not None:
        published.export(chosen, run, export)


def _train_judge(out: Path, changes: list[str], *, workers: int, clips: Path | None, export: Path | None) -> None:
    from model.training import judge
    from model.training.overrides import changed

    chosen = changed(judge.sync_judge(), changes)
    judge.train(chosen, out, clips=clips, num_workers=workers)
    if export is not None:
        judge.export(chosen, out, export)


def _smoke() -> None:
    import tempfile

    from model.training.smoke import run_smoke

    with tempfile.TemporaryDirectory(prefix="keyvid-") as folder:
        for result in run_smoke(Path(folder)):
            typer.echo(f"{result.recipe}: loss of one batch {result.before:.3f} before, {result.after:.3f} after")


@contextmanager
def _command(recipe: str) -> Iterator[None]:
    """Say errors in one line, and end with a code for each kind."""
    from model.datasets.errors import DataError
    from model.errors import CheckpointError
    from model.training.overrides import UnknownSetting
    from model.training.trainer import TrainingDiverged, TrainingOutOfMemory

    try:
        yield
    except FileNotFoundError as error:
        typer.echo(f"{recipe} starts from an earlier recipe's weights: {error}", err=True)
        raise typer.Exit(_WRONG) from error
    except (DataError, CheckpointError, UnknownSetting) as error:
        typer.echo(f"keyvid: {error}", err=True)
        raise typer.Exit(_WRONG) from error
    except (TrainingDiverged, TrainingOutOfMemory) as error:
        typer.echo(f"Training stopped: {error}", err=True)
        raise typer.Exit(_STOPPED) from error
    except KeyboardInterrupt:
        typer.echo("Stopped; the same command goes on from the last checkpoint.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
