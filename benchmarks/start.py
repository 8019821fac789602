"""What starting takes: imports of the API, the engine up to ready, and the packages that each container installs."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Mapping

_API = "import service.app"
_WORKER = "import workers.supervisor"
_ENGINE = (
    "import sys, time; began = time.monotonic();"
    "from workers.settings import Settings; from workers.runner import load_model;"
    "engine = load_model(Settings(model=sys.argv[1])); loaded = time.monotonic();"
    "engine.warm_up(); print(loaded - began, time.monotonic() - loaded)"
)
_CONTAINERS = {"API": frozenset({"service", "postgres"}), "worker": frozenset({"worker", "postgres"})}


def measure_start(model: str, *, rounds: int) -> Mapping[str, float]:
    """Medians of fresh processes; what the packages of each container weigh here, in MB, without Python itself."""
    empty = _process_s("pass", rounds=rounds)
    figures = {
        "import of the API, s": _process_s(_API, rounds=rounds) - empty,
        "import of the worker without its runner, s": _process_s(_WORKER, rounds=rounds) - empty,
    }
    said = [_run(_ENGINE, model).split()[-2:] for _ in range(rounds)]
    figures["runner: imports and weights, s"] = median(float(loaded) for loaded, _ in said)
    figures["runner: warm-up, s"] = median(float(warm) for _, warm in said)
    for container, extras in _CONTAINERS.items():
        figures[f"packages of the {container} container, MB"] = installed_bytes(extras) / 1e6
    return figures


def _process_s(code: str, *, rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        began = time.monotonic()
        _run(code)
        seconds.append(time.monotonic() - began)
    return median(seconds)


def _run(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def installed_bytes(extras: frozenset[str]) -> int:
    """Size of keyvid's own requirements under these extras and of all that they require, as installed here."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [("keyvid", extras)]
    names: set[str] = set()
    while waiting:
        name, own_extras = waiting.pop()
        try:
            found = distribution(name)
        except PackageNotFoundError:  # for another platform
            continue
        if (name, own_extras) in seen:
            continue
        seen.add((name, own_extras))
        names.add(canonicalize_name(name))
        for line in found.requires or ():
            needed = Requirement(line)
            if any(needed.marker is None or needed.marker.evaluate({"extra": extra}) for extra in own_extras or {""}):
                waiting.append((needed.name, frozenset(needed.extras)))
    return sum(_bytes_of(name) for name in names - {"keyvid"})


def _bytes_of(name: str) -> int:
    """Bytes of a distribution's files, without what was compiled since."""
    paths = (Path(str(file.locate())) for file in distribution(name).files or ())
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")
