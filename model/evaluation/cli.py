"""`keyvid evaluate`: the numbers of the model card, for any weights folder with a motion draft."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the hints)
from typing import Annotated

import typer

app = typer.Typer(pretty_exceptions_enable=False)

_PARTS = (
    "localization",
    "held-out",
    "unheard",
    "settings",
    "presets",
    "photographs",
)  # as in `session.PARTS`, without torch
_QUICK_SHARE = 20  # with --quick, a twentieth of the clips


@app.command()
def evaluate(
    parts: Annotated[
        list[str] | None, typer.Argument(help=f"What to measure, of {', '.join(_PARTS)}; all of it by default.")
    ] = None,
    *,
    model: Annotated[str, typer.Option(help="Packaged model or weights folder.")] = "keyvid-mini",
    clips: Annotated[int, typer.Option(min=1, help="Held-out clips whose videos are made.")] = 240,
    heard_clips: Annotated[int, typer.Option(min=1, help="Held-out clips that the localizer hears.")] = 1000,
    rows: Annotated[
        str | None, typer.Option(help="Videos to compare, by name, separated by semicolons; all by default.")
    ] = None,
    judge: Annotated[
        str, typer.Option(help="Packaged sync judge or its weights folder; `none` leaves out RelSync and the like.")
    ] = "sync-judge",
    quick: Annotated[bool, typer.Option("--quick", help="A twentieth of the clips: does it run, is it sane?")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes, of one thread and about 1 GB each.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file.")] = None,
    images: Annotated[Path | None, typer.Option(help="Draw plots and contact sheets into this folder.")] = None,
) -> None:
    """Score localization, sync, motion, settings and photographs on held-out clips, and print the tables."""
    import json

    from rich.console import Console

    from model.errors import KeyVIDError
    from model.evaluation.report import write_markdown
    from model.evaluation.rows import ROWS
    from model.evaluation.session import Session, measure

    chosen = tuple(parts or _PARTS)
    names = tuple(ROWS) if rows is None else tuple(name.strip() for name in rows.split(";"))
    for kind, given, known in (("part", chosen, _PARTS), ("row", names, tuple(ROWS))):
        unknown = [name for name in given if name not in known]
        if unknown:
            typer.echo(f"No {kind} {unknown[0]!r}; there are: {'; '.join(known)}.", err=True)
            raise typer.Exit(2)
    share = _QUICK_SHARE if quick else 1
    session = Session(
        model=model,
        rows=names,
        judge=None if judge == "none" else judge,
        num_clips=max(2, clips // share),
        num_heard=max(2, heard_clips // share),
        share=share,
        workers=workers,
        images=images,
    )
    console = Console()
    tables = []
    try:
        for table in measure(session, chosen, console=Console(stderr=True)):
            console.print(table.to_rich())
            tables.append(table)
            # After every table, so that a run that is stopped keeps what it has measured.
            if json_file is not None:
                numbers = {"model": model, "tables": {table.name: table.to_json() for table in tables}}
                json_file.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
            if markdown is not None:
                markdown.write_text(write_markdown(tables, f"{model}, evaluated"), encoding="utf-8")
    except KeyVIDError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
