"""The latent-flow codec warps and lights the caller's own picture."""

import av
import numpy as np
import pytest
import torch

from model.codecs.latent_flow import FlowCodecConfig, LatentFlowCodec
from model.diffusion.noise import stage_noise
from model.errors import EncodeFailed

ROUNDING = 1  # grey level: sampling positions are rounded to float32


def picture(height: int = 320, width: int = 512) -> torch.Tensor:
    """A smooth random picture `[1, 3, H, W]` in [-1, 1]."""
    coarse = torch.rand(1, 3, 10, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")


def decode(latents: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """All frames at once, `[T, H, W, 3]` as integers."""
    return torch.cat(list(LatentFlowCodec().decode(latents, image))).int()


def decode_planes(latents: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """All frames as planes, turned into RGB by FFmpeg: `[T, H, W, 3]` as integers."""
    planes = torch.cat(list(LatentFlowCodec().decode_for_video(latents, image)))
    frames = [av.VideoFrame.from_ndarray(frame, format="yuv420p") for frame in planes.numpy()]
    colours = {"src_colorspace": "ITU709", "dst_colorspace": "ITU709", "src_color_range": "MPEG"}
    pictures = [frame.reformat(format="rgb24", dst_color_range="JPEG", **colours).to_ndarray() for frame in frames]
    return torch.from_numpy(np.stack(pictures)).int()


def as_bytes(image: torch.Tensor) -> torch.Tensor:
    """The picture as `[H, W, 3]` grey levels."""
    return ((image[0] + 1) * 127.5).round().int().permute(1, 2, 0)


def test_zero_latents_draw_the_picture_itself() -> None:
    """No flow leaves every frame equal to the caller's picture."""
    image = picture()

    frames = decode(torch.zeros(1, 4, 3, 10, 16), image)

    assert frames.shape == (3, 320, 512, 3)
    assert (frames - as_bytes(image)).abs().max() <= ROUNDING


def test_uniform_displacement_shifts_the_picture() -> None:
    """One unit to the right reads the picture 16 px further right, at any picture size."""
    for height, width, shift in ((320, 512, 16), (640, 1024, 32)):
        image = picture(height, width)
        latents = torch.zeros(1, 4, 2, 10, 16)
        latents[:, 0] = FlowCodecConfig().scale[0]

        frame = decode(latents, image)[1]

        expected = as_bytes(image)[:, shift:]
        assert (frame[:, :-shift] - expected).abs().max() <= ROUNDING + 1


def test_displacement_never_exceeds_its_limit() -> None:
    """However large the latents, what is drawn stays under the longest displacement."""
    codec = LatentFlowCodec()

    drawn = codec.displacement(torch.full((1, 4, 10, 16), 100.0), height=320, width=512)

    assert drawn.norm(dim=1).max() <= codec.config.max_displacement_px + 0.01
    assert drawn.norm(dim=1).min() > 0.9 * codec.config.max_displacement_px


def test_hardly_visible_displacement_is_drawn_as_none() -> None:
    """A tenth of a pixel everywhere, the noise of a still background, is suppressed."""
    codec = LatentFlowCodec()
    tenth = 0.1 / codec.config.unit_px * codec.config.scale[0]

    drawn = codec.displacement(torch.full((1, 4, 10, 16), tenth), height=320, width=512)

    assert drawn.abs().max() < 0.02


def test_gain_brightens_and_glow_adds_warm_light() -> None:
    """Channel 2 multiplies, channel 3 adds more red than blue."""
    image = torch.full((1, 3, 320, 512), -0.5)
    bright, glowing = torch.zeros(2, 1, 4, 2, 10, 16)
    bright[:, 2] = 0.5 * FlowCodecConfig().scale[2]
    glowing[:, 3] = 0.2 * FlowCodecConfig().scale[3]

    brighter = decode(bright, image)[1, 160, 256]
    warmer = decode(glowing, image)[1, 160, 256]

    assert (brighter - round(63.75 * 1.6487)).abs().max() <= ROUNDING
    assert warmer[0] > warmer[1] > warmer[2] > 64


def test_frames_do_not_depend_on_the_chunks() -> None:
    """Decoding in chunks of one frame or of eight gives the same frames."""
    latents = torch.randn(1, 4, 9, 10, 16, generator=torch.Generator().manual_seed(1))
    codec = LatentFlowCodec()

    one = torch.cat(list(codec.decode(latents, picture(), frames_per_chunk=1)))
    eight = torch.cat(list(codec.decode(latents, picture(), frames_per_chunk=8)))

    assert torch.equal(one, eight)


def test_first_frame_is_the_picture_whatever_the_latents() -> None:
    """Everything is relative to the first frame, so it cannot move."""
    image = picture()

    frames = decode(torch.randn(1, 4, 2, 10, 16), image)

    assert (frames[0] - as_bytes(image)).abs().max() <= ROUNDING
    assert (frames[1] - as_bytes(image)).abs().max() > ROUNDING


def test_every_picture_is_encoded_as_no_motion() -> None:
    """The first frame moves nowhere relative to itself."""
    latents = LatentFlowCodec().encode(picture(), noise=stage_noise(0, "keyframes"))

    assert latents.shape == (1, 4, 10, 16)
    assert latents.count_nonzero() == 0


def test_keyframes_are_handed_over_unchanged() -> None:
    """Nothing is lost between the stages."""
    latents = torch.randn(1, 4, 12, 10, 16)

    handed = LatentFlowCodec().hand_over(latents, picture(), noise=stage_noise(0, "interpolation"))

    assert torch.equal(handed, latents)


@pytest.mark.parametrize("size", [(320, 512), (480, 768)])
def test_extreme_latents_still_draw_valid_frames(size: tuple[int, int]) -> None:
    """Wild latents are clamped to something that can be drawn."""
    frames = decode(torch.randn(1, 4, 2, 10, 16) * 50, picture(*size))

    assert frames.shape == (2, *size, 3)


def test_the_farthest_displacement_reads_nothing_but_the_picture() -> None:
    """Wherever neighbouring cells pull, and however far, a white picture stays white up to its edges."""
    latents = torch.zeros(1, 4, 9, 10, 16)
    signs = torch.randint(0, 2, (2, 9, 10, 16), generator=torch.Generator().manual_seed(3)) * 2 - 1
    latents[0, :2] = 1000.0 * signs

    assert (decode(latents, torch.ones(1, 3, 320, 512)) == 255).all()
    assert (decode_planes(latents, torch.ones(1, 3, 320, 512)) == 255).all()


def test_drawing_leaves_torch_its_threads() -> None:
    """Frames are drawn in one thread; what runs between and after them has all of its own again."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = {torch.get_num_threads() for _ in LatentFlowCodec().decode(torch.zeros(1, 4, 4, 10, 16), picture())}
        seen.add(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)

    assert seen == {2}


def test_planes_hold_the_frames() -> None:
    """Read as BT.709 in video range by FFmpeg, they are what is drawn in RGB; light beyond white is cut off alike."""
    image = picture()
    latents = torch.randn(1, 4, 3, 10, 16, generator=torch.Generator().manual_seed(2))
    latents[:, 2] += FlowCodecConfig().scale[2] * torch.tensor([0.0, 0.0, 0.8]).view(1, 3, 1, 1)  # the last is flooded

    in_rgb, as_planes = decode(latents, image), decode_planes(latents, image)

    assert (in_rgb[2] == 255).float().mean() > 0.1
    for frame, (average, rare) in enumerate([(2, 10), (2, 12), (2, 20)]):
        error = (in_rgb[frame] - as_planes[frame]).abs().float()
        assert error.mean() < average
        assert error.quantile(0.999) <= rare


def test_planes_of_a_still_frame_are_those_of_ffmpeg() -> None:
    """Brightness is rounded alike, and colours are where FFmpeg puts them."""
    image = picture()
    pixels = as_bytes(image)
    image = pixels.permute(2, 0, 1)[None] / 127.5 - 1

    drawn = next(LatentFlowCodec().decode_for_video(torch.zeros(1, 4, 1, 10, 16), image))[0]

    frame = av.VideoFrame.from_ndarray(pixels.numpy().astype(np.uint8), format="rgb24")
    expected = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG").to_ndarray()
    assert drawn.shape == expected.shape == (480, 512)
    assert (drawn.int() - torch.from_numpy(expected).int()).abs().max() <= ROUNDING


def test_planes_need_even_sizes() -> None:
    """4:2:0 has a colour for every two pixels of a row and of a column."""
    with pytest.raises(EncodeFailed, match="odd size"):
        next(LatentFlowCodec().decode_for_video(torch.zeros(1, 4, 1, 10, 16), picture(321, 512)))
