"""`keyvid data`: check a data set's folder, and measure its motion scores."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
data = typer.Typer(no_args_is_help=True, help="Check data sets, and measure how much moves in them.")
app.add_typer(data, name="data")

_FAILED = 1
LayoutOption = Annotated[
    Literal["classes", "greatest-hits"] | None,
    typer.Option(help="AVSync15 and Landscapes are `classes`; guessed from the folder unless it is said."),
]
FolderArgument = Annotated[Path, typer.Argument(help="Folder of AVSync15, Landscapes or The Greatest Hits.")]


@app.callback()
def main() -> None:
    """Data sets."""


@data.command()
def check(folder: FolderArgument, *, layout: LayoutOption = None) -> None:
    """Decode every clip, and say what the folder holds and what of it is broken; exits with 1 if anything is."""
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from model.datasets.inspection import check_folder
    from model.datasets.layout import SPLITS, read_folder

    with _command():
        found = read_folder(folder, layout=layout)
        clips = track(found.clips, "clips", console=Console(stderr=True), transient=True)
        report = check_folder(found, clips)
    table = Table("class", *SPLITS, title=f"{len(report.usable)} usable clips")
    for name, counts in report.count_by_class().items():
        table.add_row(name, *(str(counts[split]) for split in SPLITS))
    Console().print(table)
    seconds = [clip.duration_s for clip in report.usable]
    rates = sorted({round(clip.fps, 2) for clip in report.usable})
    if seconds:
        typer.echo(f"{sum(seconds) / 60:.1f} min, {min(seconds):.1f} to {max(seconds):.1f} s a clip, fps {rates}")
    for problem in report.problems:
        typer.echo(problem, err=True)
    if report.problems:
        typer.echo(f"{len(report.problems)} problems", err=True)
        raise typer.Exit(_FAILED)


@data.command("motion-scores")
def motion_scores(
    folder: FolderArgument,
    *,
    estimator: Annotated[
        Literal["raft", "dis"], typer.Option(help="raft is what the published scores are; dis runs on any CPU.")
    ] = "dis",
    weights: Annotated[Path, typer.Option(help="RAFT's weights, raft-things.pth.")] = Path("raft-things.pth"),
    device: Annotated[str, typer.Option(help="Where RAFT runs.")] = "cpu",
    again: Annotated[bool, typer.Option("--again", help="Measure clips that have scores, too.")] = False,
    layout: LayoutOption = None,
) -> None:
    """Write how much moves in each frame beside each clip; a stopped run goes on where it stopped."""
    import torch
    from rich.console import Console
    from rich.progress import track

    from model.datasets.layout import read_folder
    from model.datasets.motion import dis_flow, raft_flow, score_clips

    with _command():
        found = read_folder(folder, layout=layout)
        measure = dis_flow() if estimator == "dis" else raft_flow(weights, device=torch.device(device))
        clips = track(found.clips, f"{estimator} motion scores", console=Console(stderr=True), transient=True)
        report = score_clips(clips, estimator, measure, again=again)
    typer.echo(f"{report.scored} clips scored, {report.kept} had scores")
    for error in report.broken:
        typer.echo(str(error), err=True)
    if report.broken:
        raise typer.Exit(_FAILED)


@data.command()
def procedural(
    folder: Annotated[Path, typer.Argument(help="Folder to write, laid out as AVSync15 is.")],
    *,
    clips: Annotated[int, typer.Option(min=1, help="How many clips.")] = 100,
    height: Annotated[int, typer.Option(min=64, help="Of the frames, in pixels; even.")] = 320,
    width: Annotated[int, typer.Option(min=64, help="Of the frames, in pixels; even.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Of the first clip.")] = 0,
) -> None:
    """Write films of procedural clips with their exact motion scores: a data set without a download."""
    from rich.console import Console
    from rich.progress import track

    from model.datasets.procedural import write_procedural_clip

    seeds = track(range(seed, seed + clips), "clips", console=Console(stderr=True), transient=True)
    for number in seeds:
        write_procedural_clip(folder, number, height=height, width=width)


@contextmanager
def _command() -> Iterator[None]:
    """Say errors in one line."""
    from model.datasets.errors import DataError
    from model.errors import CheckpointError

    try:
        yield
    except (DataError, CheckpointError) as error:
        typer.echo(f"keyvid: {error}", err=True)
        raise typer.Exit(_FAILED) from error
