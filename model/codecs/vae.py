"""The published codec: Stable Diffusion's image autoencoder, one frame at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from model.diffusion.noise import Noise
    from model.previews import Sketch

SKETCH_SCALE = 2  # pixels of a frame for each of a sketch
_WIDTHS = (1, 2, 4, 4)
_FIT_RIDGE = 1e-3  # keeps the fit tame where a picture has hardly any colours


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

    def decode_for_video(self, latents: Tensor, first_frame: Tensor) -> Iterator[Tensor]:
        """The frames of `decode`."""
        return self.decode(latents, first_frame)

    def sketcher(self, first_frame: Tensor, latents: Tensor) -> Sketch:
        """Sketches are a linear map of each cell's channels to a colour, fitted to the caller's own picture.

        Latents of this autoencoder are nearly a small picture in colours of their own. The fit is one small system of
        equations; the autoencoder, which would take as long as a step, is not run.
        """
        cells = _with_constant(latents)
        height, width = latents.shape[-2:]
        colours = nn.functional.adaptive_avg_pool2d(first_frame, (height, width))[0].flatten(1).T.double()
        squares = cells.T @ cells + _FIT_RIDGE * len(cells) * torch.eye(cells.shape[1]).to(cells)
        fit = torch.linalg.solve(squares, cells.T @ colours.to(cells))

        def sketch(frame: Tensor) -> Tensor:
            height, width = frame.shape[-2:]
            picture = (_with_constant(frame) @ fit).float().T.reshape(1, 3, height, width)
            size = (height * self.cell_px // SKETCH_SCALE, width * self.cell_px // SKETCH_SCALE)
            enlarged = nn.functional.interpolate(picture, size=size, mode="bilinear", align_corners=False)
            return ((enlarged.clamp(-1, 1) + 1) * 127.5).to(torch.uint8)[0].permute(1, 2, 0)

        return sketch

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


def _with_constant(frame: Tensor) -> Tensor:
    """Cells of a latent frame [1, C, h, w] and a one for each: float64 [h * w, C + 1]."""
    cells = frame[0].flatten(1).T.double()
    return torch.cat((cells, torch.ones_like(cells[:, :1])), dim=1)
