"""KeyVID: animate a picture to a sound.

The public surface. Importing this package is free: torch is loaded when one of the names is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.clips import AudioClip, ImageFrame, KeyframePlan, MotionCurve, VideoClip
    from model.config import ModelConfig
    from model.errors import KeyVIDError
    from model.generation import Generation, GenerationParams, GenerationState, Progress
    from model.pipeline import KeyVIDPipeline

__all__ = [
    "AudioClip",
    "Generation",
    "GenerationParams",
    "GenerationState",
    "ImageFrame",
    "KeyVIDError",
    "KeyVIDPipeline",
    "KeyframePlan",
    "ModelConfig",
    "MotionCurve",
    "Progress",
    "VideoClip",
]

_HOMES = {
    "model.clips": ("AudioClip", "ImageFrame", "KeyframePlan", "MotionCurve", "VideoClip"),
    "model.config": ("ModelConfig",),
    "model.errors": ("KeyVIDError",),
    "model.generation": ("Generation", "GenerationParams", "GenerationState", "Progress"),
    "model.pipeline": ("KeyVIDPipeline",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)
