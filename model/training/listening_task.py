"""Training of keyvid-512's localizer: which encoder it starts from, and what it minimises."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.encoders.audio import resize_time_positions
from model.localization.network import Localizer, LocalizerConfig
from model.training.trainer import TrainingTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model.config import ModelConfig
    from model.encoders.audio import AudioTrunk
    from model.training.batches import ListeningBatch
    from model.training.published_recipes import ListeningOptions, ListeningVariant

_POSITIONS = "positions"
_CLASS_TOKEN = "class_token"  # noqa: S105  (the name of a tensor)
_RELEASED_MEL_FRAMES = 198


class ListeningTask(TrainingTask):
    """Motion curve from sound; the targets are in [0, 1].

    Args:
        encoder: whose blocks the trunk starts with; its positions only where both have the same grid.
        start: a localizer to go on from instead.
    Source: KeyVID sec. 3.2 and Appendix A; released behaviour where `options` say so.
    """

    def __init__(
        self,
        config: LocalizerConfig,
        options: ListeningOptions,
        *,
        encoder: AudioTrunk,
        start: Localizer | None = None,
    ) -> None:
        super().__init__()
        self.options = options
        self.localizer = Localizer(config)
        if start is None:
            start_from(self.localizer.trunk, encoder)
        else:
            self.localizer.load_state_dict(start.state_dict())
        if options.variant == "paper":
            self.localizer.trunk.positions.requires_grad_(False)

    def forward(self, batch: ListeningBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The variant's loss; the error to the motion curve is logged in both."""
        scores = self.localizer(batch.mel).float()
        error = functional.mse_loss(scores, batch.curve)
        if self.options.variant == "paper":
            return functional.l1_loss(scores, batch.curve), {"curve": error.detach()}
        loudness = functional.mse_loss(scores, batch.loudness)
        return error + self.options.loudness_weight * loudness, {"curve": error.detach(), "loudness": loudness.detach()}

    def components(self) -> Mapping[str, nn.Module]:
        """The localizer."""
        return {"localizer": self.localizer}


def listening_config(config: ModelConfig, variant: ListeningVariant) -> LocalizerConfig:
    """The localizer's configuration in the model, or else the released one or the paper's of its encoder's width."""
    trunk = config.audio_encoder
    if variant == "released":
        released = replace(trunk, stride=(4, 4), mel_frames=_RELEASED_MEL_FRAMES, has_class_token=False)
        return config.localizer or LocalizerConfig(trunk=released)
    # The paper's 46 columns come from 198 mel frames; the diffusion stages' 204 give one column for each video frame.
    return LocalizerConfig(trunk=trunk, head="per_step")


def start_from(trunk: AudioTrunk, encoder: AudioTrunk) -> None:
    """Give a trunk an encoder's weights: all but class token and positions always, those where the grids allow it."""
    published = dict(encoder.state_dict())
    rows, columns = encoder.config.grid
    fits_rows = trunk.config.has_class_token and encoder.config.has_class_token and trunk.config.grid[0] == rows
    if fits_rows:
        stretched = resize_time_positions(published[_POSITIONS], grid=(rows, columns), num_steps=trunk.config.grid[1])
        published[_POSITIONS] = stretched
    own = trunk.state_dict()
    kept = {name for name in (_POSITIONS, _CLASS_TOKEN) if name in own and not fits_rows}
    with torch.no_grad():
        for name, tensor in own.items():
            if name not in kept:
                tensor.copy_(published[name])
