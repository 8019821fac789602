"""What this machine can run: the checks behind `keyvid doctor`."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Column, Table

from workers.broker import open_broker
from workers.deployment import KEY_VARIABLE
from workers.errors import WorkerError
from workers.job_store import open_job_store
from workers.parent import PARENT_VARIABLE
from workers.settings import describe_settings
from workers.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.settings import SettingRow, Settings

PROBE_S = 120
MIN_FREE_GB = 2.0
TORCH_PROBE = """
import json, torch
devices = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
print(json.dumps({"version": torch.__version__, "devices": devices}))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    name: str
    is_good: bool
    detail: str


def diagnose(settings: Settings) -> list[Finding]:
    """Check everything that a worker and an API need; nothing raises."""
    checks: tuple[tuple[str, Callable[[Settings], str]], ...] = (
        ("python", _python),
        ("machine", _machine),
        ("disk", _disk),
        ("torch", _torch),
        ("model", _model),
        ("ffmpeg", _ffmpeg),
        ("database", _database),
        ("storage", _storage),
        ("broker", _broker),
    )
    return [_find(name, check, settings) for name, check in checks]


class Unfit(Exception):
    """A check failed; the message says why."""


def report(settings: Settings, *, as_json: bool) -> bool:
    """Print the findings and every setting to standard output; returns whether all is good."""
    findings = diagnose(settings)
    rows = describe_settings(settings)
    unknown = unknown_variables(settings)
    if as_json:
        document = {
            "findings": [asdict(finding) for finding in findings],
            "settings": [asdict(row) for row in rows],
            "unknown_variables": unknown,
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _print_tables(findings, rows, unknown)
    return all(finding.is_good for finding in findings)


def _print_tables(findings: list[Finding], rows: list[SettingRow], unknown: list[str]) -> None:
    console = Console()
    checks = Table("", "check", "finding", box=None, header_style="bold")
    for finding in findings:
        checks.add_row("[green]ok[/]" if finding.is_good else "[red]no[/]", finding.name, finding.detail)
    table = Table(Column("variable", no_wrap=True), "value", "default", "meaning", box=None, header_style="bold")
    for row in rows:
        table.add_row(row.variable, row.value, row.default, row.description)
    console.print(checks)
    console.print()
    console.print(table)
    if unknown:
        console.print(f"\nnot a setting: {', '.join(unknown)}")


def unknown_variables(settings: Settings) -> list[str]:
    """`KEYVID_*` variables of the environment that no setting reads: perhaps a typing error."""
    known = {KEY_VARIABLE, PARENT_VARIABLE, *(f"KEYVID_{name.upper()}" for name in type(settings).model_fields)}
    return sorted(name for name in os.environ if name.startswith("KEYVID_") and name not in known)


def _find(name: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(name, is_good=True, detail=check(settings))
    except (Unfit, WorkerError, OSError, subprocess.SubprocessError, ValueError) as error:
        return Finding(name, is_good=False, detail=str(error) or type(error).__name__)


def _python(_: Settings) -> str:
    return platform.python_version()


def _machine(_: Settings) -> str:
    cores = len(os.sched_getaffinity(0))
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{platform.machine()}, {cores} cores, {memory_gb:.0f} GB of memory"


def _disk(settings: Settings) -> str:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(settings.data_dir).free / 1e9
    if free_gb < MIN_FREE_GB:
        raise Unfit(f"{free_gb:.1f} GB free in the data folder: at least {MIN_FREE_GB:g} GB are needed")
    return f"{free_gb:.0f} GB free in the data folder"


def _torch(_: Settings) -> str:
    """Ask torch in a process of its own: it takes seconds and hundreds of megabytes to load."""
    if find_spec("torch") is None:
        raise Unfit("not installed: this machine can run the API and the reconciler, but no worker")
    reply = subprocess.run(
        [sys.executable, "-c", TORCH_PROBE], capture_output=True, text=True, timeout=PROBE_S, check=False
    )
    if reply.returncode != 0:
        raise Unfit("installed, but it cannot be loaded")
    found = json.loads(reply.stdout)
    return f"{found['version']}, " + (", ".join(found["devices"]) or "no GPU: the CPU is used")


def _model(settings: Settings) -> str:
    package = find_spec("model")
    places = [Path(settings.model)]
    if package is not None and package.submodule_search_locations:
        places += [Path(place, "weights", settings.model) for place in package.submodule_search_locations]
    if not any((place / "model_index.json").is_file() for place in places):
        raise Unfit(f"{settings.model}: no weights found")
    return f"{settings.model}: weights found"


def _ffmpeg(settings: Settings) -> str:
    program = str(settings.ffmpeg) if settings.ffmpeg else _packaged_ffmpeg()
    reply = subprocess.run(
        [program, "-hide_banner", "-version"], capture_output=True, text=True, timeout=PROBE_S, check=True
    )
    return reply.stdout.partition("\n")[0]


def _packaged_ffmpeg() -> str:
    if find_spec("imageio_ffmpeg") is None:
        raise Unfit("not installed: a worker needs imageio-ffmpeg, or KEYVID_FFMPEG")
    from imageio_ffmpeg import get_ffmpeg_exe  # noqa: PLC0415 - only worker machines have it

    return str(get_ffmpeg_exe())


def _database(settings: Settings) -> str:
    store = open_job_store(settings)
    store.ping()
    store.close()
    return "can be written"


def _storage(settings: Settings) -> str:
    open_storage(settings).ping()
    return f"{settings.storage}: can be written"


def _broker(settings: Settings) -> str:
    broker = open_broker(settings)
    try:
        if not broker.is_up():
            raise Unfit("does not answer; jobs are accepted and found all the same, a little later")
    finally:
        broker.close()
    return "answers"
