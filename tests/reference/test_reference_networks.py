"""Outputs of the published networks at small sizes, reproduced with the same deterministic weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from published_fill import DATA, fill_as_published, seeded_normal
from safetensors.torch import load_file

from model.checkpoints import keymap
from model.networks.resampler import Resampler, ResamplerConfig
from model.networks.unet import UNet, UNetConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

# float32 in another operation order: relative to the largest value for the UNet, absolute for the rest.
UNET_TOLERANCE = 2e-5
TOLERANCE = 2e-5

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
