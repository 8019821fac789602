"""Sounds into their canonical form: a 16-bit WAV without metadata. Runs only inside the sandbox."""

from __future__ import annotations

import struct
import wave
from io import SEEK_END, BytesIO
from itertools import chain
from typing import TYPE_CHECKING, Any

import av
import av.error
import av.logging
import numpy as np
import soxr

from service.media.limits import ProbeLimits
from service.media.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    import numpy.typing as npt
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

    Samples = npt.NDArray[np.float32]  # [samples, channels]

av.logging.set_level(None)  # a hostile file could otherwise write without end

_CODECS = {
    "wav": "pcm_u8,pcm_s16le,pcm_s24le,pcm_s32le,pcm_f32le,pcm_f64le,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav",
    "flac": "flac",
    "mp3": "mp3,mp3float",
    "ogg": "vorbis,opus,libopus,libvorbis,flac",
    "mov": "aac,alac",
}
_FULL_SCALE = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}
_STATES_ITS_LENGTH = ("flac", "mov")  # fewer samples than the header says mean that the file was cut
_MAX_BAD_PACKETS = 3  # MP3s cut out of a stream begin with one or two
_RIFF_SIZE_UNKNOWN = 0x7FFF0000  # streamed WAVs state this or more
# ffmpeg looks in the samples of a WAV for sound of another coding: by default in all of them, again and again
_LOOKS = {"wav": {"probesize": "32768"}}


def canonicalize_audio(source: BinaryIO, target: BinaryIO, decoder: str, limits: ProbeLimits) -> dict[str, Any]:
    """Decode `source` by ffmpeg's demuxer `decoder` alone and write a 16-bit WAV of at most 48 kHz to `target`.

    Returns: duration_s, sample_rate (Hz) and channels of the caller's sound.
    Raises: Refused.
    """
    if decoder == "wav":
        _check_riff_size(source)
    options = {"protocol_whitelist": "none", "codec_whitelist": _CODECS[decoder], **_LOOKS.get(decoder, {})}
    try:
        with av.open(source, mode="r", format=decoder, options=options, metadata_errors="ignore") as container:
            return _canonicalize(container, target, decoder, limits)
    except (av.error.FFmpegError, ValueError, LookupError) as error:
        raise _damaged() from error


def rehearse() -> None:
    """Decode and resample a sound of our own, so that everything which loads on first use is there."""
    sound = BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((2, 2, 96_000, 0, "NONE", ""))
        file.writeframes(bytes(96_000))
    sound.seek(0)
    canonicalize_audio(sound, BytesIO(), "wav", ProbeLimits())


def _canonicalize(container: InputContainer, target: BinaryIO, decoder: str, limits: ProbeLimits) -> dict[str, Any]:
    """Decode and write frame by frame, so that a file which expands without end is left after 60 seconds of it."""
    stream = _sound_of(container, decoder)
    frames = _decode(container, stream)
    first = next(frames, None)
    if first is None:
        raise Refused("audio_too_short", "The sound has no samples.")
    rate, channels = first.sample_rate, first.layout.nb_channels  # of the samples: some codecs double the header's rate
    _check_layout(rate, channels, limits)
    output_rate = min(rate, limits.max_canonical_rate)
    resampler = soxr.ResampleStream(rate, output_rate, channels, dtype="float32") if output_rate < rate else None
    num_samples = 0
    with wave.open(target, "wb") as output:
        output.setparams((channels, 2, output_rate, 0, "NONE", ""))
        for frame in chain((first,), frames):
            if (frame.sample_rate, frame.layout.nb_channels) != (rate, channels):
                raise Refused("audio_decode_failed", "The sound changes its sample rate or its channels half-way.")
            num_samples += frame.samples
            if num_samples > limits.max_audio_seconds * rate:
                raise Refused("audio_too_long", f"The sound is longer than {limits.max_audio_seconds:g} seconds.")
            samples = _samples_of(frame, channels)
            output.writeframesraw(_to_pcm(resampler.resample_chunk(samples) if resampler else samples))
        if resampler:
            rest = resampler.resample_chunk(np.empty((0, channels), np.float32), last=True)
            output.writeframesraw(_to_pcm(rest))
    duration_s = num_samples / rate
    if decoder in _STATES_ITS_LENGTH and duration_s < _stated_seconds(stream) - 0.1:
        raise _damaged()
    if duration_s < limits.min_audio_seconds:
        least = limits.min_audio_seconds
        raise Refused("audio_too_short", f"The sound lasts {duration_s:.2f} seconds: at least {least:g} are needed.")
    return {"duration_s": duration_s, "sample_rate": rate, "channels": channels}


def _sound_of(container: InputContainer, decoder: str) -> AudioStream:
    """The first sound of a file, if its codec is one that this kind of file may hold."""
    if container.streams.audio:
        stream = container.streams.audio[0]
        codec = getattr(stream.codec_context, "name", None)  # there is no context when ffmpeg does not know the codec
        if codec not in _CODECS[decoder].split(","):
            raise Refused("audio_decode_failed", "The sound is coded in a way that is not accepted.")
        stream.codec_context.thread_count = 1
        return stream
    raise Refused("audio_decode_failed", "There is no sound in the file.")


def _stated_seconds(stream: AudioStream) -> float:
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0


def _check_layout(rate: int, channels: int, limits: ProbeLimits) -> None:
    if not limits.min_sample_rate <= rate <= limits.max_sample_rate:
        allowed = f"{limits.min_sample_rate} to {limits.max_sample_rate}"
        raise Refused("audio_decode_failed", f"The sample rate is {rate} Hz: {allowed} Hz are allowed.")
    if channels not in (1, 2):
        raise Refused("audio_decode_failed", f"The sound has {channels} channels: send mono or stereo.")


def _check_riff_size(source: BinaryIO) -> None:
    """Refuse a WAV that is shorter than it says; ffmpeg would quietly take what is there."""
    (stated,) = struct.unpack("<4xI", source.read(8).ljust(8, b"\0"))
    present = source.seek(0, SEEK_END)
    source.seek(0)
    if present < stated + 8 < _RIFF_SIZE_UNKNOWN:
        raise _damaged()


def _decode(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Yield the frames that hold samples, passing over the few packets that a cut-out MP3 cannot decode."""
    num_bad = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            num_bad += 1
            if num_bad > _MAX_BAD_PACKETS:
                raise
            continue
        yield from (frame for frame in frames if frame.samples)


def _samples_of(frame: AudioFrame, channels: int) -> Samples:
    """Samples of a frame as float32 `[samples, channels]`, full scale at 1."""
    raw = frame.to_ndarray()
    interleaved = raw.T if frame.format.is_planar else raw.reshape(-1, channels)
    name = frame.format.name.removesuffix("p")
    samples = interleaved.astype(np.float32)
    if name == "u8":
        samples -= 128.0
    samples /= _FULL_SCALE[name]
    if not np.isfinite(samples).all():
        raise Refused("audio_decode_failed", "The sound holds samples that are not numbers.")
    return samples


def _to_pcm(samples: Samples) -> bytes:
    """Little-endian 16-bit samples, clipped at full scale."""
    pcm: bytes = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
    return pcm


def _damaged() -> Refused:
    return Refused("audio_decode_failed", "The sound is damaged or incomplete.")
