"""What turns pictures into latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from model.diffusion.noise import Noise
    from model.previews import Sketch


class Codec(Protocol):
    """Anything that encodes pictures as latents and draws latents as pictures."""

    @property
    def latent_channels(self) -> int:
        """Channels of a latent frame."""
        ...

    @property
    def cell_px(self) -> int:
        """Pixels that one latent cell covers, along height and along width."""
        ...

    def encode(self, image: Tensor, *, noise: Noise) -> Tensor:
        """Encode pictures [B, 3, H, W] in [-1, 1] as [B, C, h, w]."""
        ...

    def hand_over(
        self, latents: Tensor, first_frame: Tensor, *, noise: Noise, through: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Turn generated keyframe latents [1, C, K, h, w] into those that the interpolation stage reads.

        `through` changes the pictures on their way, uint8 [K, 3, H, W], where they are handed over as pictures.
        """
        ...

    def sketcher(self, first_frame: Tensor, latents: Tensor) -> Sketch:
        """How to draw single latent frames for previews: cheaply, and without the codec's own networks.

        `first_frame` is [1, 3, H, W] in [-1, 1], `latents` [1, C, h, w] are its own.
        """
        ...

    def decode(self, latents: Tensor, first_frame: Tensor) -> Iterator[Tensor]:
        """Draw latents [1, C, T, h, w] as uint8 [n, H, W, 3], some frames at a time; `first_frame` is [1, 3, H, W]."""
        ...

    def decode_for_video(self, latents: Tensor, first_frame: Tensor) -> Iterator[Tensor]:
        """Draw the frames of `decode` as `write_video` takes them at the least cost: RGB, or planes of YUV 4:2:0."""
        ...
