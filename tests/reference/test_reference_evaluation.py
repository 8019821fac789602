"""The judges' published tensors, by name and shape, against our networks at full size (without storage)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from accelerate import init_empty_weights

from model.checkpoints import keymap_evaluation
from model.checkpoints.conversion import convert
from model.checkpoints.published_names import Checkpoint, published_shapes
from model.evaluation.networks.imagebind import TextTower, TextTowerConfig, VisionTower, VisionTowerConfig
from model.evaluation.networks.optical_flow import FlowConfig, FlowNetwork
from model.evaluation.networks.sync_classifier import SyncClassifier, SyncClassifierConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from model.checkpoints.keymap import KeyMap

JUDGES: dict[str, tuple[Checkpoint, KeyMap, Callable[[], nn.Module]]] = {
    "sync_classifier": (
        "avsync_classifier",
        keymap_evaluation.SYNC_CLASSIFIER,
        lambda: SyncClassifier(SyncClassifierConfig()),
    ),
    "optical_flow": ("raft", keymap_evaluation.OPTICAL_FLOW, lambda: FlowNetwork(FlowConfig())),
    "vision": ("imagebind", keymap_evaluation.IMAGEBIND_VISION, lambda: VisionTower(VisionTowerConfig())),
    "text": ("imagebind", keymap_evaluation.IMAGEBIND_TEXT, lambda: TextTower(TextTowerConfig())),
}


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("judge", list(JUDGES))
def test_published_tensors_fill_each_judge_exactly(judge: str) -> None:
    """Every tensor of a full-size judge comes from one published tensor of its shape, and none is left over."""
    checkpoint, rules, build = JUDGES[judge]
    with init_empty_weights(include_buffers=True):
        module = build()
    published = {name: torch.empty(shape, device="meta") for name, shape in published_shapes(checkpoint).items()}

    converted = convert(published, rules)

    assert _shapes(converted) == _shapes(module.state_dict())
