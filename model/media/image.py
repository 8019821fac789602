"""Pictures from files: JPEG, PNG or WebP to a frame of the model's size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image, ImageOps

from model.clips import ImageFrame
from model.errors import ImageDecodeFailed

if TYPE_CHECKING:
    from pathlib import Path

ImageFit = Literal["cover", "contain", "stretch"]

MAX_PIXELS = 25_000_000
_FORMATS = ("JPEG", "PNG", "WEBP")
_WHITE = (255, 255, 255)


def read_image(path: Path, *, height: int, width: int, fit: ImageFit = "cover") -> ImageFrame:
    """Decode a picture, turn it as its EXIF says and fit it to `height` x `width`; see `fit_image`.

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
