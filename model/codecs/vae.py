"""The published codec: Stable Diffusion's image autoencoder, one frame at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from model.diffusion.noise import Noise

_WIDTHS = (1, 2, 4, 4)


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """Size of a `VaeCodec`; the defaults are the published ones.

    Args:
        channels: width at full resolution.
        num_groups: of its group norms.
        latent_channels: channels of a latent frame.
        scale: what latents are multiplied with, so that their spread is about 1.
    """

    channels: int = 128
    num_groups: int = 32
    latent_channels: int = 4
    scale: float = 0.18215


class VaeCodec(nn.Module):
    """Latents are scaled posterior samples, 8 pixels per cell. Source: KeyVID sec. 3.1; released behaviour."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        # Importing diffusers takes a second that keyvid-mini need not spend.
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: PLC0415

        self.config = config
        levels = len(_WIDTHS)
        self.autoencoder = AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * levels,
            up_block_types=["UpDecoderBlock2D"] * levels,
            block_out_channels=[config.channels * width for width in _WIDTHS],
            layers_per_block=2,
            latent_channels=config.latent_channels,
            norm_num_groups=config.num_groups,
        )

    @property
    def latent_channels(self) -> int:
        """Channels of a latent frame."""
        return self.config.latent_channels

    @property
    def cell_px(self) -> int:
        """Pixels per latent cell."""
        return int(2 ** (len(_WIDTHS) - 1))

    def encode(self, image: Tensor, *, noise: Noise) -> Tensor:
        """Encode pictures [B, 3, H, W] in [-1, 1] as [B, C, H/8, W/8], one picture and one draw at a time."""
        return torch.cat([self._encode_one(picture, noise) for picture in torch.split(image, 1)])

    def hand_over(
        self,
        latents: Tensor,
        first_frame: Tensor,  # noqa: ARG002  (the flow codec needs it)
        *,
        noise: Noise,
        through: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Encode the decoded keyframes anew: [1, C, K, h, w] to the same shape.

        The release passes keyframes on as 8-bit pictures (in a video file), and trained its interpolation on such.
        """
        pictures = torch.cat(list(self._pictures(latents)))
        if through is not None:
            pictures = through(pictures)
        encoded = [self._encode_one(picture / 255 * 2 - 1, noise) for picture in torch.split(pictures.float(), 1)]
        return torch.stack(encoded, dim=2)

    def decode(self, latents: Tensor, first_frame: Tensor) -> Iterator[Tensor]:  # noqa: ARG002  (as above)
        """Draw latents [1, C, T, h, w]: T times uint8 [1, 8h, 8w, 3], values truncated as the release does."""
        for frame in self._pictures(latents):
            yield frame.permute(0, 2, 3, 1)

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latents of pictures [B, 3, H, W], before scaling: [B, C, h, w] each."""
        moments: Tensor = self.autoencoder.quant_conv(self.autoencoder.encoder(image))
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, log_variance.clamp(-30, 20)

    def draw(self, latents: Tensor) -> Tensor:
        """Decode latent frames [B, C, h, w] as [B, 3, 8h, 8w], nominally in [-1, 1]; not clamped."""
        picture: Tensor = self.autoencoder.decoder(self.autoencoder.post_quant_conv(latents / self.config.scale))
        return picture

    def _encode_one(self, picture: Tensor, noise: Noise) -> Tensor:
        mean, log_variance = self.posterior(picture)
        draw = noise.normal(mean.shape).to(mean)
        return (mean + (log_variance / 2).exp() * draw) * self.config.scale

    def _pictures(self, latents: Tensor) -> Iterator[Tensor]:
        """Frames of latents [1, C, T, h, w], each uint8 [1, 3, H, W]."""
        for frame in latents.unbind(dim=2):
            picture = (self.draw(frame).clamp(-1, 1) + 1) / 2
            yield (picture * 255).to(torch.uint8)
