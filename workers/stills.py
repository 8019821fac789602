"""Still pictures of a finished video, taken while it is checked: its first frame, and its keyframes on one sheet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from av.video.frame import VideoFrame

SHEET_COLUMNS = 4
SHEET_SCALE = 2  # a tile has half the video's width and height
THUMBNAIL_QUALITY = 88
SHEET_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Stills:
    """Collects the pictures of some frames, in their order."""

    keyframes: Sequence[int]
    first: list[Image.Image] = field(default_factory=list)
    tiles: list[Image.Image] = field(default_factory=list)

    def look(self, index: int, frame: VideoFrame) -> None:
        """Take what is needed of a decoded frame."""
        if index != 0 and index not in self.keyframes:
            return
        picture: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]  # PyAV
        if index == 0:
            self.first.append(picture)
        if index in self.keyframes:
            size = (picture.width // SHEET_SCALE, picture.height // SHEET_SCALE)
            self.tiles.append(picture.resize(size, Image.Resampling.BOX))

    def save_thumbnail(self, path: Path) -> None:
        """Write the first frame as JPEG."""
        self.first[0].save(path, quality=THUMBNAIL_QUALITY)

    def save_spritesheet(self, path: Path) -> None:
        """Write the keyframes as one JPEG, in rows of four."""
        width, height = self.tiles[0].size
        rows = -(-len(self.tiles) // SHEET_COLUMNS)
        sheet = Image.new("RGB", (SHEET_COLUMNS * width, rows * height))
        for number, tile in enumerate(self.tiles):
            row, column = divmod(number, SHEET_COLUMNS)
            sheet.paste(tile, (column * width, row * height))
        sheet.save(path, quality=SHEET_QUALITY)
