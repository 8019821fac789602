"""The published checkpoints' tensors, by name and shape, against our networks at full size (without storage)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from accelerate import init_empty_weights

from model.checkpoints import keymap
from model.checkpoints.conversion import convert, load_converted, unmapped
from model.checkpoints.published_names import Checkpoint, published_shapes
from model.codecs.vae import VaeCodec, VaeConfig
from model.encoders.audio import AudioHead, AudioTrunk, AudioTrunkConfig
from model.encoders.image import ClipImageConfig, ClipImageEncoder
from model.encoders.text import ClipTextConfig, ClipTextEncoder
from model.errors import CheckpointMismatch
from model.localization.network import Localizer, LocalizerConfig
from model.networks.resampler import Resampler, ResamplerConfig
from model.networks.unet import UNet, UNetConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

KEYFRAME_FILE: Checkpoint = "keyframe"
LOCALIZER_FILE: Checkpoint = "localizer"
ONLY_IN_KEYFRAMES = "model.diffusion_model.frame_idx_embedding."

COMPONENTS: dict[str, tuple[keymap.KeyMap, Callable[[], nn.Module]]] = {
    "unet": (keymap.UNET, lambda: UNet(UNetConfig())),
    "resampler": (keymap.RESAMPLER, lambda: Resampler(ResamplerConfig())),
    "audio_trunk": (keymap.AUDIO_TRUNK, lambda: AudioTrunk(AudioTrunkConfig())),
    "audio_head": (keymap.AUDIO_HEAD, AudioHead),
    "clip_text": (keymap.CLIP_TEXT, lambda: ClipTextEncoder(ClipTextConfig())),
    "clip_image": (keymap.CLIP_IMAGE, lambda: ClipImageEncoder(ClipImageConfig())),
    "vae": (keymap.VAE, lambda: VaeCodec(VaeConfig())),
}


def _published(file: Checkpoint = KEYFRAME_FILE) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in published_shapes(file).items()}


def _empty(build: Callable[[], nn.Module]) -> nn.Module:
    with init_empty_weights(include_buffers=True):
        return build()


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("component", list(COMPONENTS))
def test_published_tensors_fill_each_component_exactly(component: str) -> None:
    """Every tensor of a full-size component comes from one published tensor of its shape, and none is left over."""
    rules, build = COMPONENTS[component]
    module = _empty(build)

    converted = convert(_published(), rules)

    assert _shapes(converted) == _shapes(module.state_dict())


def test_interpolation_network_lacks_only_the_frame_index() -> None:
    """The interpolation checkpoint fills the network without frame indices."""
    module = _empty(lambda: UNet(UNetConfig(has_frame_index=False)))
    published = {name: tensor for name, tensor in _published().items() if not name.startswith(ONLY_IN_KEYFRAMES)}

    converted = convert(published, keymap.UNET)

    assert _shapes(converted) == _shapes(module.state_dict())


@pytest.mark.parametrize(("has_frame_index", "expected"), [(True, 1_467_252_052), (False, 1_465_201_492)])
def test_unets_have_the_published_size(*, has_frame_index: bool, expected: int) -> None:
    """Both full-size UNets have as many parameters as the published ones."""
    module = _empty(lambda: UNet(UNetConfig(has_frame_index=has_frame_index)))

    assert sum(parameter.numel() for parameter in module.parameters()) == expected


def test_published_localizer_fills_ours() -> None:
    """The published localizer, which holds all of ImageBind, fills ours exactly."""
    trunk = AudioTrunkConfig(stride=(4, 4), mel_frames=198, has_class_token=False)
    module = _empty(lambda: Localizer(LocalizerConfig(trunk)))

    converted = convert(_published(LOCALIZER_FILE), keymap.LOCALIZER)

    assert _shapes(converted) == _shapes(module.state_dict())


def test_every_published_tensor_has_an_owner() -> None:
    """No tensor of the published diffusion checkpoint is skipped without a stated reason."""
    names = published_shapes(KEYFRAME_FILE)

    assert unmapped(names, [rules for rules, _ in COMPONENTS.values()]) == []
    assert unmapped([*names, "model_ema.decay"], [rules for rules, _ in COMPONENTS.values()]) == ["model_ema.decay"]


def test_stacked_projections_are_cut_in_order() -> None:
    """CLIP's stacked projections become query, key and value."""
    stacked = torch.arange(6.0).view(6, 1)

    converted = convert(
        {"embedder.model.visual.transformer.resblocks.0.attn.in_proj_weight": stacked}, keymap.CLIP_IMAGE
    )

    values = {name.rsplit(".", 2)[1]: tensor.flatten().tolist() for name, tensor in converted.items()}
    assert values == {"q_proj": [0.0, 1.0], "k_proj": [2.0, 3.0], "v_proj": [4.0, 5.0]}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("model.diffusion_model.init_attn.0.proj_in.weight", (4, 4, 3)),
        ("embedder.model.visual.transformer.resblocks.0.attn.in_proj_bias", (4,)),
    ],
)
def test_tensors_of_a_wrong_kind_are_refused(name: str, shape: tuple[int, ...]) -> None:
    """A tensor that is not the 1x1 convolution or the stack that its rule expects is an error."""
    rules = keymap.UNET if name.startswith(keymap.UNET.prefix) else keymap.CLIP_IMAGE

    with pytest.raises(CheckpointMismatch, match="of shape"):
        convert({name: torch.zeros(shape)}, rules)


def test_two_tensors_for_one_place_are_refused() -> None:
    """A file that holds both a published name and ours is an error."""
    tensors = {f"image_proj_model.{name}": torch.zeros(1) for name in ("latents", "queries")}

    with pytest.raises(CheckpointMismatch, match="two tensors map to queries"):
        convert(tensors, keymap.RESAMPLER)


def test_loading_names_what_does_not_fit() -> None:
    """Missing, unexpected and misshapen tensors are listed by name."""
    module = torch.nn.Linear(2, 3)

    with pytest.raises(CheckpointMismatch, match=r"bias is missing; gain is not expected; weight is \[2, 2\]"):
        load_converted(module, {"weight": torch.zeros(2, 2), "gain": torch.zeros(1)})
