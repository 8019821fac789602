"""Which clips a data set's folder holds: AVSync15, Landscapes and The Greatest Hits as their authors publish them.

Only names are read here; `model.datasets.inspection` opens the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from model.datasets.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LayoutName = Literal["classes", "greatest-hits"]
"""`classes`: AVSync15 and Landscapes, a folder for each class; `greatest-hits`: one flat folder."""

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi"})
PARTIAL_SUFFIXES = frozenset({".part", ".crdownload", ".download", ".tmp", ".ytdl", ".aria2"})
_FLAT_FOLDERS = ("vis-data", "vis-data-256", "videos", ".")
# The Greatest Hits: each recording has a denoised and a raw sound track; the other films show masks.
_RECORDINGS = ("_denoised", "", "_mic")


@dataclass(frozen=True, slots=True)
class DataClip:
    """One video of a data set.

    Args:
        name: path below the data set's folder, with forward slashes; what reports call the clip.
        path: the video.
        caption: the prompt that it is trained with: its class in words, or nothing.
        split: `train` or `test`.
        sound: the file of its sound, where that is not the video itself.
    """

    name: str
    path: Path
    caption: str
    split: Split
    sound: Path | None = None

    @property
    def stem(self) -> str:
        """File name up to its first dot, which published curves are called after."""
        return self.path.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class DataFolder:
    """A data set's clips, and what its lists or names promise but the folder does not hold."""

    root: Path
    layout: LayoutName
    clips: tuple[DataClip, ...]
    missing: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    def of_split(self, split: Split) -> tuple[DataClip, ...]:
        """Clips of one split, sorted by name."""
        return tuple(clip for clip in self.clips if clip.split == split)


def read_folder(root: Path, *, layout: LayoutName | None = None) -> DataFolder:
    """Find the clips of a data set.

    AVSync15 and Landscapes: `train/<class>/*.mp4` and `test/<class>/*.mp4`, or lists `train.txt` and `test.txt` of
    `<class>/<file>.mp4` below `videos/`, `videos/<split>/` or `<split>/`. The Greatest Hits: lists of recordings, and
    one flat folder (`vis-data`, or the root) of `<recording>_denoised.mp4`, with the sound in it or in a WAV beside it.

    Args: layout: None guesses from the folder.
    Raises: DataError when there is no folder, or no video in it.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    found = layout or _guess(root)
    clips, missing = _classes(root) if found == "classes" else _recordings(root)
    if not clips and not missing:
        raise DataError(
            f"{root} holds no videos of a known layout: train/<class>/*.mp4, or lists train.txt and test.txt with "
            "videos/, or The Greatest Hits' vis-data/"
        )
    files = sorted(path for path in root.rglob("*") if path.is_file())
    partial = tuple(path.relative_to(root).as_posix() for path in files if path.suffix in PARTIAL_SUFFIXES)
    ordered = tuple(sorted(clips, key=lambda clip: clip.name))
    return DataFolder(root, found, ordered, tuple(missing), partial, tuple(_empty_folders(root)))


def _guess(root: Path) -> LayoutName:
    """Videos in folders of their own class, or all in one folder."""
    if any((root / name).is_dir() for name in ("vis-data", "vis-data-256")):
        return "greatest-hits"
    has_split_folders = any((root / split).is_dir() or (root / "videos" / split).is_dir() for split in SPLITS)
    listed = [line for split in SPLITS for line in _lines(root, split)]
    is_flat = bool(listed) and not any("/" in line for line in listed)
    return "greatest-hits" if is_flat and not has_split_folders else "classes"


def _classes(root: Path) -> tuple[list[DataClip], list[str]]:
    clips: list[DataClip] = []
    missing: list[str] = []
    for split in SPLITS:
        lines = _lines(root, split)
        bases = [root / "videos" / split, root / "videos", root / split, root]
        if not lines:
            base = next((base for base in (root / split, root / "videos" / split) if base.is_dir()), None)
            lines = [] if base is None else [path.relative_to(base).as_posix() for path in _videos(base)]
        for line in lines:
            path = next((base / line for base in bases if (base / line).is_file()), None)
            if path is None:
                missing.append(f"{line} ({split}.txt)")
                continue
            clips.append(DataClip(path.relative_to(root).as_posix(), path, _class_of(line), split))
    return clips, missing


def _class_of(line: str) -> str:
    """The first folder of a listed path, in words."""
    folder, slash, _ = line.partition("/")
    return folder.replace("_", " ") if slash else ""


def _recordings(root: Path) -> tuple[list[DataClip], list[str]]:
    folders = [root / name for name in _FLAT_FOLDERS if (root / name).is_dir()]
    clips: list[DataClip] = []
    missing: list[str] = []
    lists: dict[Split, list[str]] = {split: _lines(root, split) for split in SPLITS}
    if not any(lists.values()):
        stems = {path.stem.removesuffix("_denoised") for folder in folders for path in folder.glob("*_denoised.mp4")}
        lists = {"train": sorted(stems), "test": []}
    for split, lines in lists.items():
        for line in lines:
            clip = _recording(root, folders, line, split)
            if clip is None:
                missing.append(f"{line} ({split}.txt)")
            else:
                clips.append(clip)
    return clips, missing


def _recording(root: Path, folders: list[Path], line: str, split: Split) -> DataClip | None:
    stem = line.removesuffix(".mp4")
    for folder in folders:
        for variant in _RECORDINGS:
            path = folder / f"{stem}{variant}.mp4"
            if path.is_file():
                sound = path.with_suffix(".wav")
                name = path.relative_to(root).as_posix()
                return DataClip(name, path, "", split, sound if sound.is_file() else None)
    return None


def _lines(root: Path, split: Split) -> list[str]:
    """Entries of the split's list; none without a list."""
    file = root / f"{split}.txt"
    if not file.is_file():
        return []
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file.name} is not a list of names") from error
    lines = [line.strip() for line in text.splitlines()]
    escaping = next((line for line in lines if line.startswith("/") or ".." in line.split("/")), None)
    if escaping is not None:
        raise DataError(f"{file.name} lists {escaping}, which lies outside of the folder")
    return [line for line in lines if line]


def _videos(base: Path) -> Iterator[Path]:
    return (path for path in sorted(base.rglob("*")) if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())


def _empty_folders(root: Path) -> Iterator[str]:
    """Folders without a single file below them."""
    for folder in sorted(path for path in root.rglob("*") if path.is_dir()):
        if not any(path.is_file() for path in folder.rglob("*")):
            yield folder.relative_to(root).as_posix()
