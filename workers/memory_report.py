"""`keyvid doctor --model`: the memory that a model needs, as its own package plans it in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from workers.settings import Settings

PLAN_S = 300
PLAN_PROBE = """
import sys
from model.errors import KeyVIDError
from model.memory_plan import describe
try:
    sys.stdout.write(describe(sys.argv[1], sys.argv[2]))
except KeyVIDError as error:
    sys.exit(str(error))
"""
GB = 1e9
GIB = 2**30


class NoPlan(Exception):
    """The memory cannot be planned; the message says why."""


def report_memory(model: str, settings: Settings, *, as_json: bool) -> None:
    """Print what a model needs by component and phase, and which cards it fits.

    Args:
        model: name of a packaged or published model, or a folder of weights; nothing but its configuration is read.
        settings: say the type of the UNets.
        as_json: whether to print JSON instead of tables.
    Raises: NoPlan.
    """
    plan = _plan(model, dtype=settings.dtype)
    if as_json:
        sys.stdout.write(json.dumps(plan, indent=2) + "\n")
    else:
        _print(plan)


def _plan(model: str, *, dtype: str) -> dict[str, Any]:
    """Ask the model's package in another process: it takes torch, and hundreds of megabytes, to tell."""
    if any(find_spec(package) is None for package in ("model", "torch")):
        raise NoPlan("the model's package is not installed on this machine")
    command = [sys.executable, "-c", PLAN_PROBE, model, dtype]
    reply = subprocess.run(command, capture_output=True, text=True, timeout=PLAN_S, check=False)
    if reply.returncode != 0:
        reason = reply.stderr.strip().rpartition("\n")[2]
        raise NoPlan(reason)
    plan: dict[str, Any] = json.loads(reply.stdout)
    return plan


def _print(plan: dict[str, Any]) -> None:
    console = Console(soft_wrap=True)
    console.print(f"Memory of {plan['model']} on a GPU, planned: {plan['unet_dtype']} UNets, the rest in float32\n")
    right = {"justify": "right"}
    weights = Table("component", Column("values", **right), "type", Column("GB", **right), box=None)  # type: ignore[arg-type]
    for name, part in plan["weights"].items():
        weights.add_row(name, f"{part['parameters'] / 1e6:,.1f} M", part["dtype"], f"{part['bytes'] / GB:.2f}")
    console.print(weights)
    console.print()
    columns = (Column(title, **right) for title in ("at work, GB", "needed, GB", "with offload, GB"))  # type: ignore[arg-type]
    phases = Table("phase", *columns, box=None)
    for name, phase in plan["phases"].items():
        figures = (phase[key] for key in ("working_bytes", "peak_bytes", "peak_bytes_offload"))
        phases.add_row(name, *(f"{figure / GB:.2f}" for figure in figures))
    console.print(phases)
    console.print()
    needs = f"{plan['needed_bytes'] / GB:.1f} GB, {plan['needed_bytes_offload'] / GB:.1f} GB with offload"
    for card, verdict in plan["cards"].items():
        console.print(f"{card} card: {verdict} (needs {needs})")
    machine = plan["machine"]
    device = "no GPU; its CPU, in float32" if machine["device"] == "cpu" else machine["device"]
    needed, there = machine["needed_bytes"] / GB, machine["memory_bytes"] / GB
    console.print(f"this machine ({device}): {machine['verdict']} (needs {needed:.1f} GB of {there:.1f} GB)")
