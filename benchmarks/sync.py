"""Does what is seen happen when it is heard: F1 of motion peaks in the MP4 against known events.

    python -m benchmarks.sync [--json FILE]

The sounds and pictures are the demo set, whose seeds and ranges training never saw; then the same voices at rates that
are spread evenly from one to five events a second.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from model.evaluation.reading import Reader, SceneReading
from model.evaluation.rows import DRAFT, GENERATED, NOISE, OTHER_SOUND, STILL, UNIFORM
from model.evaluation.scenes import demo_scenes
from model.evaluation.tables import f1_estimate, sync_table
from model.pipeline import KeyVIDPipeline
from model.training.procedural.examples import EVEN_RATES_HZ, SLOW_RATES_HZ

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROWS = (GENERATED, OTHER_SOUND, UNIFORM, DRAFT, NOISE, STILL)


def read(rates_hz: Sequence[float]) -> list[SceneReading]:
    """Read the videos of keyvid-mini and its comparisons on the demo set at these rates."""
    scenes = demo_scenes(rates_hz=rates_hz)
    reader = Reader(KeyVIDPipeline.from_pretrained("keyvid-mini"), _ROWS)
    others = [scenes[(index + len(scenes) // 2) % len(scenes)] for index in range(len(scenes))]
    with Console(stderr=True).status(f"generating the videos of {len(scenes)} scenes"):
        return [
            reader.read(scene, other.audio, seed=index)
            for index, (scene, other) in enumerate(zip(scenes, others, strict=True))
        ]


def measure() -> Mapping[str, float]:
    """Figures for the table of all benchmarks."""
    sets = {"": SLOW_RATES_HZ, "even rates: ": EVEN_RATES_HZ}
    figures = {}
    for label, rates in sets.items():
        readings = read(rates)
        for row in _ROWS:
            played = [playback for reading in readings if (playback := reading.videos[row].playback) is not None]
            figures[f"{label}{row}, F1"] = f1_estimate([score.within_two for score in played]).value
    return figures


def main() -> None:
    """Print the rows as a table and, if asked, write them as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    path = arguments.parse_args().json
    table = sync_table(read(SLOW_RATES_HZ), name="sync", title="Sync of decoded MP4s, demo set")
    Console().print(table.to_rich())
    if path is not None:
        path.write_text(json.dumps(table.to_json(), indent=2) + "\n")


if __name__ == "__main__":
    main()
