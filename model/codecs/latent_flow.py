"""keyvid-mini's codec: a frame is the caller's own picture, warped and relit by a coarse motion field.

Latents are `[B, 4, T, h, w]`, one cell per 32 px of a 320x512 picture: displacement right and down, log brightness
gain, warm glow, all relative to the first frame, whose latents are zero. There are no weights to load.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from model.codecs.moving_picture import OVERSHOOT, MovingPicture, enlarge
from model.codecs.video_planes import VideoPlanes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from model.diffusion.noise import Noise
    from model.previews import Sketch

SKETCH_SCALE = 2  # pixels of a frame for each of a sketch
GLOW_COLOUR = (1.0, 0.85, 0.55)  # warm light of a flash or a fire, RGB


@dataclass(frozen=True, slots=True)
class FlowCodecConfig:
    """Units of the latent flow.

    Args:
        unit_px: displacement of one latent unit (before `scale`), in pixels of a 320x512 picture.
        scale: what displacement right, displacement down, log gain and glow are multiplied with to become latents.
        cell_px: pixels that one cell covers in a 320x512 picture.
        max_displacement_px: longest displacement that is drawn; longer ones approach it smoothly.
        still_px: displacements well below this length are drawn as none, so that still parts stay still.
        max_log_gain: largest brightening or darkening.
    """

    unit_px: float = 16.0
    scale: tuple[float, float, float, float] = (2.0, 2.0, 5.0, 4.0)
    cell_px: int = 32
    max_displacement_px: float = 44.0
    still_px: float = 0.3
    max_log_gain: float = 1.5


class LatentFlowCodec:
    """Draws latent flow on the caller's picture; encodes every picture as no motion."""

    def __init__(self, config: FlowCodecConfig | None = None) -> None:
        self.config = config or FlowCodecConfig()

    @property
    def latent_channels(self) -> int:
        """Channels of a latent frame."""
        return len(self.config.scale)

    @property
    def cell_px(self) -> int:
        """Pixels per latent cell."""
        return self.config.cell_px

    def encode(self, image: Tensor, *, noise: Noise) -> Tensor:  # noqa: ARG002  (the VAE samples its posterior)
        """Latents of still pictures: `[B, 3, H, W]` to zeros `[B, 4, H / cell_px, W / cell_px]`."""
        batch, _, height, width = image.shape
        shape = (batch, self.latent_channels, height // self.cell_px, width // self.cell_px)
        return torch.zeros(shape, dtype=image.dtype, device=image.device)

    def hand_over(
        self,
        latents: Tensor,
        first_frame: Tensor,  # noqa: ARG002  (the VAE hands pictures over, and samples)
        *,
        noise: Noise,  # noqa: ARG002
        through: Callable[[Tensor], Tensor] | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Keyframe latents as the interpolation stage takes them: unchanged, nothing is lost between the stages."""
        return latents

    def decode(self, latents: Tensor, first_frame: Tensor, *, frames_per_chunk: int = 2) -> Iterator[Tensor]:
        """Draw latents `[1, 4, T, h, w]` on `first_frame` `[1, 3, H, W]` in [-1, 1].

        Frame 0 is the picture itself. The picture may have any size; displacements scale with it.
        Yields: uint8 `[n, H, W, 3]`, n <= `frames_per_chunk`.
        """
        picture = _in_unit_range(first_frame)
        moving = MovingPicture(picture, reach=self._reach(latents, width=picture.shape[-1]))
        for chunk in torch.split(_from_the_picture(latents), frames_per_chunk):
            yield self._draw(chunk, moving)

    def decode_for_video(self, latents: Tensor, first_frame: Tensor, *, frames_per_chunk: int = 2) -> Iterator[Tensor]:
        """Draw what `decode` draws as planes of YUV 4:2:0.

        Raises: EncodeFailed for pictures of odd size.
        Yields: uint8 `[n, H * 3 / 2, W]`: the rows of luma, then those of both chroma planes, two in one.
        """
        height, width = first_frame.shape[-2:]
        planes = VideoPlanes(_in_unit_range(first_frame), reach=self._reach(latents, width=width))
        for chunk in torch.split(_from_the_picture(latents), frames_per_chunk):
            drawn = torch.empty((len(chunk), height * 3 // 2, width), dtype=torch.uint8, device=chunk.device)
            fields = self._fields(chunk, width=width)
            with _one_thread():
                for frame, shift, log_gain, light in zip(drawn, *fields, strict=True):
                    planes.draw(shift=shift, log_gain=log_gain, light=light, out=frame)
            yield drawn

    def sketcher(self, first_frame: Tensor, latents: Tensor) -> Sketch:
        """Sketches are frames as they will be, of the picture at half its size."""
        small = functional.avg_pool2d(_in_unit_range(first_frame), SKETCH_SCALE)
        moving = MovingPicture(small, reach=self._reach(latents, width=small.shape[-1]))
        return lambda frame: self._draw(frame.float(), moving)[0]

    def displacement(self, latents: Tensor, *, height: int, width: int) -> Tensor:
        """Displacement that latents `[n, 4, h, w]` draw at `height` x `width`: `[n, 2, H, W]` pixels, (right, down)."""
        return enlarge(self._displaced_cells(latents.float(), width=width), height=height, width=width)

    def _displaced_cells(self, latents: Tensor, *, width: int) -> Tensor:
        """Displacement of each cell, `[n, 2, h, w]` in pixels of a picture of this width."""
        config = self.config
        scale = torch.tensor(config.scale[:2], device=latents.device).view(1, 2, 1, 1)
        pixels = latents[:, :2] / scale * config.unit_px
        length = pixels.norm(dim=1, keepdim=True).clamp_min(1e-6)
        knee = 0.7 * config.max_displacement_px
        room = config.max_displacement_px - knee
        drawn = torch.where(length > knee, knee + room * torch.tanh((length - knee) / room), length)
        drawn = drawn * length.square() / (length.square() + config.still_px**2)
        picture_scale = width / (latents.shape[-1] * config.cell_px)
        displaced: Tensor = pixels * (drawn / length) * picture_scale
        return displaced

    def _reach(self, latents: Tensor, *, width: int) -> float:
        """How far from itself a pixel of a picture of this width may read."""
        return self.config.max_displacement_px * OVERSHOOT * width / (latents.shape[-1] * self.config.cell_px)

    def _fields(self, frames: Tensor, *, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """What `MovingPicture.draw` takes, of latents `[n, 4, h, w]`: shifts, log gains, and light in RGB."""
        limit = self.config.max_log_gain
        colour = torch.tensor(GLOW_COLOUR, device=frames.device).view(3, 1, 1)
        shifts = self._displaced_cells(frames, width=width)
        log_gains = (frames[:, 2:3] / self.config.scale[2]).clamp(-limit, limit)
        glows = (frames[:, 3:4] / self.config.scale[3]).clamp_min(0)
        return shifts, log_gains, glows * colour

    def _draw(self, frames: Tensor, picture: MovingPicture) -> Tensor:
        """Frames `[n, 4, h, w]` of a picture in [0, 1]: uint8 `[n, H, W, 3]`.

        One frame at a time, in place and in one thread: a frame stays in the processor's cache, and the encoder has
        the other cores.
        """
        drawn = torch.empty((len(frames), picture.height, picture.width, 3), dtype=torch.uint8, device=frames.device)
        fields = self._fields(frames, width=picture.width)
        with _one_thread():
            for frame, shift, log_gain, light in zip(drawn, *fields, strict=True):
                lit = picture.draw(shift=shift, log_gain=log_gain, light=light).clamp_(0, 1).mul_(255).round_()
                # Three copies take a third of the time of one transposed copy.
                for channel, values in enumerate(lit):
                    frame[..., channel] = values
        return drawn


def _in_unit_range(picture: Tensor) -> Tensor:
    """A picture in [-1, 1] in [0, 1]."""
    return (picture.float() + 1) / 2


def _from_the_picture(latents: Tensor) -> Tensor:
    """Latents `[1, 4, T, h, w]` as frames `[T, 4, h, w]`, of which the first is the picture itself."""
    frames = latents[0].transpose(0, 1).float()
    return torch.cat((torch.zeros_like(frames[:1]), frames[1:]))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread of the processor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
