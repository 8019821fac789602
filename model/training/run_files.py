"""Where a training run keeps its checkpoints, its log and its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (a field of a dataclass)

WEIGHTS_NAME = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run, below its folder."""

    folder: Path

    @property
    def weights(self) -> Path:
        """The averaged weights of the newest checkpoint, usable at any time."""
        return self.folder / WEIGHTS_NAME

    @property
    def best_weights(self) -> Path:
        """The averaged weights that did best on held-out clips; there are none without validation."""
        return self.folder / "best.safetensors"

    @property
    def best(self) -> Path:
        """Step and loss of the best weights, as JSON."""
        return self.folder / "best.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per logged step."""
        return self.folder / "metrics.jsonl"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint after `step` steps."""
        return self.folder / f"step-{step:07d}"

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(path.parent for path in self.folder.glob("step-*/progress.json"))
