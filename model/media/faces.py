"""Where a face is, so that what speaks moves its mouth: scikit-image's cascade, which ships with its training."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.clips import ImageFrame

_SEARCHED_HEIGHT_PX = 160  # at half its size a picture is searched in 40 ms, and as many faces are found
_SMALLEST_SHARE = 0.12  # of the height; smaller faces have no mouth that a cell of 32 px could move
_SCALE_STEP = 1.2
_MIN_NEIGHBOURS = 4  # detections of one place that make a face

FaceBox = tuple[float, float, float, float]
NO_FACE: FaceBox = (0.0, 0.0, 0.0, 0.0)


class _Cascade(Protocol):
    def detect_multi_scale(self, *, img: object, **options: object) -> list[dict[str, int]]: ...


def find_face(image: ImageFrame) -> FaceBox:
    """Find the largest frontal human face: left, top, right, bottom as shares of width and height, or `NO_FACE`."""
    height, width = image.size
    size = (_SEARCHED_HEIGHT_PX, round(_SEARCHED_HEIGHT_PX * width / height))
    small = functional.interpolate(image.pixels[None], size=size, mode="area")[0]
    pixels = ((small + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    smallest = round(_SMALLEST_SHARE * size[0])
    found = _cascade().detect_multi_scale(
        img=np.ascontiguousarray(pixels),
        scale_factor=_SCALE_STEP,
        step_ratio=1,
        min_size=(smallest, smallest),
        max_size=(size[0], size[0]),
        min_neighbor_number=_MIN_NEIGHBOURS,
    )
    if not found:
        return NO_FACE
    face = max(found, key=lambda box: box["width"] * box["height"])
    left, top = face["c"] / size[1], face["r"] / size[0]
    return left, top, left + face["width"] / size[1], top + face["height"] / size[0]


@cache
def _cascade() -> _Cascade:
    """The detector, loaded once."""
    # Importing scikit-image takes half a second that the published network need not spend.
    from skimage.data import lbp_frontal_face_cascade_filename  # noqa: PLC0415
    from skimage.feature import Cascade  # noqa: PLC0415

    trained = cast("Callable[[], str]", lbp_frontal_face_cascade_filename)()  # published without types
    return cast("_Cascade", Cascade(trained))
