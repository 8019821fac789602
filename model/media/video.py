"""Frames and the caller's own sound to an MP4, through FFmpeg."""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, TYPE_CHECKING

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np

from model.clips import VideoClip
from model.errors import EncodeFailed
from model.media.audio import write_wav

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

    from model.clips import AudioClip

_FINISH_SECONDS = 60.0
_PIPE_BYTES = 1 << 20  # what Linux allows everybody: two frames of 320x512
_PLANES_NDIM = 3  # frames of planes; those of RGB have a fourth axis
_AUDIO_BITS_PER_SECOND = 160_000
# A fixed number of threads, so that the same frames give the same bytes whatever the machine.
_ENCODER_THREADS = 2


def write_video(
    chunks: Iterable[Tensor],
    audio: AudioClip,
    path: Path,
    *,
    fps: int,
    num_frames: int,
    ffmpeg_path: str | None = None,
    on_frames: Callable[[int], None] | None = None,
) -> None:
    """Encode frames as they come, with exactly their length of sound.

    Args:
        chunks: uint8 RGB `[n, H, W, 3]` each, or planes of YUV 4:2:0 (BT.709, video range) `[n, H * 3 / 2, W]`; even
            sizes, `num_frames` in all.
        audio: the sound from the first frame on; what is longer than the frames is cut, what is missing is silent.
        path: the MP4 (H.264 yuv420p and AAC, index in front); on any error it is removed.
        fps: frames per second.
        num_frames: frames of the video.
        ffmpeg_path: the FFmpeg program; by default the one of imageio-ffmpeg.
        on_frames: told the number of frames written so far; may raise to cancel, which ends FFmpeg.
    Raises: EncodeFailed; whatever `chunks` and `on_frames` raise.
    """
    frames = iter(chunks)
    first = next(frames, None)
    if first is None:
        raise EncodeFailed("There are no frames to encode.")
    pictures = _pictures(first, fps=fps)
    with tempfile.TemporaryDirectory(prefix="keyvid-") as folder:
        sound = Path(folder, "sound.wav")
        write_wav(audio.window(0.0, num_frames / fps), sound)
        command = _command(pictures, sound, path, fps=fps, num_frames=num_frames, program=ffmpeg_path)
        with _encoder(command, path) as pipe:
            written = 0
            for chunk in _chain(first, frames):
                pipe.write(chunk.cpu().contiguous().numpy().data)
                written += len(chunk)
                if on_frames is not None:
                    on_frames(written)
            if written != num_frames:
                raise EncodeFailed(f"The video has {written} frames instead of {num_frames}.")


def read_video(path: Path) -> VideoClip:
    """Decode the frames of a video as `write_video` makes it. Raises: ValueError for anything else."""
    try:
        with path.open("rb") as file, av.open(file, mode="r") as container:
            stream = container.streams.video[0]
            fps = round(stream.average_rate or 0)
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    except (av.FFmpegError, OSError, IndexError) as error:
        raise ValueError("not a video") from error
    return VideoClip(np.stack(frames).astype(np.uint8, copy=False), fps)


def _chain(first: Tensor, rest: Iterator[Tensor]) -> Iterator[Tensor]:
    yield first
    yield from rest


def _pictures(chunk: Tensor, *, fps: int) -> ffmpeg.Stream:
    """FFmpeg's input for frames like these, in the colours of the file. Raises: EncodeFailed for odd sizes."""
    is_planes = chunk.ndim == _PLANES_NDIM
    rows, width = chunk.shape[1:3]
    if rows % (3 if is_planes else 2) or width % 2:
        raise EncodeFailed("Frames of odd size cannot be encoded.")
    size = f"{width}x{rows * 2 // 3 if is_planes else rows}"
    pixel_format = "yuv420p" if is_planes else "rgb24"
    frames = ffmpeg.input("pipe:", format="rawvideo", pix_fmt=pixel_format, s=size, framerate=fps).video
    if not is_planes:
        # One thread: frames are small.
        frames = frames.filter("scale", out_color_matrix="bt709", out_range="tv", threads=1)
    # Tagged as what they are; otherwise players guess the colour matrix from the size.
    tags = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "range": "tv"}
    return frames.filter("setparams", **tags)


def _command(
    pictures: ffmpeg.Stream, sound: Path, path: Path, *, fps: int, num_frames: int, program: str | None
) -> list[str]:
    output = ffmpeg.output(
        pictures,
        ffmpeg.input(str(sound)).audio,
        str(path),
        format="mp4",
        vcodec="libx264",
        preset="veryfast",
        crf=18,
        pix_fmt="yuv420p",
        acodec="aac",
        aac_coder="fast",  # at this rate it comes nearer to the sound than the default
        audio_bitrate=_AUDIO_BITS_PER_SECOND,
        movflags="+faststart",
        map_metadata=-1,
        fflags="+bitexact",
        threads=_ENCODER_THREADS,
        t=num_frames / fps,
        **{
            # Two thirds of the preset's work; at the same size 0.1 dB farther from frames that one picture moves in.
            "x264-params": "subme=1:me=dia:b-adapt=0:scenecut=0",
            "frames:v": num_frames,
            "flags:v": "+bitexact",
            "flags:a": "+bitexact",
        },
    ).global_args("-hide_banner", "-loglevel", "error", "-nostats")
    command: list[str] = ffmpeg.compile(output, cmd=program or imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)
    return command


@contextmanager
def _encoder(command: list[str], path: Path) -> Iterator[IO[bytes]]:
    """Run FFmpeg and yield its input; leaving waits for the file, an error ends FFmpeg and removes it."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise EncodeFailed("The video encoder could not be started.") from error
    is_done = False
    try:
        if process.stdin is None or process.stdout is None:
            raise EncodeFailed
        _widen(process.stdin)
        yield process.stdin
        process.stdin.close()
        # Nothing is said there, and it closes as FFmpeg ends: `process.wait` alone looks every so often, and is late.
        if not wait([process.stdout.fileno()], _FINISH_SECONDS) or process.wait(_FINISH_SECONDS) != 0:
            raise EncodeFailed
        is_done = True
    except (BrokenPipeError, subprocess.TimeoutExpired) as error:
        raise EncodeFailed from error
    finally:
        if not is_done:
            process.kill()
            process.wait()
            path.unlink(missing_ok=True)
            with suppress(BrokenPipeError):  # what is left in the buffer has no reader any more
                if process.stdin is not None:
                    process.stdin.close()
        if process.stdout is not None:
            process.stdout.close()


def _widen(pipe: IO[bytes]) -> None:
    """Let a pipe hold the next frames while FFmpeg works on the last; by itself Linux lets it hold 64 KiB."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # not granted beyond what a user's pipes may hold together: it only takes longer
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
