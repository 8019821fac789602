"""Pictures, sounds and videos as files."""

from __future__ import annotations

import io
import subprocess
import time
from typing import TYPE_CHECKING

import av
import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from model.clips import AudioClip
from model.errors import AudioDecodeFailed, AudioTooShort, EncodeFailed, ImageDecodeFailed, InvalidInput
from model.media.audio import read_audio, write_wav
from model.media.image import MAX_PIXELS, Crop, picture_size, read_image
from model.media.video import read_video, write_video

if TYPE_CHECKING:
    from pathlib import Path

SIZE = {"height": 32, "width": 64}


def half_red(size: tuple[int, int] = (128, 64)) -> Image.Image:
    """Make a picture whose upper half is red and lower half blue."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[: size[1] // 2, :, 0] = 255
    pixels[size[1] // 2 :, :, 2] = 255
    return Image.fromarray(pixels)


def save(picture: Image.Image, path: Path, **options: object) -> Path:
    """Write a picture."""
    picture.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_pictures_are_read_at_the_asked_size(tmp_path: Path, name: str) -> None:
    """Values run from -1 to 1, channels first, the top is the top."""
    frame = read_image(save(half_red(), tmp_path / name), **SIZE)

    red, blue = frame.pixels[:, 4, 32], frame.pixels[:, 28, 32]
    torch.testing.assert_close(red, torch.tensor([1.0, -1.0, -1.0]), atol=0.05, rtol=0)
    torch.testing.assert_close(blue, torch.tensor([-1.0, -1.0, 1.0]), atol=0.05, rtol=0)
    assert frame.size == (32, 64)


def test_exif_turns_the_picture(tmp_path: Path) -> None:
    """A picture stored upside down comes back upright."""
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees

    frame = read_image(save(half_red(), tmp_path / "a.jpg", exif=exif), **SIZE)

    assert frame.pixels[2, 4, 32] > 0.9


@pytest.mark.parametrize(("fit", "corner"), [("cover", 1.0), ("contain", -1.0), ("stretch", 1.0)])
def test_each_fit_has_its_own_borders(tmp_path: Path, fit: str, corner: float) -> None:
    """A square picture fills a wide frame except with `contain`, which adds black bars."""
    white = save(Image.new("RGB", (50, 50), "white"), tmp_path / "a.png")

    frame = read_image(white, **SIZE, fit=fit)  # type: ignore[arg-type]

    assert frame.pixels[0, 0, 0] == corner
    assert frame.pixels[0, 16, 32] == 1.0


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [("RGBA", (0, 0, 0, 0), 1.0), ("L", 255, 1.0), ("I;16", 65_535, 1.0), ("P", 0, -1.0), ("1", 1, 1.0)],
)
def test_every_colour_mode_is_read(tmp_path: Path, mode: str, colour: object, expected: float) -> None:
    """Transparency becomes white, 16-bit grey is scaled, palettes are looked up."""
    picture = Image.new(mode, (64, 32), colour)  # type: ignore[arg-type]

    frame = read_image(save(picture, tmp_path / "a.png"), **SIZE)

    assert frame.pixels.min() == frame.pixels.max() == expected


def _truncated_jpeg() -> bytes:
    file = io.BytesIO()
    half_red((640, 320)).save(file, "JPEG")
    return file.getvalue()[: file.tell() // 2]


def _gif() -> bytes:
    file = io.BytesIO()
    half_red().save(file, "GIF")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", _truncated_jpeg(), _gif()],
    ids=["empty", "text", "svg", "pdf", "truncated", "gif"],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    """Other formats, whatever their name, and damaged files raise the one error."""
    file = tmp_path / "a.png"
    file.write_bytes(content)

    with pytest.raises(ImageDecodeFailed):
        read_image(file, **SIZE)


def test_crop_is_cut_out_before_the_picture_is_fitted(tmp_path: Path) -> None:
    """A rectangle within one colour shows nothing else, also of a picture that was stored at half its size."""
    corners = Image.new("RGB", (200, 100), "red")
    corners.paste("blue", (100, 0, 200, 100))
    file = save(corners, tmp_path / "a.png")

    right = read_image(file, **SIZE, crop=Crop.of_pixels((110, 10, 80, 50), 200, 100))
    of_twice_the_size = read_image(file, **SIZE, crop=Crop.of_pixels((20, 20, 160, 100), 400, 200))

    assert right.pixels.mean(dim=(1, 2)).tolist() == pytest.approx([-1, -1, 1], abs=0.02)
    assert of_twice_the_size.pixels.mean(dim=(1, 2)).tolist() == pytest.approx([1, -1, -1], abs=0.02)
    assert picture_size(file) == (200, 100)
    for reaching_out in ((0, 0, 201, 10), (150, 0, 51, 10), (0, 60, 10, 41), (-1, 0, 10, 10), (0, 0, 0, 10)):
        with pytest.raises(InvalidInput, match="200x100"):
            Crop.of_pixels(reaching_out, 200, 100)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    """The size is checked before anything is decoded."""
    file = save(Image.new("1", (MAX_PIXELS // 1000 + 1, 1000)), tmp_path / "a.png")

    with pytest.raises(ImageDecodeFailed, match="million pixels"):
        read_image(file, **SIZE)


def tone(*, seconds: float = 1.0, rate: int = 48_000, channels: int = 1) -> AudioClip:
    """Make a 440 Hz tone."""
    time = torch.arange(round(seconds * rate)) / rate
    return AudioClip(0.5 * torch.sin(2 * torch.pi * 440 * time).expand(channels, -1).contiguous(), rate)


def converted(clip: AudioClip, folder: Path, name: str, *options: str) -> Path:
    """Write a sound in any format, through FFmpeg."""
    write_wav(clip, folder / "source.wav")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-i", str(folder / "source.wav")]
    subprocess.run([*command, *options, str(folder / name)], check=True)
    return folder / name


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", ()),
        ("a.wav", ("-c:a", "pcm_s24le")),
        ("a.wav", ("-c:a", "pcm_f32le")),
        ("a.flac", ()),
        ("a.mp3", ()),
        ("a.ogg", ("-c:a", "libvorbis")),
        ("a.opus", ()),
        ("a.m4a", ()),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_is_read(tmp_path: Path, name: str, options: tuple[str, ...], channels: int) -> None:
    """Rate, channels, length and the tone survive, without a codec's delay in front."""
    clip = tone(channels=channels)

    read = read_audio(converted(clip, tmp_path, name, *options))

    assert read.sample_rate_hz == 48_000
    assert read.samples.shape[0] == channels
    assert abs(read.duration_s - 1.0) < 0.05
    middle = slice(10_000, 30_000)
    assert (read.samples[:, middle] - clip.samples[:, middle]).abs().max() < 0.05


def test_long_sounds_are_cut_and_wide_ones_mixed(tmp_path: Path) -> None:
    """Reading stops at the asked length, and more than two channels become stereo."""
    file = converted(tone(seconds=3, channels=6), tmp_path, "a.flac")

    read = read_audio(file, max_seconds=0.5)

    assert read.samples.shape == (2, 24_000)


def test_short_sounds_are_refused(tmp_path: Path) -> None:
    """A quarter of a second is the least."""
    write_wav(tone(seconds=0.2), tmp_path / "a.wav")

    with pytest.raises(AudioTooShort):
        read_audio(tmp_path / "a.wav")


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """NaN inside a floating-point WAV does not reach the model."""
    file = converted(tone(), tmp_path, "a.wav", "-c:a", "pcm_f32le")
    content = bytearray(file.read_bytes())
    content[-40_000:-39_996] = np.float32("nan").tobytes()
    file.write_bytes(content)

    with pytest.raises(AudioDecodeFailed, match="not numbers"):
        read_audio(file)


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsource.wav\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.wav", b"some text"),
        ("a.wav", b""),
        ("a.m3u8", PLAYLIST),
        ("a.mp3", PLAYLIST),
        ("a.wav", b"ffconcat version 1.0"),
    ],
    ids=["text", "empty", "playlist", "renamed playlist", "concat"],
)
def test_what_is_no_sound_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """Playlists are not followed, whatever lies beside them."""
    write_wav(tone(), tmp_path / "source.wav")
    (tmp_path / name).write_bytes(content)

    with pytest.raises(AudioDecodeFailed):
        read_audio(tmp_path / name)


def test_unusual_rates_are_refused(tmp_path: Path) -> None:
    """4 kHz is below what is analysed."""
    write_wav(AudioClip(torch.zeros(1, 8_000), 4_000), tmp_path / "a.wav")

    with pytest.raises(AudioDecodeFailed, match="sample rate"):
        read_audio(tmp_path / "a.wav")


def frames(count: int = 48) -> torch.Tensor:
    """Make a bright bar that moves one step each frame."""
    video = torch.zeros(count, 32, 64, 3, dtype=torch.uint8)
    for index in range(count):
        video[index, :, index : index + 8] = 200
    return video


def test_a_video_has_exactly_its_frames_and_its_sound(tmp_path: Path) -> None:
    """48 frames at 24 fps, in order, with AAC of the same length, and the index in front of the data."""
    path = tmp_path / "a.mp4"
    told: list[int] = []

    write_video(frames().split(10), tone(seconds=5), path, fps=24, num_frames=48, on_frames=told.append)

    video = read_video(path)
    assert told == [10, 20, 30, 40, 48]
    assert video.fps == 24
    assert np.abs(video.frames.astype(int) - frames().numpy()).mean() < 4
    with av.open(str(path)) as container:
        streams = (container.streams.video[0], container.streams.audio[0])
        assert [stream.codec_context.name for stream in streams] == ["h264", "aac"]
        assert [float(stream.duration * stream.time_base) for stream in streams] == [2.0, 2.0]
        assert streams[0].codec_context.pix_fmt == "yuv420p"
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("shape", [(48, 32, 64, 3), (48, 48, 64)])
def test_a_video_says_what_its_colours_are(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Matrix, primaries and transfer are those of BT.709, in video range, whatever the frames came as."""
    path = tmp_path / "a.mp4"

    write_video([torch.full(shape, 128, dtype=torch.uint8)], tone(), path, fps=24, num_frames=48)

    with av.open(str(path)) as container:
        next(container.decode(video=0))
        colours = container.streams.video[0].codec_context
        assert (colours.colorspace, colours.color_primaries, colours.color_trc, colours.color_range) == (1, 1, 1, 1)


def test_frames_may_be_planes(tmp_path: Path) -> None:
    """Planes of YUV are stored as they are."""
    planes = torch.full((48, 48, 64), 128, dtype=torch.uint8)
    planes[:, :32] = torch.arange(16, 16 + 4 * 48, 4).view(48, 1, 1)
    path = tmp_path / "a.mp4"

    write_video(planes.split(10), tone(), path, fps=24, num_frames=48)

    with av.open(str(path)) as container:
        stored = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert np.abs(np.stack(stored).astype(int) - planes.numpy()).mean() < 1


def test_a_short_sound_is_filled_up_with_silence(tmp_path: Path) -> None:
    """Half a second of sound does not shorten the video."""
    path = tmp_path / "a.mp4"

    write_video([frames()], tone(seconds=0.5), path, fps=24, num_frames=48)

    assert len(read_video(path).frames) == 48
    sound = read_audio(path)
    assert sound.duration_s == pytest.approx(2.0, abs=0.05)
    assert sound.samples[:, 40_000:].abs().max() < 0.01


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    """Nothing of the machine, the time or the library's version is written."""
    for name in ("a.mp4", "b.mp4"):
        write_video(frames().split(7), tone(), tmp_path / name, fps=24, num_frames=48)

    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_cancelling_leaves_nothing_behind(tmp_path: Path) -> None:
    """Whatever the hook raises ends FFmpeg, removes the file, and reaches the caller."""

    class Cancelled(BaseException):
        pass

    def cancel(_: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        write_video(frames().split(8), tone(), tmp_path / "a.mp4", fps=24, num_frames=48, on_frames=cancel)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, 40, 56])
def test_another_number_of_frames_is_an_error(tmp_path: Path, count: int) -> None:
    """A decoder that stops early or does not stop gives no file."""
    with pytest.raises(EncodeFailed):
        write_video(frames(count).split(8) if count else [], tone(), tmp_path / "a.mp4", fps=24, num_frames=48)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(48, 31, 64, 3), (48, 32, 63, 3), (48, 47, 64), (48, 48, 63)])
def test_odd_sizes_are_an_error(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """In RGB and in planes: the file has a colour for every two pixels of a row and of a column."""
    with pytest.raises(EncodeFailed, match="odd size"):
        write_video([torch.zeros(shape, dtype=torch.uint8)], tone(), tmp_path / "a.mp4", fps=24, num_frames=48)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", ["/bin/false", "/no/such/program"])
def test_a_failing_encoder_is_named_without_paths(tmp_path: Path, program: str) -> None:
    """The message says what failed and nothing of where."""
    with pytest.raises(EncodeFailed) as failed:
        write_video(frames().split(8), tone(), tmp_path / "a.mp4", fps=24, num_frames=48, ffmpeg_path=program)
    assert "/" not in str(failed.value)


def test_encoder_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its time and no more, and leaves no file."""
    monkeypatch.setattr("model.media.video._FINISH_SECONDS", 0.2)
    program, video = tmp_path / "program", tmp_path / "a.mp4"
    program.write_text(f"#!/bin/sh\ncat > {video}\nexec sleep 60\n")
    program.chmod(0o700)

    began = time.monotonic()
    with pytest.raises(EncodeFailed):
        write_video(frames().split(8), tone(), video, fps=24, num_frames=48, ffmpeg_path=str(program))
    assert time.monotonic() - began < 30
    assert not video.exists()


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    """Reading back needs a video."""
    (tmp_path / "a.mp4").write_bytes(b"nothing")

    with pytest.raises(ValueError, match="not a video"):
        read_video(tmp_path / "a.mp4")
