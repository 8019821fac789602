"""The public shape of a localization. Times are seconds into the sound's used part, frames are 24 a second."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.videos.schemas import FileId, InputAudio


class CreateLocalizationFields(BaseModel):
    """The text fields of a request; the sound comes as a file beside them or by id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    audio_file_id: FileId | None = Field(
        None, description="A sound sent before, in place of `audio`.", examples=["file_01m88svcp4ezcvdpnpynbpjcnx"]
    )
    audio_start: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="Where in the sound a video would begin; what lies past its end is silence."
    )


class KeyframePlan(BaseModel):
    """The twelve frames that would be painted first, ascending from 0."""

    model_config = ConfigDict(frozen=True)

    indices: list[int] = Field(
        description="Frame numbers, 0 to 47: what `keyframes` of a new video takes.",
        examples=[[0, 4, 9, 13, 17, 21, 26, 30, 34, 38, 43, 47]],
    )
    seconds: list[float] = Field(description="The same as times, in seconds.", examples=[[0.0, 0.1667, 0.375]])


class Localization(BaseModel):
    """What was heard: how much should move in each frame, and the frames that a video would be built from."""

    model_config = ConfigDict(frozen=True)

    object: Literal["localization"] = "localization"
    model: str = Field(description="The model that would make the video.", examples=["keyvid-mini"])
    source: str = Field(description="The model whose localizer heard.", examples=["keyvid-mini"])
    fps: int = Field(description="Frames per second.", examples=[24])
    num_frames: int = Field(description="Frames of a video.", examples=[48])
    curve: list[float] = Field(
        description="One motion score for each frame, nominally 0 to 1.", examples=[[0.02, 0.31, 0.97]]
    )
    peaks: list[int] = Field(description="Frames where most moves.", examples=[[9, 26]])
    valleys: list[int] = Field(description="Calm frames, each before a peak or between two.", examples=[[4, 17]])
    keyframes: KeyframePlan = Field(description="The frames that a video would be built from.")
    audio: InputAudio = Field(description="The sound, and the part of it that was heard.")
