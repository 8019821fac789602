"""The two supervised tasks of keyvid-mini: hearing the motion curve, and drafting the motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.encoders.audio import AudioTrunk
from model.encoders.image import ConvImageConfig, ConvImageEncoder
from model.encoders.text import WordTextConfig, WordTextEncoder
from model.localization.network import Localizer
from model.networks.draft import MotionDraft
from model.training.losses import curve_loss, motion_error, relative_error
from model.training.procedural.catalogue import KINDS
from model.training.trainer import TrainingTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model.config import ModelConfig
    from model.localization.network import LocalizerConfig
    from model.training.clip_store import ClipBatch

_KIND_WEIGHT = 0.15
_MASKED_BINS = 16  # SpecAugment's frequency masks, of the 128 mel bins
_MASKS = 2


class LocalizerTask(TrainingTask):
    """Motion curve from sound; telling the kind of sound is an auxiliary task whose head is not kept."""

    def __init__(self, config: LocalizerConfig) -> None:
        super().__init__()
        self.localizer = Localizer(config)
        self.kind = nn.Linear(config.trunk.dim, len(KINDS))

    def forward(self, batch: ClipBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """L1 to the normalised motion curve plus a little cross-entropy."""
        mel = mask_frequencies(batch.mel) if self.training else batch.mel
        tokens = self.localizer.trunk(mel)
        curve = curve_loss(self.localizer.score(tokens), batch.motion)
        logits = self.kind(tokens[:, 0])
        kind = functional.cross_entropy(logits, batch.kind)
        right = (logits.argmax(dim=1) == batch.kind).float().mean()
        return curve + _KIND_WEIGHT * kind, {"curve": curve.detach(), "kind_accuracy": right}

    def components(self) -> Mapping[str, nn.Module]:
        """The localizer with its own trunk."""
        return {"localizer": self.localizer}


class DraftTask(TrainingTask):
    """Motion draft together with the encoders of sound, words and picture that it listens and looks through."""

    def __init__(self, config: ModelConfig, *, text_dropout: float = 0.15) -> None:
        super().__init__()
        text, image = config.text_encoder, config.image_encoder
        if config.draft is None or not isinstance(text, WordTextConfig) or not isinstance(image, ConvImageConfig):
            raise ValueError(f"{config.name} has no motion draft with encoders of its own")
        self.audio_encoder = AudioTrunk(config.audio_encoder)
        self.text_encoder = WordTextEncoder(text)
        self.image_encoder = ConvImageEncoder(image)
        self.draft = MotionDraft(config.draft)
        self.text_dropout = text_dropout

    def forward(self, batch: ClipBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean over the clips of the relative errors of position and velocity."""
        mel = mask_frequencies(batch.mel) if self.training else batch.mel
        prompts = drop_prompts(batch.prompts, self.text_dropout) if self.training else batch.prompts
        latents = self.draft(
            self.audio_encoder(mel),
            self.text_encoder.encode(prompts),
            self.image_encoder.features(batch.image, batch.face),
        )
        loss = motion_error(latents, batch.latents).mean()
        return loss, {"position": relative_error(latents.detach(), batch.latents).mean()}

    def components(self) -> Mapping[str, nn.Module]:
        """Draft and encoders."""
        return {
            "audio_encoder": self.audio_encoder,
            "text_encoder": self.text_encoder,
            "image_encoder": self.image_encoder,
            "draft": self.draft,
        }


def drop_prompts(prompts: tuple[str, ...], rate: float) -> tuple[str, ...]:
    """Replace each prompt by the empty one with probability `rate`."""
    dropped = torch.rand(len(prompts)) < rate
    return tuple("" if drop else prompt for prompt, drop in zip(prompts, dropped.tolist(), strict=True))


def mask_frequencies(mel: Tensor) -> Tensor:
    """Set random bands of mel bins to their clip's mean.

    Takes and returns `[B, 1, bins, frames]`. Source: SpecAugment (Park et al. 2019), frequency masking.
    """
    batch, _, bins, _ = mel.shape
    position = torch.arange(bins, device=mel.device).view(1, bins)
    masked = torch.zeros(batch, bins, dtype=torch.bool, device=mel.device)
    for _ in range(_MASKS):
        width = torch.randint(0, _MASKED_BINS + 1, (batch, 1)).to(mel.device)
        start = torch.randint(0, bins - _MASKED_BINS, (batch, 1)).to(mel.device)
        masked |= (position >= start) & (position < start + width)
    return torch.where(masked[:, None, :, None], mel.mean(dim=(2, 3), keepdim=True), mel)
