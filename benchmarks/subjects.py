"""What is measured: a model by name or folder, or one of random weights, with a picture and a sound for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from model.config import ModelConfig, keyvid_512, tiny
from model.evaluation.scenes import SceneKey
from model.generation import GenerationParams
from model.networks.unet import UNet, UNetConfig
from model.pipeline import KeyVIDPipeline
from model.pretrained import build_components

if TYPE_CHECKING:
    from torch import nn

    from model.clips import AudioClip, ImageFrame


def narrow() -> ModelConfig:
    """The published networks' layers at a tenth of their width, on the tiny model's pictures."""
    unet = UNetConfig(
        model_channels=32, head_width=16, init_attention_heads=2, num_groups=8, context_dim=32, audio_dim=32
    )
    return replace(tiny(), name="narrow", keyframes_unet=unet, interpolation_unet=replace(unet, has_frame_index=False))


UNTRAINED = {"keyvid-512": keyvid_512, "narrow": narrow, "tiny": tiny}
"""Models that are measured with random weights: how fast they are does not depend on them."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A loaded model and a request for it: the first held-out scene."""

    pipeline: KeyVIDPipeline
    image: ImageFrame
    audio: AudioClip
    prompt: str
    params: GenerationParams

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.pipeline.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of its UNets."""
        return next(self.pipeline.components.keyframes_unet.parameters()).dtype


def load_subject(model: str, *, device: torch.device, dtype: torch.dtype) -> Subject:
    """Load a packaged model or a folder, or make one of `UNTRAINED`.

    Raises: CheckpointMissing, CheckpointMismatch.
    """
    if model in UNTRAINED and not Path(model).is_dir():
        pipeline = _untrained(UNTRAINED[model](), device=device, dtype=dtype)
    else:
        pipeline = KeyVIDPipeline.from_pretrained(model, device=device, dtype=dtype)
    video = pipeline.config.video
    scene = SceneKey("held-out", 0).make(height=video.height, width=video.width)
    return Subject(pipeline, scene.image, scene.audio, scene.prompt, GenerationParams(seed=0))


def _untrained(config: ModelConfig, *, device: torch.device, dtype: torch.dtype) -> KeyVIDPipeline:
    if config.name == "keyvid-512":
        config = replace(config, localizer=tiny().localizer)  # none is published
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        components = build_components(config)
        for module in components.modules().values():
            _fill(module)
            module.to(device=device, dtype=dtype if isinstance(module, UNet) else torch.float32)
    return KeyVIDPipeline(config, components, device=device)


@torch.no_grad()
def _fill(module: nn.Module) -> None:
    """Give layers that training starts at zero something to compute with."""
    for parameter in module.parameters():
        if parameter.ndim > 1 and not parameter.any():
            parameter.normal_(std=parameter[0].numel() ** -0.5)
