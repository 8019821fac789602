"""Comparing tensors with stored ones, and filling networks as the reference cases were filled."""

from __future__ import annotations

import math

import pytest
import torch

from model.checkpoints.keymap import KeyMap, Rename
from model.checkpoints.published_names import published_shapes
from model.errors import CheckpointMismatch
from model.evaluation.parity.case import absolute, exact, relative
from model.evaluation.parity.fill import fill_as_published, filled, labelled_normal
from model.evaluation.parity.report import as_json
from model.evaluation.parity.runner import CaseResult

NAN, INF = float("nan"), float("inf")


def test_errors_are_the_largest_difference() -> None:
    """Absolute errors are in units of the values, relative ones in units of the largest value."""
    stored, ours = torch.tensor([1.0, -10.0]), torch.tensor([1.5, -10.0])

    assert absolute("x", ours, stored, tolerance=1.0).error == 0.5
    assert relative("x", ours, stored, tolerance=1.0).error == 0.05


@pytest.mark.parametrize(
    ("ours", "stored", "agrees"),
    [
        ([1.0, INF], [1.0, INF], True),
        ([1.0, INF], [1.0, -INF], False),
        ([1.0, NAN], [1.0, 2.0], False),
        ([1.0, 2.0, 3.0], [1.0, 2.0], False),
        ([], [], True),
    ],
)
def test_only_equal_infinities_and_shapes_agree(ours: list[float], stored: list[float], agrees: bool) -> None:  # noqa: FBT001  (a case)
    """Values that are not numbers and tensors of other shapes never pass."""
    assert absolute("x", torch.tensor(ours), torch.tensor(stored), tolerance=1e9).is_within is agrees


def test_exact_numbers_allow_no_error() -> None:
    """Whole numbers compare across types, and one that differs fails."""
    assert exact("frames", (0, 4, 8), torch.tensor([0, 4, 8])).is_within
    assert not exact("frames", (0, 4, 9), torch.tensor([0, 4, 8])).is_within


def test_errors_without_a_number_are_null_in_json() -> None:
    """JSON has no infinity."""
    comparison = absolute("x", torch.zeros(2), torch.zeros(3), tolerance=0.1)

    report = as_json([CaseResult("case", "kind", (comparison,), 0.1)])

    cases = report["cases"]
    assert report["passed"] is False
    assert isinstance(cases, list)
    assert cases[0]["max_error"] is None


def test_weights_depend_on_the_published_name() -> None:
    """Matrices have unit gain, norms are near 1, biases are small; names and nothing else tell draws apart."""
    matrix = filled("block.weight", (64, 256))

    assert float(matrix.norm(dim=1).mean()) == pytest.approx(1, abs=0.05)
    assert float(filled("norm.weight", (256,)).mean()) == pytest.approx(1, abs=0.05)
    assert float(filled("block.bias", (256,)).std()) == pytest.approx(0.1, abs=0.02)
    assert torch.equal(filled("gate", ()), 0.1 * labelled_normal("gate"))
    assert torch.equal(filled("block.weight", (64, 256)), matrix)
    assert not torch.equal(filled("other.weight", (64, 256)), matrix)


def test_a_module_that_names_do_not_cover_is_refused() -> None:
    """A network with a parameter that no published tensor fills is an error, not a random number."""
    rules = KeyMap(prefix="head.", renames=(Rename(r"^fc\.0\.", ""),))

    fill_as_published(torch.nn.Linear(3, 2), rules, checkpoint="avsync_classifier")
    with pytest.raises(CheckpointMismatch, match="is missing"):
        fill_as_published(torch.nn.Bilinear(3, 3, 2), KeyMap("head.", ()), checkpoint="avsync_classifier")


def test_published_lists_hold_shapes_in_all_notations() -> None:
    """Scalars have no axes; matrices have two, however the list writes them."""
    assert published_shapes("keyframe")["image_proj_model.latents"] == (1, 768, 1024)
    assert published_shapes("avsync_classifier")["head.fc.6.bias"] == (1,)
    assert published_shapes("imagebind")["modality_postprocessors.text.1.log_logit_scale"] == ()
    assert math.prod(published_shapes("raft")["module.fnet.conv1.weight"]) == 9408
