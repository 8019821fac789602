"""`keyvid bench`: what a step, a clip, a start and the service take here, beside what the machine could do."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

app = typer.Typer(pretty_exceptions_enable=False)

RESULTS = Path(__file__).with_name("results.json")
_PARTS = ("steps", "clip", "start", "service", "sync")


@app.command()
def bench(
    parts: Annotated[
        list[str] | None,
        typer.Argument(help=f"What to measure, of {', '.join(_PARTS)}; steps and clip by default."),
    ] = None,
    *,
    model: Annotated[
        str, typer.Option(help="Packaged model, weights folder, or keyvid-512, narrow or tiny with random weights.")
    ] = "keyvid-mini",
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto: bfloat16 on a GPU.")] = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="How often each variant runs, in turn; medians are shown.")] = 5,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file, beside those of other parts there.")
    ] = None,
) -> None:
    """Measure speed, memory and error, and print each part as a table.

    A step and a clip are compared with a plain implementation in the same run, the two in turn, and with the rate of
    matrix products and copies that this machine reaches. `start` measures fresh processes, `service` a whole service
    embedded and on PostgreSQL and Redis, `sync` the videos.
    """
    # Read once, when torch is loaded: idle threads that spin make a busy machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    chosen = tuple(parts or _PARTS[:2])
    unknown = [name for name in chosen if name not in _PARTS]
    if unknown:
        typer.echo(f"No part {unknown[0]!r}; there are: {', '.join(_PARTS)}.", err=True)
        raise typer.Exit(2)
    results = json.loads(json_file.read_text()) if json_file is not None and json_file.exists() else {}
    for name in chosen:
        figures = _measure(name, model=model, device=device, dtype=dtype, rounds=rounds)
        key = f"{name}, {model}" if name in ("steps", "clip", "start") else name
        _print(key, figures)
        results[key] = {"machine": _machine(), "figures": figures}
        if json_file is not None:
            json_file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _measure(part: str, *, model: str, device: str, dtype: str, rounds: int) -> Mapping[str, float]:
    if part in ("steps", "clip"):
        return _measure_model(part, model=model, device=device, dtype=dtype, rounds=rounds)
    if part == "start":
        from benchmarks.start import measure_start

        return measure_start(model, rounds=rounds)
    return _of_the_repository(part)()


def _measure_model(part: str, *, model: str, device: str, dtype: str, rounds: int) -> Mapping[str, float]:
    import torch

    from benchmarks.denoising import measure_clips, measure_steps
    from benchmarks.subjects import load_subject
    from model.errors import KeyVIDError

    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if model == "keyvid-512" and device == "auto" and place.type == "cpu":
        typer.echo("keyvid-512 needs a GPU, and there is none: --device cpu measures it here all the same.", err=True)
        raise typer.Exit(2)
    if dtype == "auto":
        dtype = "bfloat16" if place.type == "cuda" else "float32"
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    try:
        subject = load_subject(model, device=place, dtype=getattr(torch, dtype))
    except KeyVIDError as error:
        typer.echo(f"{model}: {error}", err=True)
        raise typer.Exit(2) from error
    return (measure_steps if part == "steps" else measure_clips)(subject, rounds=rounds)


def _of_the_repository(part: str) -> Callable[[], Mapping[str, float]]:
    """Measurements that need examples and tools of developers, which are not installed everywhere."""
    # An installed command finds packages alone; examples/ and tests/ lie beside them in a clone.
    sys.path.append(str(Path(__file__).parents[1]))
    try:
        if part == "service":
            from benchmarks import service as measurement
        else:
            from benchmarks import sync as measurement  # type: ignore[no-redef]
    except ImportError as error:
        typer.echo(f"{part} is measured in a clone, after make setup: {error}", err=True)
        raise typer.Exit(2) from error
    return measurement.measure


def _print(title: str, figures: Mapping[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "value", title=title)
    for figure, value in figures.items():
        table.add_row(figure, f"{value:.3g}")
    Console().print(table)


def _machine() -> dict[str, str | int | None]:
    """What the figures were read on, and when."""
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    processors = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": processors[0] if processors else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0]),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": version("torch"),
        "keyvid": version("keyvid"),
    }
