"""Where a face is, so that what speaks moves its mouth: scikit-image's cascade, which ships with its training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.clips import ImageFrame

_SEARCHED_HEIGHT_PX = 160  # of 320: at full height it takes four times as long
_SMALLEST_SHARE = 0.12  # of the height; smaller faces have no mouth that a cell of 32 px could move
_SCALE_STEP = 1.2
_COARSE_STEP = 1.5  # between two places, times how large the window is; 1 looks everywhere
_GREY_STEP = 8  # of 256: the detector sees faces in slopes too faint for the eye, and coarse greys have none
_MIN_NEIGHBOURS = 5  # detections of one place that make a face: with 4, four times as many are seen where there is none
_SURROUNDINGS = 0.3  # of a glimpse's width: how far around it is looked closely
_SMALLER = 0.6  # the least part of its width that a face may have

FaceBox = tuple[float, float, float, float]
NO_FACE: FaceBox = (0.0, 0.0, 0.0, 0.0)

_Pixels = npt.NDArray[np.uint8]


class _Cascade(Protocol):
    def detect_multi_scale(self, *, img: object, **options: object) -> list[dict[str, int]]: ...


@dataclass(frozen=True, slots=True)
class _Square:
    """Where something that looks like a face is, in pixels of the searched picture."""

    left: int
    top: int
    side: int


def find_face(image: ImageFrame) -> FaceBox:
    """Find the largest frontal human face: left, top, right, bottom as shares of width and height, or `NO_FACE`.

    A coarse look gives glimpses; only around them it is looked closely, which takes a third of the time of looking
    closely everywhere.
    """
    height, width = image.size
    size = (_SEARCHED_HEIGHT_PX, round(_SEARCHED_HEIGHT_PX * width / height))
    small = functional.interpolate(image.pixels[None], size=size, mode="area")[0]
    pixels = ((small + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy() // _GREY_STEP * _GREY_STEP
    smallest = round(_SMALLEST_SHARE * size[0])
    for glimpse in _detect(pixels, smallest, step=_COARSE_STEP, neighbours=1):
        around = round(_SURROUNDINGS * glimpse.side) + 2
        left, top = max(glimpse.left - around, 0), max(glimpse.top - around, 0)
        part = pixels[top : glimpse.top + glimpse.side + around, left : glimpse.left + glimpse.side + around]
        faces = _detect(part, max(smallest, round(_SMALLER * glimpse.side)), step=1, neighbours=_MIN_NEIGHBOURS)
        if faces:
            face = faces[0]
            left, top = left + face.left, top + face.top
            return left / size[1], top / size[0], (left + face.side) / size[1], (top + face.side) / size[0]
    return NO_FACE


def _detect(pixels: _Pixels, smallest: int, *, step: float, neighbours: int) -> list[_Square]:
    """Squares that look like faces, the largest first, in a picture `[H, W, 3]`."""
    largest = min(pixels.shape[:2])
    found = _cascade().detect_multi_scale(
        img=np.ascontiguousarray(pixels),
        scale_factor=_SCALE_STEP,
        step_ratio=step,
        min_size=(smallest, smallest),
        max_size=(largest, largest),
        min_neighbor_number=neighbours,
    )
    squares = [_Square(box["c"], box["r"], box["width"]) for box in found]
    return sorted(squares, key=lambda square: -square.side)


@cache
def _cascade() -> _Cascade:
    """The detector, loaded once."""
    # Importing scikit-image takes half a second that the published network need not spend.
    from skimage.data import lbp_frontal_face_cascade_filename  # noqa: PLC0415
    from skimage.feature import Cascade  # noqa: PLC0415

    trained = cast("Callable[[], str]", lbp_frontal_face_cascade_filename)()  # published without types
    return cast("_Cascade", Cascade(trained))
