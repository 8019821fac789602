"""The public shape of a model."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from workers.contract import Preset


class ModelInputs(BaseModel):
    """What may be sent to a model. Sizes are bytes, lengths seconds."""

    model_config = ConfigDict(frozen=True)

    max_image_bytes: int = Field(description="Largest picture, in bytes.", examples=[20_000_000])
    max_image_pixels: int = Field(description="Largest picture, in pixels.", examples=[25_000_000])
    image_formats: list[str] = Field(description="Kinds of picture.", examples=[["jpeg", "png", "webp"]])
    max_audio_bytes: int = Field(description="Largest sound, in bytes.", examples=[50_000_000])
    max_audio_seconds: float = Field(description="Longest sound, in seconds.", examples=[60.0])
    min_audio_seconds: float = Field(description="Shortest sound, in seconds.", examples=[0.25])
    audio_formats: list[str] = Field(
        description="Kinds of sound.", examples=[["wav", "flac", "mp3", "ogg", "opus", "m4a"]]
    )


class Model(BaseModel):
    """One model: OpenAI's object of that name, and what it can do."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Its name, for `model` of a request.", examples=["keyvid-mini"])
    object: Literal["model"] = "model"
    created: int = Field(description="When it was released, in unix seconds.", examples=[1_795_478_400])
    owned_by: str = Field("keyvid", description="Always `keyvid`.")
    sizes: list[str] = Field(description="Sizes it makes, width x height in pixels.", examples=[["512x320"]])
    seconds: list[str] = Field(description="Lengths it makes, in seconds, as text.", examples=[["2"]])
    fps: int = Field(description="Frames per second.", examples=[24])
    num_frames: int = Field(description="Frames of a video.", examples=[48])
    presets: list[Preset] = Field(description="What `preset` of a request may be, the most faithful first.")
    inputs: ModelInputs = Field(description="What may be sent to it.")


class ModelList(BaseModel):
    """All models."""

    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: list[Model]
