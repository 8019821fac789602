"""Components that stand on the device only while they work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from model import AudioClip, GenerationParams, ImageFrame, KeyVIDPipeline
from model.config import tiny
from model.placement import BRIEF, Placement, visitors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LASTING = {"keyframes_unet", "interpolation_unet", "codec"}


def test_weights_come_to_the_device_and_go_home() -> None:
    """Inside, every tensor is on the device; after it, the very storages from before are back."""
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).requires_grad_(requires_grad=False)
    before = {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}
    placement = Placement({"part": module}, torch.device("meta"), visiting={"part"})

    with placement.using("part", "nothing"):
        inside = {tensor.device.type for tensor in module.state_dict().values()}
        resident = placement.resident

    assert (inside, resident) == ({"meta"}, {"part"})
    assert {name: tensor.data_ptr() for name, tensor in module.state_dict().items()} == before
    assert placement.resident == frozenset()


def test_residents_do_not_move() -> None:
    """Who does not visit stays where it was loaded."""
    module = nn.Linear(2, 3)
    placement = Placement({"part": module}, torch.device("meta"), visiting=())

    with placement.using("part"):
        assert module.weight.device.type == "cpu"

    assert placement.resident == {"part"}


@pytest.mark.parametrize(
    ("device", "offload", "resident"),
    [("cpu", False, {*BRIEF, *LASTING}), ("meta", False, LASTING), ("meta", True, set()), ("cpu", True, set())],
)
def test_encoders_leave_a_gpu_before_anything_is_denoised(device: str, offload: bool, resident: set[str]) -> None:  # noqa: FBT001  (a case)
    """On a device of its own only UNets and codec stay; memory of a CPU is the same wherever they are."""
    names = {*BRIEF, *LASTING}

    placement = Placement(
        {name: nn.Identity() for name in names},
        torch.device(device),
        visiting=visitors(names, torch.device(device), offload=offload),
    )

    assert placement.resident == resident


def test_a_loaded_model_has_only_its_lasting_parts_on_the_device(tmp_path: Path) -> None:
    """What only visits stays on the CPU when a weights folder is loaded for another device."""
    KeyVIDPipeline.from_config(tiny(height=32, width=64)).save_pretrained(tmp_path)

    pipeline = KeyVIDPipeline.from_pretrained(tmp_path, device="meta")

    places = {name: next(module.parameters()).device.type for name, module in pipeline.components.modules().items()}
    assert {name for name, place in places.items() if place == "meta"} == LASTING == pipeline.placement.resident


def test_a_part_that_is_there_stays_for_the_outer_user() -> None:
    """Nested uses of one component bring it once."""
    placement = Placement({"part": nn.Linear(2, 3)}, torch.device("meta"), visiting={"part"})

    with placement.using("part"):
        with placement.using("part"):
            pass
        assert placement.resident == {"part"}


def test_each_stage_has_only_its_own_components_there() -> None:
    """With offload nothing else is on the device while a network runs."""
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

    assert seen == {name: {name} for name in pipeline.components.modules()}
    assert pipeline.placement.resident == frozenset()
    assert (video.frames == whole(picture, sound, "", params).video.frames).all()
