"""keyvid-mini's codec: a frame is the caller's own picture, warped and relit by a coarse motion field.

Latents are `[B, 4, T, h, w]`, one cell per 32 px of a 320x512 picture: displacement right and down, log brightness
gain, warm glow, all relative to the first frame, whose latents are zero. There are no weights to load.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

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
        picture = (first_frame.float() + 1) / 2
        frames = latents[0].transpose(0, 1).float()
        frames = torch.cat((torch.zeros_like(frames[:1]), frames[1:]))
        for chunk in torch.split(frames, frames_per_chunk):
            yield self._draw(chunk, picture)

    def sketcher(self, first_frame: Tensor, latents: Tensor) -> Sketch:  # noqa: ARG002  (the VAE compares both)
        """Sketches are frames as they will be, of the picture at half its size."""
        small = functional.avg_pool2d((first_frame.float() + 1) / 2, SKETCH_SCALE)
        return lambda frame: self._draw(frame.float(), small)[0]

    def displacement(self, latents: Tensor, *, height: int, width: int) -> Tensor:
        """Displacement that latents `[n, 4, h, w]` draw at `height` x `width`: `[n, 2, H, W]` pixels, (right, down)."""
        config = self.config
        scale = torch.tensor(config.scale[:2], device=latents.device).view(1, 2, 1, 1)
        pixels = latents[:, :2].float() / scale * config.unit_px
        length = pixels.norm(dim=1, keepdim=True).clamp_min(1e-6)
        knee = 0.7 * config.max_displacement_px
        room = config.max_displacement_px - knee
        drawn = torch.where(length > knee, knee + room * torch.tanh((length - knee) / room), length)
        drawn = drawn * length.square() / (length.square() + config.still_px**2)
        picture_scale = width / (latents.shape[-1] * config.cell_px)
        return _enlarge(pixels * (drawn / length) * picture_scale, height=height, width=width)

    def _draw(self, frames: Tensor, picture: Tensor) -> Tensor:
        """Frames `[n, 4, h, w]` on the picture `[1, 3, H, W]` in [0, 1]: uint8 `[n, H, W, 3]`.

        One frame at a time, in place and in one thread: a frame stays in the processor's cache, and the encoder has
        the other cores.
        """
        height, width = picture.shape[-2:]
        limit = self.config.max_log_gain
        gains = (frames[:, 2:3] / self.config.scale[2]).clamp(-limit, limit)
        glows = (frames[:, 3:4] / self.config.scale[3]).clamp_min(0)
        colour = torch.tensor(GLOW_COLOUR, device=frames.device).view(1, 3, 1, 1)
        still = _still_grid(height, width).to(frames.device)
        size = torch.tensor([width, height], device=frames.device).view(2, 1, 1)
        drawn = torch.empty((len(frames), height, width, 3), dtype=torch.uint8, device=frames.device)
        with _one_thread():
            for number in range(len(frames)):
                one = slice(number, number + 1)
                grid = self.displacement(frames[one], height=height, width=width).mul_(2 / size).add_(still)
                lit = functional.grid_sample(
                    picture,
                    grid.permute(0, 2, 3, 1),
                    mode="bilinear",
                    padding_mode="reflection",
                    align_corners=False,
                )
                lit.mul_(_enlarge(gains[one], height=height, width=width).exp_())
                lit.addcmul_(_enlarge(glows[one], height=height, width=width), colour)
                lit.clamp_(0, 1).mul_(255).round_()
                # Three copies take a third of the time of one transposed copy.
                for channel, values in enumerate(lit[0]):
                    drawn[number, ..., channel] = values
        return drawn


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread of the processor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _enlarge(field: Tensor, *, height: int, width: int) -> Tensor:
    """Bicubic enlargement `[n, c, h, w]` to `[n, c, H, W]`, as two products: several times faster than interpolate."""
    rows = _bicubic_matrix(field.shape[-2], height).to(field.device)
    columns = _bicubic_matrix(field.shape[-1], width).to(field.device)
    return (rows @ field) @ columns.T


@lru_cache(maxsize=16)
def _bicubic_matrix(source: int, target: int) -> Tensor:
    """Weights `[target, source]` of one-dimensional bicubic resizing."""
    identity = torch.eye(source).view(1, source, source, 1)
    resized: Tensor = functional.interpolate(identity, size=(target, 1), mode="bicubic", align_corners=False)
    return resized[0, :, :, 0].T.contiguous()


@lru_cache(maxsize=4)
def _still_grid(height: int, width: int) -> Tensor:
    """Where each output pixel reads itself, in grid_sample's [-1, 1] coordinates, (right, down): `[2, H, W]`.

    Backward warp: output(x) = input(x + d).
    """
    y = torch.arange(height).view(1, height, 1).expand(1, height, width)
    x = torch.arange(width).view(1, 1, width).expand(1, height, width)
    return (torch.cat((x, y)) + 0.5) * 2 / torch.tensor([width, height]).view(2, 1, 1) - 1
