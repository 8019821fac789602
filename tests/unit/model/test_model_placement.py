"""Components that stand on the device only while they work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from model import AudioClip, GenerationParams, ImageFrame, KeyVIDPipeline
from model.config import tiny
from model.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Callable

ENCODERS = {"text_encoder", "image_encoder", "resampler", "audio_encoder"}


def test_weights_come_to_the_device_and_go_home() -> None:
    """Inside, every tensor is on the device; after it, the very storages from before are back."""
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).requires_grad_(requires_grad=False)
    before = {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}
    placement = Placement({"part": module}, torch.device("meta"), offload=True)

    with placement.using("part", "nothing"):
        inside = {tensor.device.type for tensor in module.state_dict().values()}
        resident = placement.resident

    assert (inside, resident) == ({"meta"}, {"part"})
    assert {name: tensor.data_ptr() for name, tensor in module.state_dict().items()} == before
    assert placement.resident == frozenset()


def test_nothing_moves_without_offload() -> None:
    """Then all components stay where they were loaded."""
    module = nn.Linear(2, 3)
    placement = Placement({"part": module}, torch.device("meta"), offload=False)

    with placement.using("part"):
        assert module.weight.device.type == "cpu"

    assert placement.resident == {"part"}


def test_a_part_that_is_there_stays_for_the_outer_user() -> None:
    """Nested uses of one component bring it once."""
    placement = Placement({"part": nn.Linear(2, 3)}, torch.device("meta"), offload=True)

    with placement.using("part"):
        with placement.using("part"):
            pass
        assert placement.resident == {"part"}


def test_each_stage_has_only_its_own_components_there() -> None:
    """While a network runs, nothing else is on the device; encoders are gone before anything is denoised."""
    whole = KeyVIDPipeline.from_config(tiny(height=32, width=64))
    pipeline = KeyVIDPipeline(whole.config, whole.components, offload=True)
    seen: dict[str, set[str]] = {}

    def look(name: str) -> Callable[..., None]:
        return lambda *_: seen.setdefault(name, set()).update(pipeline.placement.resident)

    for name, module in pipeline.components.modules().items():
        for part in module.modules():
            part.register_forward_pre_hook(look(name))
    picture, sound = ImageFrame(torch.zeros(3, 32, 64)), AudioClip(torch.ones(1, 32_000), 16_000)
    params = GenerationParams(seed=1, num_inference_steps=1)

    video = pipeline(picture, sound, "", params).video

    assert {name: resident for name, resident in seen.items() if name not in ENCODERS} == {
        name: {name} for name in ("localizer", "keyframes_unet", "interpolation_unet", "codec")
    }
    assert all(seen[name] == ENCODERS for name in ENCODERS & seen.keys())
    assert pipeline.placement.resident == frozenset()
    assert (video.frames == whole(picture, sound, "", params).video.frames).all()
