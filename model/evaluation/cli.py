"""`keyvid evaluate`: the numbers of the model card, for any weights folder with a motion draft."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the hints)
from typing import Annotated

import typer

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="Packaged model or weights folder.")] = "keyvid-mini",
    clips: Annotated[int, typer.Option(min=1, help="Held-out procedural clips.")] = 100,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all numbers to this file.")] = None,
) -> None:
    """Score sync on the demo set, and motion and localization on held-out procedural clips."""
    import json

    from rich.console import Console
    from rich.progress import track

    from model.errors import CheckpointError
    from model.evaluation.motion import held_out_scores
    from model.evaluation.report import sync_report, timed_demo_set
    from model.evaluation.tables import as_json, motion_table, sync_table
    from model.pipeline import KeyVIDPipeline
    from model.training.recipes import HELD_OUT_SEED

    console, progress = Console(), Console(stderr=True)
    try:
        pipeline = KeyVIDPipeline.from_pretrained(model)
    except CheckpointError as error:
        typer.echo(f"{model}: {error}", err=True)
        raise typer.Exit(2) from error
    with progress.status("demo set"):
        rows = sync_report(pipeline, timed_demo_set())
    console.print(sync_table(rows))
    seeds = track(range(HELD_OUT_SEED, HELD_OUT_SEED + clips), "held-out clips", console=progress, transient=True)
    scores = held_out_scores(pipeline, seeds)
    console.print(motion_table(scores))
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(rows, scores), indent=2) + "\n", encoding="utf-8")
