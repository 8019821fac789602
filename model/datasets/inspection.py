"""What a data set's folder holds, and what of it is broken, by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.datasets.errors import BrokenClip
from model.datasets.footage import Footage, FootageReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model.datasets.layout import DataClip, DataFolder


@dataclass(frozen=True, slots=True)
class CheckedClip:
    """A clip that can be trained on, and how long it is."""

    clip: DataClip
    fps: float
    duration_s: float
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class DataReport:
    """The state of a data set: clips that can be trained on, clips that cannot, and files that are not there."""

    folder: DataFolder
    usable: tuple[CheckedClip, ...]
    broken: tuple[BrokenClip, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that is wrong, one line each, sorted."""
        lines = [str(error) for error in self.broken]
        lines += [f"{name}: listed, but not there" for name in self.folder.missing]
        lines += [f"{name}: an unfinished download" for name in self.folder.partial]
        lines += [f"{name}/: an empty folder" for name in self.folder.empty]
        return tuple(sorted(lines))

    def count_by_class(self) -> dict[str, Counter[str]]:
        """Usable clips of each split in each class, sorted by class."""
        counts: dict[str, Counter[str]] = {}
        for found in sorted(self.usable, key=lambda found: found.clip.caption):
            counts.setdefault(found.clip.caption or "(no class)", Counter())[found.clip.split] += 1
        return counts


def check_folder(folder: DataFolder, clips: Iterable[DataClip] | None = None) -> DataReport:
    """Decode every clip from beginning to end.

    Args: clips: the folder's clips, perhaps wrapped in a progress bar.
    """
    whole: list[CheckedClip] = []
    broken: list[BrokenClip] = []
    for clip in folder.clips if clips is None else clips:
        try:
            footage = inspect_clip(clip)
        except BrokenClip as error:
            broken.append(error)
        else:
            whole.append(CheckedClip(clip, footage.fps, footage.duration_s, footage.size))
    return DataReport(folder, tuple(whole), tuple(broken))


def inspect_clip(clip: DataClip) -> Footage:
    """Decode a clip without keeping its frames. Raises: BrokenClip."""
    reader = FootageReader(clip)
    for _ in reader.frames():
        pass
    return reader.finish()
