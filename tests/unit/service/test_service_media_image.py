"""Pictures in their canonical form."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageCms

from service.media.image import canonicalize_image
from service.media.limits import ProbeLimits
from service.media.refusal import Refused
from tests import uploads

if TYPE_CHECKING:
    from collections.abc import Callable

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112


def canonical(data: bytes, decoder: str, *, limits: ProbeLimits | None = None) -> tuple[Image.Image, dict[str, int]]:
    """The canonical picture, and what was measured."""
    target = io.BytesIO()
    measured = canonicalize_image(io.BytesIO(data), target, decoder, limits or ProbeLimits())
    target.seek(0)
    image = Image.open(target)
    image.load()
    return image, measured


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Colours near the four corners, clockwise from the upper left, rounded to full or nothing."""
    width, height = image.size
    places = ((4, 4), (width - 5, 4), (width - 5, height - 5), (4, height - 5))
    return [tuple(255 if value > 127 else 0 for value in image.getpixel(place)) for place in places]


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_every_accepted_format_becomes_an_rgb_png(image_format: str) -> None:
    """JPEG, PNG and WebP of one picture give the same picture."""
    image, measured = canonical(uploads.encoded(uploads.picture(), image_format), image_format)

    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 48))
    assert corners(image) == [RED, GREEN, BLUE, WHITE]
    assert measured == {"width": 64, "height": 48}


@pytest.mark.parametrize("size", [(16, 16), (17, 301), (301, 17), (2048, 70), (130, 2048)])
@pytest.mark.parametrize("make", [uploads.picture, uploads.noise], ids=["flat", "noise"])
def test_no_pixel_is_changed(size: tuple[int, int], make: Callable[[int, int], Image.Image]) -> None:
    """Whatever its sides are, a picture that needs no change is the same to the last bit, in one or many strips."""
    sent = make(*size)

    image, _ = canonical(uploads.encoded(sent), "PNG")

    assert np.array_equal(np.asarray(image), np.asarray(sent))


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [BLUE, WHITE, RED, GREEN]),
        (4, [WHITE, BLUE, GREEN, RED]),
        (5, [RED, WHITE, BLUE, GREEN]),
        (6, [WHITE, RED, GREEN, BLUE]),
        (7, [BLUE, GREEN, RED, WHITE]),
        (8, [GREEN, BLUE, WHITE, RED]),
    ],
)
def test_exif_orientation_is_applied(orientation: int, expected: list[tuple[int, ...]]) -> None:
    """A picture stored on its side stands upright, and is measured upright."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation

    image, measured = canonical(uploads.encoded(uploads.picture(), "JPEG", exif=exif, quality=95), "JPEG")

    assert corners(image) == expected
    assert (measured["width"], measured["height"]) == image.size
    assert image.size == ((64, 48) if orientation < 5 else (48, 64))


def test_metadata_is_left_behind() -> None:
    """Camera data, colour profile and comments do not reach the canonical file."""
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    image, _ = canonical(uploads.encoded(uploads.picture(), "PNG", exif=exif, icc_profile=profile, dpi=(99, 99)), "PNG")

    assert image.info == {}
    assert not image.getexif()


def test_large_picture_is_shrunk_to_2048_px() -> None:
    """The longer side is limited; the caller's own size is what is measured."""
    image, measured = canonical(uploads.jpeg(4096, 1024), "JPEG")

    assert image.size == (2048, 512)
    assert measured == {"width": 4096, "height": 1024}


def test_transparent_parts_become_white() -> None:
    """A see-through pixel shows white, a half see-through one a mixture."""
    source = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    source.paste((0, 0, 0, 128), (16, 0, 32, 32))

    image, _ = canonical(uploads.encoded(source), "PNG")

    assert image.getpixel((4, 4)) == WHITE
    assert image.getpixel((28, 4)) == pytest.approx((127, 127, 127), abs=1)


def test_palette_with_a_transparent_colour_becomes_white_there() -> None:
    """Palette pictures keep their colours, and their transparent index shows white."""
    source = uploads.picture().quantize(4)
    transparent = source.getpixel((4, 4))

    image, _ = canonical(uploads.encoded(source, "PNG", transparency=transparent), "PNG")

    assert corners(image) == [WHITE, GREEN, BLUE, WHITE]


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    """Half brightness in 16 bits is half brightness in 8."""
    grey = Image.fromarray(np.full((32, 32), 0x8000, np.uint16))

    image, _ = canonical(uploads.encoded(grey), "PNG")

    assert image.getpixel((5, 5)) == (128, 128, 128)


def test_cmyk_picture_becomes_rgb() -> None:
    """A print-shop JPEG is accepted."""
    image, _ = canonical(uploads.encoded(uploads.picture().convert("CMYK"), "JPEG", quality=95), "JPEG")

    assert image.mode == "RGB"
    assert corners(image)[0] == RED


def test_broken_colour_profile_is_passed_over() -> None:
    """A picture with a damaged profile keeps its numbers."""
    image, _ = canonical(uploads.encoded(uploads.picture(), "PNG", icc_profile=b"no profile"), "PNG")

    assert corners(image) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize(
    ("data", "decoder", "code"),
    [
        (uploads.jpeg()[:-200], "JPEG", "image_decode_failed"),
        (uploads.encoded(uploads.picture())[:-60], "PNG", "image_decode_failed"),
        (uploads.png_bomb(), "PNG", "image_too_large"),
        (uploads.jpeg(1, 1), "JPEG", "image_too_small"),
        (uploads.jpeg(400, 15), "JPEG", "image_too_small"),
        (uploads.jpeg(20_000, 100), "JPEG", "image_too_small"),
        (uploads.animation("WEBP"), "WEBP", "image_decode_failed"),
        (uploads.animation("PNG"), "PNG", "image_decode_failed"),
        (uploads.encoded(uploads.picture(), "GIF"), "PNG", "image_decode_failed"),
    ],
    ids=["cut jpeg", "cut png", "bomb", "one pixel", "flat", "thread", "webp", "apng", "other format"],
)
def test_unusable_picture_is_refused(data: bytes, decoder: str, code: str) -> None:
    """Each kind of bad picture has its code."""
    with pytest.raises(Refused) as refused:
        canonical(data, decoder)

    assert refused.value.code == code


def test_bomb_is_refused_by_its_header() -> None:
    """Too many pixels are refused before any of them is decoded: even without pixel data."""
    with pytest.raises(Refused, match="19000x19000"):
        canonical(uploads.png_bomb(), "PNG")
