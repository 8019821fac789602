"""What a picture and a sound may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """Limits of uploads and of their canonical forms: pixels, seconds, hertz."""

    max_image_pixels: int = 25_000_000
    min_image_side: int = 16
    max_canonical_side: int = 2048
    min_audio_seconds: float = 0.25
    max_audio_seconds: float = 60.0
    min_sample_rate: int = 8_000
    max_sample_rate: int = 192_000
    max_canonical_rate: int = 48_000
