"""The models that this server offers, and what they can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.models.schemas import Model, ModelInputs
from workers.contract import CLIP_SECONDS, FPS, NUM_FRAMES, PRESETS

if TYPE_CHECKING:
    from service.settings import ServiceSettings

RELEASED_AT = 1_795_478_400  # 24 November 2026: clients expect a time, and none is recorded with the weights


def list_models(settings: ServiceSettings) -> list[Model]:
    """Describe every model."""
    inputs = ModelInputs(
        max_image_bytes=settings.max_image_bytes,
        max_image_pixels=settings.max_image_pixels,
        image_formats=["jpeg", "png", "webp"],
        max_audio_bytes=settings.max_audio_bytes,
        max_audio_seconds=settings.max_audio_seconds,
        min_audio_seconds=0.25,
        audio_formats=["wav", "flac", "mp3", "ogg", "opus", "m4a"],
    )
    return [
        Model(
            id=name,
            created=RELEASED_AT,
            sizes=["512x320"],
            seconds=[f"{CLIP_SECONDS:g}"],
            fps=FPS,
            num_frames=NUM_FRAMES,
            presets=list(PRESETS),
            inputs=inputs,
        )
        for name in (settings.model_name,)
    ]
