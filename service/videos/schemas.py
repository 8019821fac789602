"""The public shape of a video and of a request for one. Times are unix seconds, sizes bytes, lengths seconds."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from service.forms import NO_NUL, clean_prompt, parse_crop, parse_keyframes, parse_metadata
from workers.contract import FPS, NUM_FRAMES, NUM_KEYFRAMES, ImageFit, InterpolationMode, Preset
from workers.jobs import JobStage, JobStatus, Priority

MAX_PROMPT = 2000
MAX_SEED = 2**32 - 1
MAX_STEPS = 200
MAX_GUIDANCE = 30.0

WIDTH, HEIGHT = 512, 320
Size = Literal["512x320"]
Seconds = Literal["2"]
Scale = Annotated[float, Field(ge=0, le=MAX_GUIDANCE, allow_inf_nan=False)]
PriorityName = Literal["low", "normal", "high"]
FileId = Annotated[str, Field(min_length=1, max_length=64), NO_NUL]


PRIORITY_NAMES: Mapping[Priority, PriorityName] = {
    Priority.HIGH: "high",
    Priority.NORMAL: "normal",
    Priority.LOW: "low",
}


class CreateVideoFields(BaseModel):
    """The text fields of a request; a picture and a sound come as files beside them or by id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[str, BeforeValidator(clean_prompt), Field(min_length=1, max_length=MAX_PROMPT)] = Field(
        description="What happens in the video, in words.", examples=["dog barking"]
    )
    image_file_id: FileId | None = Field(
        None,
        description="A picture sent before, in place of `input_reference`.",
        examples=["file_01m88svcp4ezcvdpnpynbpjcnx"],
    )
    audio_file_id: FileId | None = Field(
        None, description="A sound sent before, in place of `audio`.", examples=["file_01m88svcp4ezcvdpnpynbpjcnx"]
    )
    model: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="Model name from /v1/models; absent means the only one.", examples=["keyvid-mini"]
    )
    seconds: Seconds = Field("2", description="Length of the video.")
    size: Size = Field("512x320", description="Width x height in pixels.")
    width: Annotated[int, Field(ge=WIDTH, le=WIDTH)] | None = Field(
        None, description="As in `size`, for clients that send it apart.", examples=[WIDTH]
    )
    height: Annotated[int, Field(ge=HEIGHT, le=HEIGHT)] | None = Field(
        None, description="As in `size`, for clients that send it apart.", examples=[HEIGHT]
    )
    num_frames: Annotated[int, Field(ge=NUM_FRAMES, le=NUM_FRAMES)] | None = Field(
        None, description="As `seconds` x `fps`, for clients that send it.", examples=[NUM_FRAMES]
    )
    fps: Annotated[int, Field(ge=FPS, le=FPS)] | None = Field(
        None, description="Frames per second, for clients that send it.", examples=[FPS]
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = Field(
        None,
        description="Same seed and request, same video; the server picks one and says it when absent.",
        examples=[7],
    )
    num_inference_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = Field(
        None, description="Denoising steps per stage; absent means the model's own number.", examples=[8]
    )
    guidance_text: Scale | None = Field(
        None, description="How strictly the prompt is followed; 1 is no extra push.", examples=[7.5]
    )
    guidance_image: Scale | None = Field(None, description="How strictly the picture is followed.", examples=[2.0])
    guidance_audio: Scale | None = Field(None, description="How strictly the sound is followed.", examples=[4.0])
    interpolation_mode: InterpolationMode | None = Field(
        None, description="How the frames between keyframes are made.", examples=["freenoise"]
    )
    motion_strength: Annotated[float, Field(ge=0.25, le=3, allow_inf_nan=False)] = Field(
        1.0, description="How far things move: 2 is twice as far. keyvid-mini only."
    )
    preset: Preset = Field(
        "exact",
        description="Time against fidelity: `exact` samples as the model was made for, `balanced` in less time, `fast`"
        " in the least. Steps that are given go before the preset's.",
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
    image_crop: Annotated[
        tuple[int, int, int, int] | None,
        BeforeValidator(parse_crop),
        WithJsonSchema(
            {
                "type": "string",
                "description": "The part of the picture to animate: left, top, width and height in pixels of the"
                " upright picture, at least 16 wide and high; `image_fit` fits it. Absent means all of it.",
                "examples": ["40,0,640,400"],
            }
        ),
    ] = None
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
        None, description="How soon it must be completed; otherwise it fails with `deadline_exceeded`.", examples=[600]
    )
    ttl_seconds: Annotated[float, Field(ge=60, allow_inf_nan=False)] | None = Field(
        None,
        description="How long it is kept once it has ended; at most as long as this server keeps any.",
        examples=[86_400],
    )
    metadata: Annotated[
        dict[str, str],
        BeforeValidator(parse_metadata),
        WithJsonSchema(
            {
                "type": "string",
                "description": "JSON object of at most 16 text pairs, kept with the video.",
                "examples": ['{"app": "shop"}'],
            }
        ),
    ] = Field(default_factory=dict)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class VideoError(_Answer):
    """Why a video failed."""

    code: str = Field(description="Stable; see the list of codes in the manual.", examples=["out_of_memory"])
    message: str = Field(
        description="What happened, for people.", examples=["There was not enough memory for this video."]
    )


class Stage(_Answer):
    """One stage of the work; a step is one denoising step."""

    name: JobStage = Field(description="Which stage.")
    status: Literal["pending", "running", "done"] = Field(description="Where it is.")
    steps_done: int = Field(description="Denoising steps that are done; frames in `mux`.", examples=[3])
    steps_total: int = Field(description="Steps of the whole stage.", examples=[8])
    seconds: float | None = Field(None, description="How long it took, in seconds, once it is done.", examples=[4.2])
    resumed: bool = Field(description="Whether it was taken over from an attempt before, wholly or in part.")


class InputImage(_Answer):
    """The caller's picture."""

    sha256: str = Field(
        description="SHA-256 of the file as it was sent, in hex.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    width: int = Field(description="Pixels, turned as its EXIF says.", examples=[1024])
    height: int = Field(description="Pixels, turned as its EXIF says.", examples=[768])
    bytes: int = Field(description="Size of the file as it was sent.", examples=[182_044])


class InputAudio(_Answer):
    """The caller's sound, and the part of it that the video uses."""

    sha256: str = Field(
        description="SHA-256 of the file as it was sent, in hex.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    duration_s: float = Field(description="Length of the whole sound, in seconds.", examples=[3.5])
    sample_rate: int = Field(description="Samples per second.", examples=[48_000])
    channels: int = Field(description="1 is mono, 2 is stereo.", examples=[2])
    bytes: int = Field(description="Size of the file as it was sent.", examples=[336_044])
    used_start_s: float = Field(description="Where the video begins in the sound, in seconds.", examples=[0.0])
    used_end_s: float = Field(description="Where it ends in the sound, in seconds.", examples=[2.0])
    padded_s: float = Field(description="Silence that follows the used part to fill the video.", examples=[0.0])


class VideoInput(_Answer):
    """What the video is made from."""

    image: InputImage = Field(description="The picture.")
    audio: InputAudio = Field(description="The sound.")


class VideoOutput(_Answer):
    """The finished MP4, as measured from the file."""

    bytes: int = Field(description="Size of the file.", examples=[148_220])
    sha256: str = Field(
        description="SHA-256 of the file, in hex.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    duration_s: float = Field(description="Length in seconds.", examples=[2.0])
    frames: int = Field(description="Number of frames.", examples=[48])
    width: int = Field(description="Pixels.", examples=[512])
    height: int = Field(description="Pixels.", examples=[320])
    video_codec: str = Field(description="Codec of the pictures.", examples=["h264"])
    audio_codec: str = Field(description="Codec of the sound.", examples=["aac"])
    pix_fmt: str = Field(description="Pixel format.", examples=["yuv420p"])


class VideoKeyframes(_Answer):
    """What was heard: 48 motion scores, their peaks and valleys, and the frames painted first."""

    indices: list[int] = Field(
        description="The twelve frames that are painted first, 0 to 47.",
        examples=[[0, 4, 9, 13, 17, 21, 26, 30, 34, 38, 43, 47]],
    )
    curve: list[float] = Field(
        description="How much moves in each of the 48 frames, as heard.", examples=[[0.02, 0.31, 0.97]]
    )
    peaks: list[int] = Field(description="Frames at which most moves.", examples=[[9, 26]])
    valleys: list[int] = Field(description="Calm frames, each before a peak or between two.", examples=[[4, 17]])
    source: str | None = Field(
        None,
        description="Model whose localizer chose the frames; `request` when the caller did.",
        examples=["keyvid-mini"],
    )


class VideoParameters(_Answer):
    """The knobs as they were asked for; null means the model's own default."""

    num_inference_steps: int | None = Field(None, description="Denoising steps per stage.", examples=[8])
    guidance_text: float | None = Field(None, description="0 to 30.", examples=[7.5])
    guidance_image: float | None = Field(None, description="0 to 30.", examples=[2.0])
    guidance_audio: float | None = Field(None, description="0 to 30.", examples=[4.0])
    interpolation_mode: InterpolationMode | None = Field(None, description="How the frames between keyframes are made.")
    motion_strength: float = Field(1.0, description="0.25 to 3.")
    preset: Preset = Field("exact", description="Time against fidelity.")
    keyframes: list[int] | None = Field(
        None, description="The frames that the caller chose.", examples=[[0, 4, 9, 13, 17, 21, 26, 30, 34, 38, 43, 47]]
    )
    reference_compat: bool = Field(False, description="Whether defects of the published evaluation are repeated.")
    preview: bool = Field(False, description="Whether events tell of small pictures while it is made.")
    image_fit: ImageFit = Field(description="How a picture of another shape fills the frame.")
    image_crop: list[int] | None = Field(
        None,
        description="Left, top, width and height of the part that is animated, in pixels.",
        examples=[[40, 0, 640, 400]],
    )
    audio_start: float = Field(description="Where in the sound the video begins, in seconds.", examples=[0.0])


class VideoLinks(_Answer):
    """Where to go on, relative to this server."""

    self: str = Field(description="The video.", examples=["/v1/videos/video_01m88svcp4ezcvdpnpynbpjcnx"])
    content: str = Field(description="Its MP4.", examples=["/v1/videos/video_01m88svcp4ezcvdpnpynbpjcnx/content"])
    events: str = Field(
        description="Its event stream.", examples=["/v1/videos/video_01m88svcp4ezcvdpnpynbpjcnx/events"]
    )
    cancel: str = Field(
        description="Where to POST to stop it.", examples=["/v1/videos/video_01m88svcp4ezcvdpnpynbpjcnx/cancel"]
    )


class Video(_Answer):
    """One requested video: a superset of OpenAI's object of that name."""

    id: str = Field(description="Its id.", examples=["video_01m88svcp4ezcvdpnpynbpjcnx"])
    object: Literal["video"] = "video"
    model: str = Field(description="Name of the model.", examples=["keyvid-mini"])
    status: JobStatus = Field(description="`completed`, `failed` and `cancelled` are final.")
    progress: int = Field(ge=0, le=100, description="Percent; never falls, 100 only when completed.", examples=[40])
    created_at: int = Field(description="When it was accepted, in unix seconds.", examples=[1_795_478_400])
    completed_at: int | None = Field(None, description="When it ended, in unix seconds.", examples=[1_795_478_420])
    expires_at: int | None = Field(
        None,
        description="When it is forgotten, in unix seconds; from then on it answers 410.",
        examples=[1_796_083_220],
    )
    error: VideoError | None = Field(None, description="Why it failed.")
    prompt: str = Field(description="What happens in the video, in words.", examples=["dog barking"])
    seconds: str = Field(description="Length in seconds, as text.", examples=["2"])
    size: str = Field(description="Width x height in pixels.", examples=["512x320"])
    remixed_from_video_id: str | None = Field(
        None, description="Always null: kept for clients of the OpenAI API.", examples=[None]
    )
    started_at: int | None = Field(
        None, description="When work on it began, in unix seconds.", examples=[1_795_478_402]
    )
    queue_position: int | None = Field(
        None,
        description="1 is next; only told for a single queued video, and in a queue of thousands some seconds late.",
        examples=[1],
    )
    eta_seconds: float | None = Field(
        None,
        description="Seconds until it is completed, by what the last videos took; null while nothing was measured, or"
        " nobody works.",
        examples=[11.5],
    )
    stage: JobStage = Field(description="What is being done; `queued` before, `done` after.")
    stages: list[Stage] = Field(description="The stages in their order.")
    attempt: int = Field(description="Which try this is; 0 before the first.", examples=[1])
    max_attempts: int = Field(description="How often it is tried at most.", examples=[3])
    seq: int = Field(description="Goes up by one with every visible change.", examples=[12])
    cancel_requested_at: int | None = Field(
        None, description="When somebody asked to stop it, in unix seconds.", examples=[1_795_478_405]
    )
    deadline_at: int | None = Field(
        None, description="If it is not completed by then, it fails.", examples=[1_795_479_000]
    )
    cache_hit: bool = Field(False, description="Whether it is a copy of a video that was made before.")
    retried_from_video_id: str | None = Field(
        None, description="The video that this one repeats.", examples=["video_01m88svcp4ezcvdpnpynbpjcnx"]
    )
    fps: int = Field(description="Frames per second.", examples=[24])
    num_frames: int = Field(description="Number of frames.", examples=[48])
    seed: int = Field(description="What every random draw comes from, 0 to 4294967295.", examples=[7])
    parameters: VideoParameters = Field(description="The knobs.")
    input: VideoInput = Field(description="What it is made from.")
    output: VideoOutput | None = Field(None, description="The finished file.")
    keyframes: VideoKeyframes | None = Field(None, description="What was heard, once the localization is done.")
    usage: dict[str, float] = Field(
        description="Seconds and bytes it took, by name.", examples=[{"queue_s": 0.4, "total_s": 17.9}]
    )
    engine: dict[str, Any] = Field(
        description="What made it: model, version, device.", examples=[{"model": "keyvid-mini", "device": "cpu"}]
    )
    priority: PriorityName = Field(description="Order among the caller's own waiting videos.")
    trace_id: str | None = Field(
        None,
        description="Trace of the request that asked for it, where traces are made.",
        examples=["4bf92f3577b34da6a3ce929d0e0e4736"],
    )
    metadata: dict[str, str] = Field(description="The caller's pairs.", examples=[{"app": "studio"}])
    links: VideoLinks = Field(description="Where to go on.")


class VideoList(_Answer):
    """One page of videos; `last_id` is the next page's `after`."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoDeleted(_Answer):
    """A video that is gone."""

    id: str = Field(description="The id that the video had.", examples=["video_01m88svcp4ezcvdpnpynbpjcnx"])
    object: Literal["video.deleted"] = "video.deleted"
    deleted: bool = True


class EventTicket(_Answer):
    """What opens a video's event stream once, without an API key."""

    object: Literal["event_ticket"] = "event_ticket"
    ticket: str = Field(description="The secret that opens the stream once.", examples=["R1mJ8xF0"])
    expires_at: int = Field(description="Until when it opens the stream, in unix seconds.", examples=[1_795_478_460])
    url: str = Field(
        description="The stream's address with the ticket, relative to this server.",
        examples=["/v1/videos/video_01m88svcp4ezcvdpnpynbpjcnx/events?ticket=R1mJ8xF0"],
    )


class ContentUrl(_Answer):
    """A link to the content that works without anything else until it expires."""

    url: str = Field(description="The link.", examples=["https://videos.example.com/v1/blobs/..."])
    expires_at: int = Field(description="Until when it works, in unix seconds.", examples=[1_795_482_000])
    headers: dict[str, str] = Field(
        default_factory=dict, description="To be sent with the request for it.", examples=[{}]
    )
