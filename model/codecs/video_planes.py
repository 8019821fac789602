"""A moving picture drawn as a video file stores it: YUV 4:2:0 of BT.709 in video range.

Half as many values as RGB are drawn, and FFmpeg has nothing left to convert.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.codecs.moving_picture import MovingPicture
from model.errors import EncodeFailed

# ITU-R BT.709-6, items 3.2 to 3.4: luma of R, G, B; 8-bit levels of black, white, no colour, full colour.
_LUMA = (0.2126, 0.7152, 0.0722)
_BLACK, _WHITE = 16, 235
_GREY, _COLOUR_LEVELS = 128, 224
_ROUNDED = 0.5  # becoming bytes, values are cut off
_OVEREXPOSED = 1 + 2 / 255  # nobody sees that brightness is up to two levels above what is left of a colour


class VideoPlanes:
    """Draws a picture `[1, 3, H, W]` in [0, 1], of even size, as planes; `reach` is as in `MovingPicture`.

    Brightness is drawn at full size, colour in RGB at half of it. Light beyond white is cut off in RGB, as screens do,
    and brightness takes part in that.
    Raises: EncodeFailed for pictures of odd size.
    """

    def __init__(self, picture: Tensor, *, reach: float) -> None:
        if picture.shape[-2] % 2 or picture.shape[-1] % 2:
            raise EncodeFailed("Frames of odd size cannot be encoded.")
        self._luma_weights, self._colour_weights = (weights.to(picture.device) for weights in _weights())
        half_size = functional.interpolate(picture, scale_factor=0.5, mode="bicubic", antialias=True).clamp_(0, 1)
        self._half_size = MovingPicture(half_size, reach=reach / 2)
        self._brightness = MovingPicture(self._luma(picture[0])[None], reach=reach)

    def draw(self, *, shift: Tensor, log_gain: Tensor, light: Tensor, out: Tensor) -> None:
        """Draw a frame into `out`, uint8 `[H * 3 / 2, W]`; the fields are those of `MovingPicture.draw` for RGB."""
        height = self._brightness.height
        colour = self._half_size.draw(shift=shift / 2, log_gain=log_gain, light=light)
        luma_light = self._luma(light) + (_BLACK + _ROUNDED)
        brightness = self._brightness.draw(shift=shift, log_gain=log_gain, light=luma_light)
        if colour.max() > _OVEREXPOSED:
            self._cut_off(brightness, colour)
        out[:height] = brightness[0].clamp_(_BLACK + _ROUNDED, _WHITE + _ROUNDED)
        chroma = self._colour_weights @ colour.clamp_(0, 1).flatten(1)
        out[height:] = chroma.add_(_GREY + _ROUNDED).view(height // 2, -1)

    def _cut_off(self, brightness: Tensor, colour: Tensor) -> None:
        """Take from brightness `[1, H, W]` what RGB at half size `[3, H / 2, W / 2]` loses beyond white.

        A channel that is full loses its light beyond white, which both sizes know alike, and its share of the detail
        that only the full size has.
        """
        rows_in_pairs = brightness.view(colour.shape[1], 2, -1)
        lost_detail = rows_in_pairs - _twice_as_wide(self._luma(colour) + (_BLACK + _ROUNDED))
        lost_detail *= _twice_as_wide(self._luma((colour > 1).float()) / (_WHITE - _BLACK))
        rows_in_pairs -= lost_detail
        rows_in_pairs -= _twice_as_wide(self._luma(colour.clamp_min(1) - 1))

    def _luma(self, colour: Tensor) -> Tensor:
        """Levels above black `[1, H, W]` of RGB `[3, H, W]`."""
        return (self._luma_weights @ colour.flatten(1)).view(1, *colour.shape[1:])


def _twice_as_wide(plane: Tensor) -> Tensor:
    """A plane of half size `[1, h, w]` for each pair of rows and pixels of full size, `[h, 1, 2 * w]`."""
    return plane[0].repeat_interleave(2, dim=1)[:, None]


def _weights() -> tuple[Tensor, Tensor]:
    """Levels that R, G and B in [0, 1] give to luma, `[1, 3]`, and to both chroma planes, `[2, 3]`."""
    luma = torch.tensor(_LUMA)
    blue, red = ((torch.eye(3)[channel] - luma) / (2 * (1 - luma[channel])) for channel in (2, 0))
    return luma[None] * (_WHITE - _BLACK), torch.stack((blue, red)) * _COLOUR_LEVELS
