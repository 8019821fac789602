"""The public shape of a localization. Times are seconds into the sound's used part, frames are 24 a second."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.videos.schemas import FileId, InputAudio


class CreateLocalizationFields(BaseModel):
    """The text fields of a request; the sound comes as a file beside them or by id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    audio_file_id: FileId | None = Field(None, description="A sound sent before, in place of `audio`.")
    audio_start: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="Where in the sound a video would begin; what lies past its end is silence."
    )


class KeyframePlan(BaseModel):
    """The twelve frames that would be painted first, ascending from 0."""

    model_config = ConfigDict(frozen=True)

    indices: list[int] = Field(description="Frame numbers, 0 to 47: what `keyframes` of a new video takes.")
    seconds: list[float] = Field(description="The same as times.")


class Localization(BaseModel):
    """What was heard: how much should move in each frame, and the frames that a video would be built from."""

    model_config = ConfigDict(frozen=True)

    object: Literal["localization"] = "localization"
    model: str = Field(description="The model that would make the video.")
    source: str = Field(description="The model whose localizer heard.")
    fps: int
    num_frames: int
    curve: list[float] = Field(description="One motion score for each frame, nominally 0 to 1.")
    peaks: list[int] = Field(description="Frames where most moves.")
    valleys: list[int] = Field(description="Frames where least moves.")
    keyframes: KeyframePlan
    audio: InputAudio
