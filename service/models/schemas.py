"""The public shape of a model."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class ModelInputs(BaseModel):
    """What may be sent to a model. Sizes are bytes, lengths seconds."""

    model_config = ConfigDict(frozen=True)

    max_image_bytes: int
    max_image_pixels: int
    image_formats: list[str]
    max_audio_bytes: int
    max_audio_seconds: float
    min_audio_seconds: float
    audio_formats: list[str]


class Model(BaseModel):
    """One model: OpenAI's object of that name, and what it can do."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "keyvid"
    sizes: list[str]
    seconds: list[str]
    fps: int
    num_frames: int
    inputs: ModelInputs


class ModelList(BaseModel):
    """All models."""

    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: list[Model]
