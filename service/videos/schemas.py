"""The public shape of a video and of a request for one. Times are unix seconds, sizes bytes, lengths seconds."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from service.forms import clean_prompt, parse_keyframes, parse_metadata
from workers.contract import NUM_FRAMES, NUM_KEYFRAMES, ImageFit, InterpolationMode
from workers.jobs import JobStage, JobStatus, Priority

MAX_PROMPT = 2000
MAX_SEED = 2**32 - 1
MAX_STEPS = 200
MAX_GUIDANCE = 30.0

Size = Literal["512x320"]
Seconds = Literal["2"]
Scale = Annotated[float, Field(ge=0, le=MAX_GUIDANCE, allow_inf_nan=False)]
PriorityName = Literal["low", "normal", "high"]
FileId = Annotated[str, Field(min_length=1, max_length=64)]


PRIORITY_NAMES: Mapping[Priority, PriorityName] = {
    Priority.HIGH: "high",
    Priority.NORMAL: "normal",
    Priority.LOW: "low",
}


class CreateVideoFields(BaseModel):
    """The text fields of a request; a picture and a sound come as files beside them or by id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[str, BeforeValidator(clean_prompt), Field(min_length=1, max_length=MAX_PROMPT)] = Field(
        description="What happens in the video, in words."
    )
    image_file_id: FileId | None = Field(None, description="A picture sent before, in place of `input_reference`.")
    audio_file_id: FileId | None = Field(None, description="A sound sent before, in place of `audio`.")
    model: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="Model name from /v1/models; absent means the only one."
    )
    seconds: Seconds = Field("2", description="Length of the video.")
    size: Size = Field("512x320", description="Width x height in pixels.")
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = Field(
        None, description="Same seed and request, same video; the server picks one and says it when absent."
    )
    num_inference_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = Field(
        None, description="Denoising steps per stage; absent means the model's own number."
    )
    guidance_text: Scale | None = Field(None, description="How strictly the prompt is followed; 1 is no extra push.")
    guidance_image: Scale | None = Field(None, description="How strictly the picture is followed.")
    guidance_audio: Scale | None = Field(None, description="How strictly the sound is followed.")
    interpolation_mode: InterpolationMode | None = Field(None, description="How the frames between keyframes are made.")
    motion_strength: Annotated[float, Field(ge=0.25, le=3, allow_inf_nan=False)] = Field(
        1.0, description="How far things move: 2 is twice as far. keyvid-mini only."
    )
    keyframes: Annotated[
        tuple[int, ...] | None,
        BeforeValidator(parse_keyframes),
        WithJsonSchema(
            {
                "type": "string",
                "description": f"{NUM_KEYFRAMES} frames to paint in place of those that are heard, separated by commas,"
                f" ascending from 0 to at most {NUM_FRAMES - 1}; an entry that ends in `s` is a time in seconds.",
                "examples": [
                    "0,4,8,13,17,21,26,30,34,39,43,47",
                    "0s,0.2s,0.3s,0.5s,0.7s,0.9s,1s,1.2s,1.4s,1.6s,1.7s,1.9s",
                ],
            }
        ),
    ] = None
    reference_compat: bool = Field(
        False,
        description="Repeat two defects of the published evaluation, for numbers to compare: stereo sound is heard"
        " interleaved, and keyvid-512's keyframes pass through a lossy video before they are interpolated.",
    )
    image_fit: ImageFit = Field("cover", description="How a picture of another shape fills the frame.")
    audio_start: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="Where in the sound the video begins; what lies past its end is silence."
    )
    preview: bool = Field(
        False, description="Whether `video.preview` events tell of small pictures of the video while it is made."
    )
    priority: PriorityName = Field(
        "normal", description="Order among the caller's own waiting videos; `high` needs the scope videos:priority."
    )
    cache: Literal["use", "bypass"] = Field(
        "bypass",
        description="`use` answers with a copy of the video that was made for you from the same inputs and knobs, if it"
        " is still kept and the workers would make the same; without a `seed` all such requests share one.",
    )
    deadline_seconds: Annotated[float, Field(ge=1, le=604_800, allow_inf_nan=False)] | None = Field(
        None, description="How soon it must be completed; otherwise it fails with `deadline_exceeded`."
    )
    ttl_seconds: Annotated[float, Field(ge=60, allow_inf_nan=False)] | None = Field(
        None, description="How long it is kept once it has ended; at most as long as this server keeps any."
    )
    metadata: Annotated[
        dict[str, str],
        BeforeValidator(parse_metadata),
        WithJsonSchema({"type": "string", "description": "JSON object of at most 16 text pairs, kept with the video."}),
    ] = Field(default_factory=dict)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class VideoError(_Answer):
    """Why a video failed."""

    code: str
    message: str


class Stage(_Answer):
    """One stage of the work; a step is one denoising step."""

    name: JobStage
    status: Literal["pending", "running", "done"]
    steps_done: int
    steps_total: int
    seconds: float | None = None
    resumed: bool = Field(description="Whether this stage was taken over from an attempt before.")


class InputImage(_Answer):
    """The caller's picture."""

    sha256: str
    width: int
    height: int
    bytes: int


class InputAudio(_Answer):
    """The caller's sound, and the part of it that the video uses."""

    sha256: str
    duration_s: float
    sample_rate: int
    channels: int
    bytes: int
    used_start_s: float
    used_end_s: float
    padded_s: float = Field(description="Silence that follows the used part to fill the video.")


class VideoInput(_Answer):
    """What the video is made from."""

    image: InputImage
    audio: InputAudio


class VideoOutput(_Answer):
    """The finished MP4, as measured from the file."""

    bytes: int
    sha256: str
    duration_s: float
    frames: int
    width: int
    height: int
    video_codec: str
    audio_codec: str
    pix_fmt: str


class VideoKeyframes(_Answer):
    """What was heard: 48 motion scores, their peaks and valleys, and the frames painted first."""

    indices: list[int]
    curve: list[float]
    peaks: list[int]
    valleys: list[int]
    source: str | None = Field(
        None, description="Model whose localizer chose the frames; `request` when the caller did."
    )


class VideoParameters(_Answer):
    """The knobs as they were asked for; null means the model's own default."""

    num_inference_steps: int | None = None
    guidance_text: float | None = None
    guidance_image: float | None = None
    guidance_audio: float | None = None
    interpolation_mode: InterpolationMode | None = None
    motion_strength: float = 1.0
    keyframes: list[int] | None = None
    reference_compat: bool = False
    preview: bool = False
    image_fit: ImageFit
    audio_start: float


class VideoLinks(_Answer):
    """Where to go on, relative to this server."""

    self: str
    content: str
    events: str
    cancel: str


class Video(_Answer):
    """One requested video: a superset of OpenAI's object of that name."""

    id: str
    object: Literal["video"] = "video"
    model: str
    status: JobStatus
    progress: int = Field(ge=0, le=100, description="Percent; never falls, 100 only when completed.")
    created_at: int
    completed_at: int | None = None
    expires_at: int | None = None
    error: VideoError | None = None
    prompt: str
    seconds: str
    size: str
    remixed_from_video_id: str | None = None
    started_at: int | None = None
    queue_position: int | None = Field(None, description="1 is next; only told for a single queued video.")
    eta_seconds: float | None = Field(
        None,
        description="Seconds until it is completed, by what the last videos took; null while nothing was measured, or"
        " nobody works.",
    )
    stage: JobStage
    stages: list[Stage]
    attempt: int
    max_attempts: int
    seq: int = Field(description="Goes up by one with every visible change.")
    cancel_requested_at: int | None = None
    deadline_at: int | None = Field(None, description="If it is not completed by then, it fails.")
    cache_hit: bool = Field(False, description="Whether it is a copy of a video that was made before.")
    retried_from_video_id: str | None = Field(None, description="The video that this one repeats.")
    fps: int
    num_frames: int
    seed: int
    parameters: VideoParameters
    input: VideoInput
    output: VideoOutput | None = None
    keyframes: VideoKeyframes | None = None
    usage: dict[str, float]
    engine: dict[str, Any]
    priority: PriorityName
    trace_id: str | None = Field(None, description="Trace of the request that asked for it, where traces are made.")
    metadata: dict[str, str]
    links: VideoLinks


class VideoList(_Answer):
    """One page of videos; `last_id` is the next page's `after`."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoDeleted(_Answer):
    """A video that is gone."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: bool = True


class EventTicket(_Answer):
    """What opens a video's event stream once, without an API key."""

    object: Literal["event_ticket"] = "event_ticket"
    ticket: str
    expires_at: int
    url: str = Field(description="The stream's address with the ticket, relative to this server.")


class ContentUrl(_Answer):
    """A link to the content that works without anything else until it expires."""

    url: str
    expires_at: int
    headers: dict[str, str] = Field(default_factory=dict, description="To be sent with the request for it.")
