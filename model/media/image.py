"""Pictures from files: JPEG, PNG or WebP to a frame of the model's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image, ImageOps

from model.clips import ImageFrame
from model.errors import ImageDecodeFailed, InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

ImageFit = Literal["cover", "contain", "stretch"]


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a picture: its edges in parts of the picture's width and height, 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def of_pixels(cls, rectangle: tuple[int, int, int, int], width: int, height: int) -> Crop:
        """Left, top, width and height in pixels of a picture of that size. Raises: InvalidInput when it reaches out."""
        left, top, wide, high = rectangle
        if min(left, top) < 0 or min(wide, high) < 1 or left + wide > width or top + high > height:
            raise InvalidInput(f"The picture is {width}x{height} px: the crop reaches out of it.")
        return cls(left / width, top / height, (left + wide) / width, (top + high) / height)

    def cut(self, picture: Image.Image) -> Image.Image:
        """Cut the part out of a picture; at least one pixel remains."""
        left, top = int(self.left * picture.width + 0.5), int(self.top * picture.height + 0.5)
        left, top = min(left, picture.width - 1), min(top, picture.height - 1)
        right = max(left + 1, int(self.right * picture.width + 0.5))
        bottom = max(top + 1, int(self.bottom * picture.height + 0.5))
        return picture.crop((left, top, right, bottom))


MAX_PIXELS = 25_000_000
_FORMATS = ("JPEG", "PNG", "WEBP")
_ORIENTATION_TAG = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
_WHITE = (255, 255, 255)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, turned as its EXIF says. Raises: ImageDecodeFailed."""
    try:
        with Image.open(path, formats=_FORMATS) as file:
            is_sideways = file.getexif().get(_ORIENTATION_TAG, 1) in _SIDEWAYS
            return (file.height, file.width) if is_sideways else (file.width, file.height)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageDecodeFailed from error


def read_image(path: Path, *, height: int, width: int, fit: ImageFit = "cover", crop: Crop | None = None) -> ImageFrame:
    """Decode a picture, turn it as its EXIF says, cut out `crop` and fit it to `height` x `width`; see `fit_image`.

    Of an animated file the first frame counts; transparent parts become white.
    Raises: ImageDecodeFailed, also for more than 25 million pixels.
    """
    try:
        with Image.open(path, formats=_FORMATS) as file:
            if file.width * file.height > MAX_PIXELS:
                raise ImageDecodeFailed(f"The picture has more than {MAX_PIXELS // 1_000_000} million pixels.")
            file.load()
            picture = _opaque(ImageOps.exif_transpose(file))
    # Damaged files raise SyntaxError and ValueError too; the bomb warning is an error where warnings are.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageDecodeFailed from error
    if crop is not None:
        picture = crop.cut(picture)
    return to_frame(fit_image(picture, height=height, width=width, fit=fit))


def fit_image(picture: Image.Image, *, height: int, width: int, fit: ImageFit) -> Image.Image:
    """Resize: `cover` crops what overhangs, `contain` adds black bars, `stretch` changes the proportions."""
    size = (width, height)
    match fit:
        case "cover":
            return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
        case "contain":
            return ImageOps.pad(picture, size, Image.Resampling.LANCZOS)
        case "stretch":
            return picture.resize(size, Image.Resampling.LANCZOS)


def to_frame(picture: Image.Image) -> ImageFrame:
    """Turn an RGB picture into a frame in [-1, 1]."""
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()
    return ImageFrame(values / 127.5 - 1.0)


def _opaque(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion to 8 bits clips instead of scaling.
        grey = (np.asarray(picture, dtype=np.float32) / 257).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layered = picture.convert("RGBA")
    backdrop = Image.new("RGBA", layered.size, (*_WHITE, 255))
    return Image.alpha_composite(backdrop, layered).convert("RGB")
