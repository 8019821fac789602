"""Training of our own judge of sync: which sound window belongs to which video window, among all of a batch.

ASVA starts from towers that were pretrained on a million videos. Ours start from nothing, and would stay at chance for
long; so both embeddings also learn to tell the motion curve of their window, by heads that are not kept.

Source: ASVA's recipe for its AVSync classifier (all pairs of a video's windows, symmetric cross-entropy at a
temperature of 0.1, horizontal flips), on procedural clips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.codecs.latent_flow import LatentFlowCodec
from model.evaluation.networks.sync_classifier import SyncClassifier
from model.evaluation.networks.sync_windows import JudgeConfig, mel_windows, video_windows
from model.training.losses import normalized_curve
from model.training.trainer import TrainingTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model.training.clip_store import ClipBatch

_TEMPERATURE = 0.1
_CURVE_WEIGHT = 10.0
_FLIP_RATE = 0.5
_MAX_GAIN = 0.25  # contrast differs between what is drawn, photographed and encoded; motion is what counts


class JudgeTask(TrainingTask):
    """Tells the sound of each window from those of the other windows, of its own clip and of others.

    ASVA compares windows of one video only, which leaves the scores of different videos on scales of their own; RelSync
    compares just those, so other clips' windows are negatives here too.
    """

    def __init__(self, config: JudgeConfig | None = None) -> None:
        super().__init__()
        self.config = config or JudgeConfig()
        self.classifier = SyncClassifier(self.config.classifier)
        width, count = self.config.classifier.widths[-1], len(self.config.frames_from(0))
        self.seen_curve = nn.Linear(width, count)
        self.heard_curve = nn.Linear(width, count)
        self._codec = LatentFlowCodec()

    def forward(self, batch: ClipBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Symmetric cross-entropy over all pairs of windows, plus the errors of both motion curves.

        Accuracies are among the windows of one clip.
        """
        seen, heard = self.embed(batch)
        scores = self.score_pairs(seen, heard) / _TEMPERATURE
        truth = torch.arange(len(scores), device=scores.device)
        pairs = (functional.cross_entropy(scores, truth) + functional.cross_entropy(scores.T, truth)) / 2
        curves = self._curves(batch)
        curve = functional.mse_loss(self.seen_curve(seen), curves) + functional.mse_loss(
            self.heard_curve(heard), curves
        )
        own = _within_clips(scores.detach(), len(self.config.starts))
        place = torch.arange(own.shape[1], device=scores.device)
        return pairs + _CURVE_WEIGHT * curve, {
            "pairs": pairs.detach(),
            "curve": curve.detach(),
            "heard_for_seen": (own.argmax(dim=2) == place).float().mean(),
            "seen_for_heard": (own.argmax(dim=1) == place).float().mean(),
        }

    def embed(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """Embeddings `[B * W, D]` of all video windows and of all sound windows, clip by clip."""
        seen: Tensor = self.classifier.video(torch.cat([self._watched(batch, index) for index in range(len(batch))]))
        heard: Tensor = self.classifier.audio(torch.cat([mel_windows(self.config, mel) for mel in batch.mel]))
        return seen, heard

    def score_pairs(self, seen: Tensor, heard: Tensor) -> Tensor:
        """Raw scores `[V, A]` of every video window with every sound window; the diagonal belongs together."""
        count = len(seen)
        video = seen[:, None].expand(-1, count, -1).flatten(0, 1)
        audio = heard[None].expand(count, -1, -1).flatten(0, 1)
        scores: Tensor = self.classifier.compare(audio, video).view(count, count)
        return scores

    def components(self) -> Mapping[str, nn.Module]:
        """The judge's network."""
        return {"judge": self.classifier}

    def _curves(self, batch: ClipBatch) -> Tensor:
        """Motion curves `[B * W, F]` of all windows, in [0, 1] over each clip."""
        curves = normalized_curve(batch.motion)
        frames = [list(self.config.frames_from(start)) for start in self.config.starts]
        # A frame shows what has moved since the last one that is seen.
        moved = torch.maximum(curves, functional.pad(curves, (1, 0))[:, :-1])
        return moved[:, frames].flatten(0, 1)

    def _watched(self, batch: ClipBatch, index: int) -> Tensor:
        """Windows of one clip, drawn from its latents; flipped and with another contrast while training."""
        with torch.no_grad():
            latents = batch.latents[index : index + 1, :, list(self.config.seen)]
            drawn = self._codec.decode(latents, batch.image[index : index + 1])
            windows = video_windows(self.config, torch.cat(list(drawn)))
            if not self.training:
                return windows
            if torch.rand(()) < _FLIP_RATE:
                windows = windows.flip(-1)
            return windows * (1 + _MAX_GAIN * (2 * torch.rand(()) - 1))


def _within_clips(scores: Tensor, num_windows: int) -> Tensor:
    """Scores `[V, A]` among the windows of each clip: `[B, W, W]`."""
    clips = len(scores) // num_windows
    blocks = scores.view(clips, num_windows, clips, num_windows)
    own: Tensor = blocks[torch.arange(clips), :, torch.arange(clips)]
    return own
