"""`keyvid weights`: list, pull, convert and verify the files of keyvid-512."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from model.errors import CheckpointError, CheckpointMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
weights = typer.Typer(no_args_is_help=True, help="List, pull, convert and verify the files of keyvid-512.")
app.add_typer(weights, name="weights")

_FAILED = 1
_SUFFIXES = frozenset({".ckpt", ".pth", ".pt", ".bin", ".safetensors"})

# What `keyvid weights pull keyvid-512` means: everything that it cannot be made without.
_MODEL = "keyvid-512"


@app.callback()
def main() -> None:
    """Published weights."""


@weights.command("list")
def list_artifacts(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False
) -> None:
    """Show the published files that keyvid-512 can be made from."""
    import dataclasses
    import json

    from rich.console import Console
    from rich.table import Column, Table

    from model.checkpoints.manifest import ARTIFACTS

    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(artifact) for artifact in ARTIFACTS], indent=2))
        return
    table = Table(Column("name", no_wrap=True), "needed", "GB", "holds", "from", "licence")
    for artifact in ARTIFACTS:
        origin = artifact.repo or artifact.source
        needed = "yes" if artifact.is_needed else ""
        table.add_row(artifact.name, needed, f"{artifact.about_gb:g}", artifact.holds, origin, artifact.licence)
    Console().print(table)


@weights.command()
def pull(
    names: Annotated[list[str], typer.Argument(help=f"Names that `list` shows, or {_MODEL} for all that it needs.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to download to.")] = Path("published"),
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit instead of the manifest's.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(envvar="HF_ENDPOINT", help="Address of another hub, such as a mirror.")
    ] = None,
) -> None:
    """Download published files, going on where an earlier download was cut, and check their hashes."""
    with _command():
        from model.checkpoints.hub import Hub
        from model.checkpoints.hub import pull as pull_artifact
        from model.checkpoints.manifest import ARTIFACTS, artifact

        needed = [found.name for found in ARTIFACTS if found.is_needed]
        wanted = [part for name in names for part in (needed if name == _MODEL else [name])]
        for name in wanted:
            if artifact(name) is None:
                known = ", ".join([_MODEL, *(found.name for found in ARTIFACTS)])
                raise CheckpointMissing(f"nothing is called {name}; there are {known}")
        for found in ARTIFACTS:
            if found.name in wanted:
                typer.echo(f"pull {found.name}", err=True)
                for file in pull_artifact(found, out / found.name, hub=Hub(endpoint=endpoint), revision=revision):
                    typer.echo(file)


@weights.command()
def convert(
    sources: Annotated[list[Path], typer.Argument(help="Published files, or folders of them.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The weights folder to write.")],
    dtype: Annotated[
        Literal["fp32", "fp16", "bf16"], typer.Option(help="What the two UNets are stored as; the rest is float32.")
    ] = "fp32",
    tokenizer: Annotated[Path | None, typer.Option(help="Folder with CLIP's vocabulary, if it is not beside.")] = None,
    take: Annotated[
        list[str] | None, typer.Option(help="COMPONENT=FILE: where from, when files disagree about a component.")
    ] = None,
) -> None:
    """Write a weights folder from published files; `--model FOLDER` uses it."""
    with _command():
        import torch

        from model.checkpoints.assembly import ConversionRequest, convert_checkpoints

        dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        files, vocabularies = _files_of(sources)
        request = ConversionRequest(
            tuple(files),
            unet_dtype=dtypes[dtype],
            tokenizer=tokenizer or next(iter(vocabularies), None),
            chosen=_chosen(take or [], files),
        )
        result = convert_checkpoints(
            request, out, on_component=lambda step, name: typer.echo(f"{step} {name}", err=True)
        )
    for name, label in result.origins.items():
        typer.echo(f"{name:<24} {label}")
    for reason, count in result.left_out.items():
        typer.echo(f"{'left out':<24} {count} tensors: {reason}")
    if result.config.interpolation_resampler is None:
        typer.echo(f"{'resampler':<24} shared by both stages")
    if result.config.localizer is None:
        typer.echo(f"{'localizer':<24} none: keyvid-mini's is borrowed, or keyframes are given")
    typer.echo(f"keyvid generate IMAGE AUDIO --model {out}")


@weights.command()
def start(
    sources: Annotated[list[Path], typer.Argument(help="DynamiCrafter's and ImageBind's files, or folders of them.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The weights folder to write.")],
    tokenizer: Annotated[Path | None, typer.Option(help="Folder with CLIP's vocabulary, if it is not beside.")] = None,
) -> None:
    """Write the weights folder that `keyvid train --start` takes, from what KeyVID was trained from."""
    with _command():
        from model.checkpoints.assembly import ConversionRequest
        from model.checkpoints.start import write_start

        files, vocabularies = _files_of(sources)
        request = ConversionRequest(tuple(files), tokenizer=tokenizer or next(iter(vocabularies), None))
        result = write_start(request, out, on_component=lambda step, name: typer.echo(f"{step} {name}", err=True))
    for name, label in result.origins.items():
        typer.echo(f"{name:<24} {label}")
    typer.echo(f"keyvid train keyframes --data FOLDER --start {out}")


@weights.command()
def verify(
    folders: Annotated[list[Path], typer.Argument(help="Pulled files, or converted weights.")],
) -> None:
    """Check that files are whole and that a weights folder is complete."""
    with _command():
        from model.checkpoints.verification import verify as verify_folder

        for folder in folders:
            found = verify_folder(folder, on_file=lambda name: typer.echo(f"read {name}", err=True))
            typer.echo(f"{folder}: {len(found)} files are whole")


def _files_of(sources: list[Path]) -> tuple[list[Path], list[Path]]:
    """Files of weights in files and folders, and folders with a vocabulary."""
    files: list[Path] = []
    vocabularies: list[Path] = []
    for source in sources:
        if not source.is_dir():
            files.append(source)
            continue
        inside = [path for path in sorted(source.rglob("*")) if ".cache" not in path.parts]
        files += [path for path in inside if path.suffix in _SUFFIXES]
        vocabularies += [path.parent for path in inside if path.name in {"merges.txt", "tokenizer.json"}]
    if not files:
        raise CheckpointMissing(f"{sources[0]} has no file of weights")
    return files, vocabularies


def _chosen(take: list[str], files: list[Path]) -> dict[str, Path]:
    chosen: dict[str, Path] = {}
    for choice in take:
        component, equals, name = choice.partition("=")
        file = next((file for file in files if Path(name) == file or name == file.name), None)
        if not equals or file is None:
            raise CheckpointMissing(f"--take {choice} does not name one of the given files as COMPONENT=FILE")
        chosen[component] = file
    return chosen


@contextmanager
def _command() -> Iterator[None]:
    """Say errors in one line, and below it every tensor that does not fit."""
    # Read once, when torch is loaded: idle threads that spin make a busy machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        yield
    except CheckpointError as error:
        typer.echo(f"keyvid: {error}", err=True)
        for problem in getattr(error, "problems", ()):
            typer.echo(f"  {problem}", err=True)
        raise typer.Exit(_FAILED) from error
