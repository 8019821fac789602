"""What a worker accepts: the job's payload, the queue, and the ticket.

This is the only description of a job that both sides run. The ticket says only "look for work" and carries
nothing: the database row decides which job runs (docs/architecture.md).
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

QUEUE = "keyvid.generate"
TASK = "keyvid.run_queued_jobs"
PAYLOAD_VERSION = 1
"""Goes up when a release gives `VideoRequest` new fields: workers of before leave such jobs to those that know them."""

NUM_FRAMES = 48
FPS = 24
CLIP_SECONDS = NUM_FRAMES / FPS
NUM_KEYFRAMES = 12

ImageFit = Literal["cover", "contain", "stretch"]
InterpolationMode = Literal["released", "freenoise"]
Preset = Literal["exact", "balanced", "fast"]
PRESETS: tuple[Preset, ...] = get_args(Preset)


class Payload(BaseModel):
    """Base of everything that is stored in a job row or travels on the broker."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageInput(Payload):
    """The picture, decoded and checked: an RGB PNG in blob storage, already turned upright."""

    key: str = Field(description="Blob key of the canonical PNG.")
    sha256: str = Field(description="SHA-256 of the caller's own bytes.")
    width: int = Field(description="Pixels, of the caller's picture after turning.")
    height: int
    bytes: int = Field(description="Size of the caller's file.")


class AudioInput(Payload):
    """The sound, decoded and checked: 16-bit PCM WAV in blob storage, mono or stereo, at most 48 kHz."""

    key: str = Field(description="Blob key of the canonical WAV.")
    sha256: str = Field(description="SHA-256 of the caller's own bytes.")
    duration_s: float
    sample_rate: int = Field(description="Hz, of the caller's file.")
    channels: int
    bytes: int


class VideoRequest(Payload):
    """One accepted request: everything a runner needs to make the video, and to make it again."""

    version: int = PAYLOAD_VERSION
    model: str
    prompt: str
    image: ImageInput
    audio: AudioInput
    image_fit: ImageFit
    image_crop: tuple[int, int, int, int] | None = Field(
        None, description="Left, top, width and height of the part to animate, in pixels of the caller's picture."
    )
    audio_start: float = Field(description="Seconds into the sound where the clip begins.")
    width: int
    height: int
    seed: int
    num_inference_steps: int | None = None
    guidance_text: float | None = None
    guidance_image: float | None = None
    guidance_audio: float | None = None
    interpolation_mode: InterpolationMode | None = None
    preset: Preset = Field("exact", description="Time against fidelity; exact is the model's own sampling.")
    motion_strength: float = Field(1.0, description="How far things move, as a multiple of the model's own.")
    keyframes: tuple[int, ...] | None = Field(None, description="Frames to paint, in place of those that are heard.")
    preview: bool = Field(False, description="Whether small pictures are stored while it is made.")
    reference_compat: bool = Field(False, description="Whether two defects of the published evaluation are repeated.")
