"""A client of the KeyVID service, and the shortest way to a video: `animate(picture, sound, prompt).save(path)`."""

from keyvid_client.animation import Animation, animate
from keyvid_client.async_client import AsyncKeyVID
from keyvid_client.client import KeyVID
from keyvid_client.errors import (
    ApiError,
    BrokenContent,
    Conflict,
    ConnectionFailed,
    Expired,
    FieldProblem,
    Forbidden,
    InvalidRequest,
    KeyVIDError,
    NotFound,
    RateLimited,
    ServerError,
    Unauthorized,
    Unavailable,
    VideoCancelled,
    VideoFailed,
    WaitTimeout,
)
from keyvid_client.events import Event
from keyvid_client.options import Source, VideoOptions
from keyvid_client.retries import Retries
from keyvid_client.schemas import File, Keyframes, Localization, Output, Page, Stage, Video, VideoError
from keyvid_client.version import VERSION

__all__ = [
    "VERSION",
    "Animation",
    "ApiError",
    "AsyncKeyVID",
    "BrokenContent",
    "Conflict",
    "ConnectionFailed",
    "Event",
    "Expired",
    "FieldProblem",
    "File",
    "Forbidden",
    "InvalidRequest",
    "KeyVID",
    "KeyVIDError",
    "Keyframes",
    "Localization",
    "NotFound",
    "Output",
    "Page",
    "RateLimited",
    "Retries",
    "ServerError",
    "Source",
    "Stage",
    "Unauthorized",
    "Unavailable",
    "Video",
    "VideoCancelled",
    "VideoError",
    "VideoFailed",
    "VideoOptions",
    "WaitTimeout",
    "animate",
]
