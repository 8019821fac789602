"""Our own judge of sync: a small AVSync classifier that says whether a sound belongs to a video."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from model.errors import CheckpointMismatch, CheckpointMissing
from model.evaluation.metrics.image_preprocess import for_clip
from model.evaluation.metrics.sync_metrics import alignment_probability, relative_sync
from model.evaluation.networks.sync_classifier import SyncClassifier, SyncClassifierConfig
from model.media.mel import log_mel
from model.serialization import from_json

if TYPE_CHECKING:
    from pathlib import Path

    from model.clips import AudioClip

    Frames = npt.NDArray[np.uint8]

NUM_JUDGED_FRAMES = 12  # of a clip, at equal distances: 6 a second, as the published judge sees them


@dataclass(frozen=True, slots=True)
class JudgeReading:
    """What the judge makes of one video with its sound.

    Args:
        score: logit that they belong together.
        alignment: how much better single frames after the first fit the sound than the first one, about 0.5.
        features: the video's embedding, float32 `[D]`.
    """

    score: float
    alignment: float
    features: npt.NDArray[np.float32]


class SyncJudge:
    """Reads videos with their sound."""

    def __init__(self, network: SyncClassifier) -> None:
        self._network = network.eval()

    @classmethod
    def from_pretrained(cls, folder: Path) -> SyncJudge:
        """Load `config.json` and `model.safetensors`. Raises: CheckpointMissing, CheckpointMismatch."""
        try:
            config = from_json(SyncClassifierConfig, json.loads((folder / "config.json").read_text(encoding="utf-8")))
            network = SyncClassifier(config)
            network.load_state_dict(load_file(folder / "model.safetensors"))
        except FileNotFoundError as error:
            raise CheckpointMissing from error
        except (RuntimeError, SafetensorError, ValueError) as error:
            raise CheckpointMismatch from error
        return cls(network)

    @torch.inference_mode()
    def read(self, frames: Frames, audio: AudioClip) -> JudgeReading:
        """Judge decoded frames uint8 `[T, H, W, 3]` and the sound from the first one on.

        The judge has no embeddings of single pictures; a frame's fit is its score as a video of one frame.
        """
        picked = np.linspace(0, len(frames), NUM_JUDGED_FRAMES, endpoint=False).astype(int)
        pictures = for_clip(torch.from_numpy(frames[picked]).permute(0, 3, 1, 2).float() / 255)
        heard = self._network.audio(log_mel(audio))
        seen = self._network.video(pictures.transpose(0, 1)[None])
        each = self._network.video(pictures[:, :, None])
        fits = self._network.compare(heard.expand(len(each), -1), each)[None]
        return JudgeReading(
            score=float(self._network.compare(heard, seen)),
            alignment=float(alignment_probability(fits[:, 1:], fits[:, :1])),
            features=seen[0].float().numpy(),
        )


def relsync(generated: JudgeReading, truth: JudgeReading) -> float:
    """RelSync of one video against the true one, 0 to 1; 0.5 where the judge finds them alike."""
    return float(relative_sync(torch.tensor([generated.score]), torch.tensor([truth.score])))


def alignsync(generated: JudgeReading, truth: JudgeReading) -> float:
    """AlignSync of one video: RelSync weighed with how its single frames fit the sound, about half of it."""
    return generated.alignment * relsync(generated, truth)
