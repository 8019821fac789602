"""Who hears the motion: a localizer, and how its sound is prepared. It need not be the model's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.clips import AudioClip
from model.localization.plan import motion_curve
from model.media.mel import SAMPLE_RATE_HZ, log_mel, log_mel_batch, normalize_loudness, resample

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from model.clips import MotionCurve
    from model.config import ModelConfig
    from model.localization.network import Localizer

REQUEST = "request"
"""What stands in place of a listener's name where the caller chose the keyframes."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A localizer that goes by the name of the model it was trained for, with that model's `config`."""

    localizer: Localizer
    config: ModelConfig

    @property
    def name(self) -> str:
        """Public name of the model whose localizer it is."""
        return self.config.name

    def hear(self, audio: AudioClip, *, device: torch.device) -> MotionCurve:
        """Motion curve of the first 2 s (KeyVID sec. 3.2)."""
        mel = spectrogram(audio, self.config, num_frames=self.localizer.config.trunk.mel_frames)
        return motion_curve(self.localizer(mel.to(device))[0].tolist(), rule=self.localizer.config.peak_rule)


def spectrogram(audio: AudioClip, config: ModelConfig, *, num_frames: int) -> Tensor:
    """Spectrogram `[1, 1, 128, num_frames]` of the first 2 s as the networks of `config` were trained with it."""
    clip = audio.window(0.0, config.clip_seconds)
    if not config.normalize_loudness:
        return log_mel(clip, num_frames=num_frames)
    mono = resample(AudioClip(clip.samples.mean(dim=0, keepdim=True), clip.sample_rate_hz), SAMPLE_RATE_HZ)
    return log_mel_batch(normalize_loudness(mono.samples), num_frames=num_frames)
