"""Pictures and sounds made on the spot, good and bad, for the tests of uploads."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt

HLS_PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"></svg>'
PDF = b"%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj\n"


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """A picture whose four corners have four colours: red, green, blue, white, clockwise from the upper left."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 255, 0), (width // 2, 0, width, height // 2))
    image.paste((0, 0, 255), (width // 2, height // 2, width, height))
    image.paste((255, 255, 255), (0, height // 2, width // 2, height))
    return image


def noise(width: int = 64, height: int = 48, *, seed: int = 0) -> Image.Image:
    """A picture of noise: nothing compresses it."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def encoded(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    """An image file."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def jpeg(width: int = 64, height: int = 48) -> bytes:
    """A good picture."""
    return encoded(picture(width, height), "JPEG", quality=95)


def animation(image_format: str) -> bytes:
    """A picture of two frames."""
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    return encoded(frames[0], image_format, save_all=True, append_images=frames[1:], duration=100)


def png_bomb(width: int = 19_000, height: int = 19_000) -> bytes:
    """A PNG of a few kilobytes whose header promises hundreds of megapixels, and keeps the promise for some rows."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes((3 * width + 1) * 50), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tone(seconds: float, *, rate: int = 16_000, channels: int = 1, hertz: float = 440.0) -> npt.NDArray[np.float32]:
    """A sine of half amplitude, float32 `[samples, channels]`."""
    moments = np.arange(round(seconds * rate)) / rate
    wave_form = 0.5 * np.sin(2 * np.pi * hertz * moments)
    return np.repeat(wave_form[:, None], channels, axis=1).astype(np.float32)


def wav(seconds: float = 1.0, *, rate: int = 16_000, channels: int = 1) -> bytes:
    """A good sound."""
    return wav_of(tone(seconds, rate=rate, channels=channels), rate=rate)


def beats(seconds: float, *, at: tuple[float, ...], rate: int = 16_000) -> bytes:
    """A quiet sound with short bursts of noise that begin at the given seconds."""
    samples = np.zeros((round(seconds * rate), 1), np.float32)
    burst = np.random.default_rng(1).uniform(-0.9, 0.9, rate // 8) * np.exp(-np.arange(rate // 8) / (rate / 40))
    for moment in at:
        begin = round(moment * rate)
        samples[begin : begin + len(burst), 0] += burst.astype(np.float32)[: len(samples) - begin]
    return wav_of(samples, rate=rate)


def silence(seconds: float = 1.0) -> bytes:
    """A sound in which nothing is heard."""
    return wav_of(np.zeros((round(seconds * 16_000), 1), np.float32), rate=16_000)


def wav_of(samples: npt.NDArray[np.float32], *, rate: int) -> bytes:
    """A 16-bit WAV of samples `[samples, channels]`."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def float_wav(samples: npt.NDArray[np.float32], *, rate: int = 16_000) -> bytes:
    """A 32-bit float WAV, which can hold what is not a number."""
    body = samples.astype("<f4").tobytes()
    channels = samples.shape[1]
    layout = struct.pack("<HHIIHH", 3, channels, rate, 4 * rate * channels, 4 * channels, 32)
    chunks = b"fmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def sound(
    container_format: str,
    codec: str,
    *,
    seconds: float = 1.0,
    rate: int = 48_000,
    channels: int = 2,
    cover: bytes | None = None,
) -> bytes:
    """A tone in any container and codec that ffmpeg can write, with a PNG as its cover if there is one."""
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate)
        if cover:
            picture_stream = container.add_stream("png")
            picture_stream.width, picture_stream.height, picture_stream.pix_fmt = 64, 48, "rgb24"
            picture_stream.disposition = av.stream.Disposition.attached_pic
        stream.layout = "stereo" if channels == 2 else "mono"
        samples = (tone(seconds, rate=rate, channels=channels) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=stream.layout.name)
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        resampler = av.AudioResampler(stream.format, stream.layout, rate)
        for part in resampler.resample(frame):
            fifo.write(part)
        size = stream.codec_context.frame_size or 1024
        while (part := fifo.read(size)) is not None or (part := fifo.read(partial=True)) is not None:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
        if cover:
            packet = av.Packet(cover)
            packet.stream = picture_stream
            packet.pts = packet.dts = 0
            container.mux(packet)
    return file.getvalue()


def hours_of_opus(hours: float = 10.0) -> bytes:
    """An Ogg Opus file of many hours and a few hundred kilobytes: 120 ms packets in which nothing is coded."""
    packet = bytes((0x78 | 3, 6))  # full band, 20 ms, six frames of zero bytes
    per_page = 250
    head = struct.pack("<8sBBHIHB", b"OpusHead", 1, 1, 0, 48_000, 0, 0)
    tags = struct.pack("<8sI4sI", b"OpusTags", 4, b"none", 0)
    pages = [_ogg_page([head], 0, number=0, flags=2), _ogg_page([tags], 0, number=1)]
    samples = 0
    for number in range(int(hours * 3600 / 0.12 / per_page)):
        samples += per_page * 5760
        pages.append(_ogg_page([packet] * per_page, samples, number=number + 2))
    return b"".join(pages)


def _ogg_page(packets: list[bytes], position: int, *, number: int, flags: int = 0) -> bytes:
    header = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, position, 1, number, 0, len(packets))
    page = header + bytes(len(packet) for packet in packets) + b"".join(packets)
    return page[:22] + struct.pack("<I", _ogg_crc(page)) + page[26:]


def _ogg_crc(page: bytes) -> int:
    register = 0
    for byte in page:
        register = (register << 8 ^ _OGG_CRC[register >> 24 ^ byte]) & 0xFFFFFFFF
    return register


def _ogg_crc_entry(byte: int) -> int:
    register = byte << 24
    for _ in range(8):
        register = (register << 1 ^ (0x04C11DB7 if register & 0x80000000 else 0)) & 0xFFFFFFFF
    return register


_OGG_CRC = [_ogg_crc_entry(byte) for byte in range(256)]
