"""Sound from files, through a short list of containers and codecs."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING, BinaryIO

import av
import numpy as np
import torch

from model.clips import AudioClip
from model.errors import AudioDecodeFailed, AudioTooShort

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

MIN_SECONDS = 0.25
MAX_SECONDS = 60.0
MIN_RATE_HZ = 8_000
MAX_RATE_HZ = 192_000

# Without these lists FFmpeg would also follow playlists and open decoders that nobody needs.
_DEMUXERS = ("wav", "flac", "mp3", "ogg", "mov", "aac")
_DECODERS = (
    *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw"),
    *("flac", "mp3", "mp3float", "vorbis", "opus", "libopus", "aac", "alac"),
)
_OPEN_OPTIONS = {
    "format_whitelist": ",".join(_DEMUXERS),
    "codec_whitelist": ",".join(_DECODERS),
    "protocol_whitelist": "",
}
_WAV_HEADS = (b"RIFF", b"RF64")
# FFmpeg looks in the samples of a WAV for sound of another coding, by default in all of them, again and again.
_WAV_LOOK = {"probesize": "32768"}


def read_audio(path: Path, *, max_seconds: float = MAX_SECONDS) -> AudioClip:
    """Decode WAV, FLAC, MP3, Ogg Vorbis, Opus or M4A at its own rate; what lies after `max_seconds` is left out.

    More than two channels are mixed to stereo; samples are clamped to [-1, 1].
    Raises: AudioDecodeFailed, AudioTooShort.
    """
    try:
        with path.open("rb") as file, av.open(file, mode="r", options=_options(file)) as container:
            if not container.streams.audio:
                raise AudioDecodeFailed("The file holds no sound.")
            stream = container.streams.audio[0]
            rate = stream.rate
            if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
                raise AudioDecodeFailed(f"The sample rate must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, not {rate}.")
            chunks = list(_decode(container, stream, max_samples=round(max_seconds * rate)))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioDecodeFailed from error
    samples = np.concatenate(chunks, axis=1) if chunks else np.zeros((1, 0), np.float32)
    if not np.isfinite(samples).all():
        raise AudioDecodeFailed("The sound holds samples that are not numbers.")
    clip = AudioClip(torch.from_numpy(samples).clamp(-1.0, 1.0)[:, : round(max_seconds * rate)], rate)
    if clip.duration_s < MIN_SECONDS:
        raise AudioTooShort
    return clip


def write_wav(clip: AudioClip, path: Path) -> None:
    """Write 16-bit PCM."""
    pcm = (clip.samples.clamp(-1.0, 1.0) * 32767).round().to(torch.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(pcm.shape[0])
        file.setsampwidth(2)
        file.setframerate(clip.sample_rate_hz)
        file.writeframes(pcm.T.contiguous().numpy().tobytes())


def _options(file: BinaryIO) -> dict[str, str]:
    """FFmpeg's options for a file, which is left at its beginning."""
    head = file.read(4)
    file.seek(0)
    return {**_OPEN_OPTIONS, **_WAV_LOOK} if head in _WAV_HEADS else _OPEN_OPTIONS


def _decode(
    container: av.container.InputContainer, stream: av.AudioStream, *, max_samples: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Decoded chunks `[channels, n]` until `max_samples`; single damaged packets are left out."""
    layout = "mono" if stream.channels == 1 else "stereo"
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=stream.rate)
    decoded = damaged = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            damaged += 1
            continue
        for frame in frames:
            frame.pts = None  # gaps in time stamps are no silence
            for converted in resampler.resample(frame):
                decoded += converted.samples
                yield converted.to_ndarray().astype(np.float32, copy=False)
        if decoded >= max_samples:
            break
    if damaged and decoded == 0:
        raise AudioDecodeFailed
