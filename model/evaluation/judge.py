"""Our own judge of sync: a small AVSync classifier that says whether a sound belongs to a video."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model.clips import AudioClip
from model.errors import CheckpointMismatch, CheckpointMissing
from model.evaluation.metrics.sync_metrics import alignment_probability, relative_sync
from model.evaluation.networks.sync_classifier import SyncClassifier
from model.evaluation.networks.sync_windows import JudgeConfig, mel_windows, video_windows
from model.media.mel import SAMPLE_RATE_HZ, log_mel_batch, normalize_loudness, resample
from model.pretrained import PACKAGED_WEIGHTS
from model.serialization import from_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Frames = npt.NDArray[np.uint8]

_CLIP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class JudgeReading:
    """What the judge makes of one video with its sound.

    Args:
        score: logit that they belong together, the mean over the clip's windows.
        alignment: how much better it fits the sound than its first frame standing still, 0 to 1; about 0.5.
        features: the video's embedding, float32 `[D]`.
    """

    score: float
    alignment: float
    features: npt.NDArray[np.float32]


class SyncJudge:
    """Reads videos with their sound."""

    def __init__(self, config: JudgeConfig, network: SyncClassifier) -> None:
        self._config = config
        self._network = network.eval()

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path) -> SyncJudge:
        """Load a packaged judge by name, or a folder. Raises: CheckpointMissing, CheckpointMismatch."""
        packaged = PACKAGED_WEIGHTS / name_or_path
        folder = packaged if packaged.is_dir() else Path(name_or_path)
        try:
            config = from_json(JudgeConfig, json.loads((folder / "config.json").read_text(encoding="utf-8")))
            network = SyncClassifier(config.classifier)
            network.load_state_dict(load_file(folder / "model.safetensors"))
        except FileNotFoundError as error:
            raise CheckpointMissing from error
        except (RuntimeError, SafetensorError, ValueError) as error:
            raise CheckpointMismatch from error
        return cls(config, network)

    @torch.inference_mode()
    def read(self, frames: Frames, audio: AudioClip) -> JudgeReading:
        """Judge decoded frames uint8 `[T, H, W, 3]`, T at least 48, and the sound from the first one on.

        The judge has no embeddings of single pictures. Its alignment compares the windows of the video with a video in
        which the first frame stands still.
        """
        config, network = self._config, self._network
        pictures = torch.from_numpy(frames[list(config.seen)])
        seen = network.video(video_windows(config, pictures))
        still = network.video(video_windows(config, pictures[:1].expand_as(pictures)))
        heard = network.audio(mel_windows(config, self._mel(audio)))
        scores, of_still = network.compare(heard, seen), network.compare(heard, still)
        return JudgeReading(
            score=float(scores.mean()),
            alignment=float(alignment_probability(scores[:, None], of_still[:, None]).mean()),
            features=seen.mean(dim=0).float().numpy(),
        )

    def _mel(self, audio: AudioClip) -> Tensor:
        """Log-mel `[1, 128, 204]` of the first two seconds in mono, brought to one loudness as in training."""
        clip = audio.window(0.0, _CLIP_SECONDS)
        mono = resample(AudioClip(clip.samples.mean(dim=0, keepdim=True), clip.sample_rate_hz), SAMPLE_RATE_HZ)
        return log_mel_batch(normalize_loudness(mono.samples))[0]


def relsync(generated: JudgeReading, truth: JudgeReading) -> float:
    """RelSync of one video against the true one, 0 to 1; 0.5 where the judge finds them alike."""
    return float(relative_sync(torch.tensor([generated.score]), torch.tensor([truth.score])))


def alignsync(generated: JudgeReading, truth: JudgeReading) -> float:
    """AlignSync of one video: RelSync weighed with how much better it fits the sound than a still, about half of it."""
    return generated.alignment * relsync(generated, truth)
