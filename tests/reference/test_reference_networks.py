"""Outputs of the published networks at small sizes, reproduced with the same deterministic weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from published_fill import DATA, fill_as_published, filled, seeded_normal
from safetensors.torch import load_file

from model.checkpoints import keymap
from model.codecs.vae import VaeCodec, VaeConfig
from model.encoders.audio import AudioHead, AudioTrunk, AudioTrunkConfig, resize_time_positions
from model.encoders.image import ClipImageConfig, ClipImageEncoder
from model.encoders.text import ClipTextConfig, ClipTextEncoder
from model.localization.network import HeadKind, Localizer, LocalizerConfig
from model.networks.resampler import Resampler, ResamplerConfig
from model.networks.unet import UNet, UNetConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

# float32 in another operation order: relative to the largest value for the UNet, absolute for the rest.
UNET_TOLERANCE = 2e-5
TOLERANCE = 2e-5
AUDIO_TOLERANCE = 1e-4  # twelve blocks at real size

# Our modules whose outputs the reference cases recorded.
UNET_TAPS = {
    "after_input_block_0.ch0_16": "encoder.0.convolution",
    "after_init_attn.ch0_16": "encoder.0",
    "input_block_1_resblock.ch0_16": "encoder.1.residual",
    "input_block_1_spatial.ch0_16": "encoder.1.spatial",
    "after_input_block_1.ch0_16": "encoder.1",
    "after_middle_block": "middle",
    "after_output_block_2": "decoder.2",
}


class GivenNoise:
    """Hands out one recorded draw."""

    def __init__(self, draw: Tensor) -> None:
        self._draw = draw

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return the draw, which must be of `shape`."""
        return self._draw.view(tuple(shape))


@pytest.fixture(scope="module")
def keyframe_unet() -> UNet:
    """The keyframe network at width 32."""
    return _small_unet(has_frame_index=True)


@pytest.fixture(scope="module")
def interpolation_unet() -> UNet:
    """The interpolation network at width 32."""
    return _small_unet(has_frame_index=False)


def _small_unet(*, has_frame_index: bool) -> UNet:
    network = UNet(UNetConfig(model_channels=32, head_width=8, has_frame_index=has_frame_index))
    fill_as_published(network, keymap.UNET)
    return network


def _golden(name: str) -> dict[str, Tensor]:
    return load_file(DATA / f"{name}.safetensors")


def _run_unet(network: UNet, golden: dict[str, Tensor], label: str, *, window: tuple[int, int] | None = None) -> Tensor:
    batch, _, frames = golden["in.x"].shape[:3]
    context = seeded_normal(f"{label}/context", batch, 77 + 16 * frames, 1024)
    with torch.no_grad():
        out: Tensor = network(
            golden["in.x"],
            golden["timesteps"],
            text=context[:, :77],
            image=context[:, 77:].unflatten(1, (frames, 16)),
            audio=seeded_normal(f"{label}/c_audio", batch, frames, 12, 768),
            fps=golden["fs"],
            frame_index=golden["frame_idx"],
            temporal_window=window,
        )
    return out


def _assert_close(actual: Tensor, expected: Tensor, *, tolerance: float) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1)


def _record(network: nn.Module, names: dict[str, str]) -> dict[str, Tensor]:
    recorded: dict[str, Tensor] = {}
    for tap, path in names.items():

        def keep(_module: nn.Module, _inputs: object, output: Tensor, tap: str = tap) -> None:
            recorded[tap] = output[:, :16] if tap.endswith(".ch0_16") else output

        network.get_submodule(path).register_forward_hook(keep)
    return recorded


@pytest.mark.parametrize(
    ("case", "label", "fixture"),
    [
        ("a_unet_keyframe", "a_unet_keyframe", "keyframe_unet"),
        ("b3_unet_interp12", "b_unet_interp12", "interpolation_unet"),
    ],
)
def test_unet_agrees_block_by_block(case: str, label: str, fixture: str, request: pytest.FixtureRequest) -> None:
    """Embedding, first blocks, middle, first up-sampling and output are those of the release."""
    golden = _golden(case)
    network: UNet = request.getfixturevalue(fixture)
    recorded = _record(network, {tap: path for tap, path in UNET_TAPS.items() if f"tap.{tap}" in golden})

    output = _run_unet(network, golden, label)

    frames = golden["in.x"].shape[2]
    embedding = network.embed(golden["timesteps"], fps=golden["fs"], frame_index=golden["frame_idx"], num_frames=frames)
    _assert_close(embedding, golden["tap.emb"], tolerance=UNET_TOLERANCE)
    for tap, value in recorded.items():
        _assert_close(value, golden[f"tap.{tap}"], tolerance=UNET_TOLERANCE)
    _assert_close(output, golden["output"], tolerance=UNET_TOLERANCE)


@pytest.mark.parametrize(("case", "window"), [("b1_unet_interp48_full", None), ("b2_unet_interp48_windowed", (12, 6))])
def test_interpolation_attends_as_released_and_in_windows(
    case: str, window: tuple[int, int] | None, interpolation_unet: UNet
) -> None:
    """48 frames agree with full temporal attention (released) and with FreeNoise's windows (the paper)."""
    golden = _golden(case)

    output = _run_unet(interpolation_unet, golden, "b_unet_interp48", window=window)

    _assert_close(output, golden["output"], tolerance=UNET_TOLERANCE)


def test_resampler_agrees() -> None:
    """Picture tokens become the same tokens per frame."""
    golden = _golden("c_resampler")
    config = ResamplerConfig(
        dim=64, depth=2, head_width=16, heads=3, num_queries=4, embedding_dim=80, output_dim=96, num_frames=48
    )
    network = Resampler(config)
    fill_as_published(network, keymap.RESAMPLER)

    with torch.no_grad():
        output = network(golden["x"])

    _assert_close(output.flatten(1, 2), golden["output"], tolerance=TOLERANCE)


def test_vae_agrees() -> None:
    """Posterior, scaled sample and decoded picture are those of the release."""
    golden = _golden("g_vae")
    codec = VaeCodec(VaeConfig(channels=32))
    fill_as_published(codec, keymap.VAE)

    with torch.no_grad():
        mean, log_variance = codec.posterior(golden["x"])
        latents = codec.encode(golden["x"], noise=GivenNoise(golden["noise"]))
        picture = codec.draw(golden["latent_scaled"])

    _assert_close(mean, golden["mean"], tolerance=TOLERANCE)
    _assert_close(log_variance, golden["logvar"], tolerance=TOLERANCE)
    _assert_close(latents, golden["latent_scaled"], tolerance=TOLERANCE)
    _assert_close(picture, golden["decoded"], tolerance=TOLERANCE)


def test_text_tower_agrees() -> None:
    """Prompts become the tokens after the last but one layer, with the final norm."""
    golden = _golden("h1_openclip_text")
    encoder = ClipTextEncoder(ClipTextConfig(dim=64, depth=3, heads=4))
    fill_as_published(encoder, keymap.CLIP_TEXT)

    with torch.no_grad():
        tokens = encoder.encode_tokens(golden["token_ids"])

    _assert_close(tokens, golden["output"], tolerance=TOLERANCE)


@pytest.mark.parametrize(
    ("case", "config"),
    [
        ("h2_openclip_image_320x512", ClipImageConfig(dim=64, depth=3, heads=4, patch_px=28)),
        ("h3_openclip_image_256x256", ClipImageConfig(dim=32, depth=2, heads=4, patch_px=56)),
    ],
)
def test_vision_tower_agrees(case: str, config: ClipImageConfig) -> None:
    """Pictures are squeezed, normalised and encoded as in the release, and so is the null picture."""
    golden = _golden(case)
    encoder = ClipImageEncoder(config)
    fill_as_published(encoder, keymap.CLIP_IMAGE)
    image = golden["low"].repeat_interleave(8, dim=2).repeat_interleave(8, dim=3).tanh()

    with torch.no_grad():
        preprocessed = encoder.preprocess(image)
        tokens = encoder.encode(image)
        null_tokens = encoder.encode(torch.zeros_like(image))

    _assert_close(preprocessed, golden["preprocessed"], tolerance=TOLERANCE)
    _assert_close(tokens, golden["tokens"], tolerance=TOLERANCE)
    _assert_close(null_tokens, golden["tokens_of_zero_image"], tolerance=TOLERANCE)


@pytest.mark.parametrize(("tokens", "size"), [("tiny", {"dim": 32, "depth": 2, "heads": 4}), ("real", {})])
def test_imagebind_audio_agrees(tokens: str, size: dict[str, int]) -> None:
    """ImageBind's audio branch gives the same tokens and embedding, small and at its real size."""
    golden = _golden("imagebind_audio")
    config = AudioTrunkConfig(**size, stride=(10, 10))
    trunk, head = AudioTrunk(config), AudioHead(config.dim)
    fill_as_published(trunk, keymap.AUDIO_TRUNK)
    fill_as_published(head, keymap.AUDIO_HEAD)

    with torch.no_grad():
        output = trunk(golden["mel"])
        projected, embedding = head.project(output), head(output)

    if tokens == "tiny":
        _assert_close(output, golden["tiny_s10.tokens"], tolerance=AUDIO_TOLERANCE)
    else:
        _assert_close(output[:, ::4], golden["real_s10.tokens_every4"], tolerance=AUDIO_TOLERANCE)
        _assert_close(output.mean(dim=-1), golden["real_s10.token_mean"], tolerance=AUDIO_TOLERANCE)
    _assert_close(projected, golden[f"{tokens}_s10.head"], tolerance=AUDIO_TOLERANCE)
    _assert_close(embedding, golden[f"{tokens}_s10.embedding_scaled20"], tolerance=AUDIO_TOLERANCE)


@pytest.mark.parametrize(("tokens", "size"), [("tiny", {"dim": 32, "depth": 2, "heads": 4}), ("real", {})])
def test_diffusion_audio_tokens_agree(tokens: str, size: dict[str, int]) -> None:
    """With positions stretched to 48 columns, sound and null sound become the tokens of the diffusion models."""
    golden = _golden("imagebind_audio")
    config = AudioTrunkConfig(**size)
    coarse = filled("modality_preprocessors.audio.pos_embedding_helper.pos_embed", (1, 229, config.dim))
    positions = resize_time_positions(coarse, grid=(12, 19), num_steps=48)
    trunk = AudioTrunk(config)
    fill_as_published(trunk, keymap.AUDIO_TRUNK, positions=positions)

    with torch.no_grad():
        output = trunk(golden["mel"])

    if tokens == "tiny":
        _assert_close(positions, golden["tiny_s10x4.pos_embed_interp"], tolerance=AUDIO_TOLERANCE)
        _assert_close(output, golden["tiny_s10x4.tokens"], tolerance=AUDIO_TOLERANCE)
        return
    with torch.no_grad():
        null_output = trunk(torch.zeros_like(golden["mel"]))
    _assert_close(positions[:, ::24], golden["real_s10x4.pos_embed_interp_every24"], tolerance=AUDIO_TOLERANCE)
    _assert_close(output[:, ::16], golden["real_s10x4.tokens_every16"], tolerance=AUDIO_TOLERANCE)
    _assert_close(null_output[:, ::64], golden["real_s10x4_zero_input.tokens_every64"], tolerance=AUDIO_TOLERANCE)


LOCALIZERS: dict[str, tuple[HeadKind, tuple[int, int], int]] = {
    "set1": ("token_mixing", (4, 4), 48),
    "set2": ("token_mixing", (10, 4), 46),
    "set3": ("per_step", (10, 4), 46),
}


@pytest.mark.parametrize("case", list(LOCALIZERS))
@pytest.mark.parametrize(("size", "prefix"), [({"dim": 32, "depth": 2, "heads": 4}, "tiny_"), ({}, "")])
def test_localizer_agrees(case: str, size: dict[str, int], prefix: str) -> None:
    """All three published localizer variants give the same motion curve and trunk tokens."""
    golden = _golden("localizer")
    head, stride, steps = LOCALIZERS[case]
    trunk = AudioTrunkConfig(**size, stride=stride, mel_frames=198, has_class_token=False)
    network = Localizer(LocalizerConfig(trunk, head=head, num_steps=steps))
    rules = keymap.LOCALIZER if head == "token_mixing" else keymap.LOCALIZER_PER_STEP
    fill_as_published(network, rules, names="published_localizer_names.txt")

    with torch.no_grad():
        tokens = network.trunk(golden["mel198"])
        curve = network.score(tokens)

    if not prefix:
        stored, every = f"{case}.trunk_tokens_every64", 64
    else:
        stored, every = f"tiny_{case}.trunk_tokens", 4 if case == "set1" else 1
    _assert_close(tokens[:, ::every], golden[stored], tolerance=AUDIO_TOLERANCE)
    _assert_close(curve, golden[f"{prefix}{case}.curve"], tolerance=AUDIO_TOLERANCE)
