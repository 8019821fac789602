"""Pictures into their canonical form: an upright sRGB PNG without metadata. Runs only inside the sandbox."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import isal_zlib

# The sandbox cannot load a module later, so what Pillow would import on demand is imported here.
from PIL import Image, ImageCms, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

from service.media.limits import ProbeLimits
from service.media.refusal import Refused

if TYPE_CHECKING:
    from typing import BinaryIO

Image.preinit()
Image.MAX_IMAGE_PIXELS = None  # our own limit is read from the header too, and says what is allowed

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
_SRGB = ImageCms.createProfile("sRGB")
_MAX_PROFILE_BYTES = 4 << 20
_STRIP_BYTES = 1 << 16


def canonicalize_image(source: BinaryIO, target: BinaryIO, decoder: str, limits: ProbeLimits) -> dict[str, Any]:
    """Decode `source` by Pillow's `decoder` alone and write an upright RGB PNG, at most 2048 px long, to `target`.

    Transparent parts become white; a colour profile is applied, since the PNG carries none.

    Returns: width and height in pixels, of the caller's picture after turning.
    Raises: Refused.
    """
    try:
        with Image.open(source, formats=[decoder]) as image:
            _check_size(image.size, limits)
            if decoder != "JPEG" and getattr(image, "n_frames", 1) > 1:
                raise Refused("image_decode_failed", "The picture is animated: send a still one.")
            orientation = _orientation(image)
            width, height = image.size[::-1] if orientation in _SIDEWAYS else image.size
            upright = _upright_rgb(image, orientation, _canonical_size(image.size, limits))
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, EOFError) as error:
        raise Refused("image_decode_failed", "The picture is damaged or incomplete.") from error
    _write_png(upright, target)
    return {"width": width, "height": height}


def _write_png(image: Image.Image, target: BinaryIO) -> None:
    """Write RGB pixels as a PNG in which every row is told by its difference to the row above it (W3C PNG, filter 2).

    Pillow's encoder tries all five filters on every row, which takes nine times as long for files as large as these.
    Strips stay below the size from which memory comes from the kernel anew each time, and costs more than the work.
    """
    width, height = image.size
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, not interlaced
    deflate = isal_zlib.compressobj(1)
    target.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(target, b"IHDR", header)
    rows_per_strip = max(1, _STRIP_BYTES // (3 * width))
    above = np.zeros((1, 3 * width), np.uint8)
    for top in range(0, height, rows_per_strip):
        strip = image.crop((0, top, width, min(height, top + rows_per_strip)))
        pixels = np.frombuffer(strip.tobytes(), np.uint8).reshape(strip.height, 3 * width)
        rows = np.empty((strip.height, 1 + 3 * width), np.uint8)
        rows[:, 0] = 2  # the filter's number
        np.subtract(pixels, np.concatenate((above, pixels[:-1])), out=rows[:, 1:])
        above = pixels[-1:]
        _write_chunk(target, b"IDAT", deflate.compress(rows.data))
    _write_chunk(target, b"IDAT", deflate.flush())
    _write_chunk(target, b"IEND", b"")


def _write_chunk(target: BinaryIO, name: bytes, body: bytes) -> None:
    target.write(struct.pack(">I", len(body)) + name)
    target.write(body)
    target.write(struct.pack(">I", isal_zlib.crc32(body, isal_zlib.crc32(name))))


def rehearse() -> None:
    """Decode a picture of our own in every format, so that everything which loads on first use is there."""
    profile = ImageCms.ImageCmsProfile(_SRGB).tobytes()
    for decoder in ("PNG", "JPEG", "WEBP"):
        picture = io.BytesIO()
        Image.new("RGB", (32, 32)).save(picture, decoder, icc_profile=profile, exif=Image.Exif())
        picture.seek(0)
        canonicalize_image(picture, io.BytesIO(), decoder, ProbeLimits())


def _check_size(size: tuple[int, int], limits: ProbeLimits) -> None:
    """Refuse by the header's size, before any pixel is decoded."""
    width, height = size
    if width * height > limits.max_image_pixels:
        allowed = limits.max_image_pixels / 1e6
        raise Refused(
            "image_too_large", f"The picture is {width}x{height} px: at most {allowed:g} megapixels are allowed."
        )
    if min(_canonical_size(size, limits)) < limits.min_image_side:
        least = limits.min_image_side
        if min(size) < least:
            raise Refused(
                "image_too_small", f"The picture is {width}x{height} px: each side needs at least {least} px."
            )
        raise Refused("image_too_small", f"The picture is {width}x{height} px: that is too narrow to animate.")


def _canonical_size(size: tuple[int, int], limits: ProbeLimits) -> tuple[int, int]:
    """The size after shrinking the longer side to its limit."""
    scale = min(1.0, limits.max_canonical_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; broken EXIF counts as upright."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError):
        return 1
    return value if value in _TURNS else 1


def _upright_rgb(image: Image.Image, orientation: int, size: tuple[int, int]) -> Image.Image:
    """Decode, shrink to `size` (before turning), apply the colour profile, put on white, turn."""
    profile = image.info.get("icc_profile")
    image.draft(None, size)  # a JPEG decodes straight to a half, a quarter or an eighth where that is enough
    image.load()
    pixels = _with_plain_mode(image)
    if pixels.size != size:
        pixels = pixels.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    pixels = _on_white(_in_srgb(pixels, profile))
    return pixels.transpose(_TURNS[orientation]) if orientation in _TURNS else pixels


def _with_plain_mode(image: Image.Image) -> Image.Image:
    """Bring palettes, bitmaps and 16-bit greys to a mode that can be resampled, keeping transparency."""
    if image.mode.startswith("I;16"):
        high_byte = slice(0, None, 2) if image.mode == "I;16B" else slice(1, None, 2)
        return Image.frombytes("L", image.size, image.tobytes()[high_byte])  # convert("L") would clip, not scale
    if image.mode in ("I", "F"):
        return image.point(lambda value: value * (1 / 256)).convert("L")
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        return image.convert("RGBA")
    if image.mode in ("1", "P"):
        return image.convert("RGB")
    return image


def _in_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Apply the picture's own colour profile; one that is broken or does not fit is passed over."""
    if not isinstance(profile, bytes) or not 0 < len(profile) <= _MAX_PROFILE_BYTES:
        return image
    output_mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        converted = ImageCms.profileToProfile(image, io.BytesIO(profile), _SRGB, outputMode=output_mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return converted or image


def _on_white(image: Image.Image) -> Image.Image:
    """RGB pixels, with white behind whatever is transparent."""
    if image.mode in ("RGBA", "LA"):
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")
