"""Laws of the networks that judge, at small sizes and with random weights."""

from __future__ import annotations

import pytest
import torch

from model.evaluation.networks.imagebind import TextTower, TextTowerConfig, VisionTower, VisionTowerConfig
from model.evaluation.networks.optical_flow import CorrelationPyramid, FlowConfig, FlowNetwork
from model.evaluation.networks.sync_classifier import SyncClassifier, SyncClassifierConfig

FLOW = FlowConfig(widths=(8, 8, 8), feature_dim=16, hidden=8, context=8, levels=2, radius=2)
END = 63


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(1)


@pytest.mark.parametrize("num_frames", [12, 48])
@torch.inference_mode()
def test_classifier_scores_clips_of_any_length(num_frames: int) -> None:
    """Each clip gets one score, which does not depend on the others of its batch."""
    classifier = SyncClassifier(SyncClassifierConfig(widths=(4, 8, 8, 8), hidden=(8, 4))).eval()
    mel, frames = torch.randn(2, 1, 128, 204), torch.randn(2, 3, num_frames, 32, 32)

    scores = classifier(mel, frames)

    assert scores.shape == (2,)
    torch.testing.assert_close(classifier(mel[:1], frames[:1]), scores[:1], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_classifier_compares_any_sound_with_any_video() -> None:
    """Embeddings can be scored in other pairs, as the judge's own training does."""
    classifier = SyncClassifier(SyncClassifierConfig(widths=(4, 8, 8, 8), hidden=(8, 4))).eval()
    # Averaged noise looks alike: one sound must be much louder than the other to be told apart.
    mel, frames = (
        torch.randn(2, 1, 128, 204) * torch.tensor([1.0, 50.0]).view(2, 1, 1, 1),
        torch.randn(2, 3, 12, 32, 32),
    )

    crossed = classifier.compare(classifier.audio(mel).flip(0), classifier.video(frames))

    torch.testing.assert_close(crossed, classifier(mel.flip(0), frames), atol=1e-6, rtol=0)
    assert not torch.allclose(crossed, classifier(mel, frames))


@torch.inference_mode()
def test_flow_has_a_vector_for_every_cell_and_pixel() -> None:
    """Coarse flow is at an eighth of the size of the full one."""
    flow = FlowNetwork(FLOW).eval()(255 * torch.rand(2, 3, 64, 96), 255 * torch.rand(2, 3, 64, 96), num_iterations=2)

    assert flow.coarse.shape == (2, 2, 8, 12)
    assert flow.full.shape == (2, 2, 64, 96)


def test_correlation_is_highest_where_a_feature_went() -> None:
    """A feature that moved by (2, 1) is found in the window of its old place, horizontal offset first."""
    first, second = torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8)
    first[0, :, 3, 3] = 1.0
    second[0, :, 4, 5] = 1.0
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")

    seen = CorrelationPyramid(first, second, levels=1, radius=2).look_up(torch.stack([columns, rows])[None])

    window = seen[0, :, 3, 3].view(5, 5)
    assert window[2 + 2, 2 + 1] == pytest.approx(2.0)
    assert window.sum() == pytest.approx(2.0)


def test_correlation_beyond_the_border_is_zero() -> None:
    """Looking out of the frame finds nothing."""
    ones = torch.ones(1, 4, 8, 8)

    seen = CorrelationPyramid(ones, ones, levels=1, radius=1).look_up(torch.full((1, 2, 8, 8), 20.0))

    assert torch.all(seen == 0)


@torch.inference_mode()
def test_pictures_are_embedded_on_the_unit_sphere() -> None:
    """Vision embeddings have length 1 and tell pictures apart."""
    tower = VisionTower(VisionTowerConfig(dim=16, depth=1, heads=2, kernel=(2, 8, 8), input_px=32, embedding_dim=6))

    embeddings = tower(torch.randn(3, 3, 32, 32))

    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))
    assert not torch.allclose(embeddings[0], embeddings[1])


@torch.inference_mode()
def test_sentences_are_read_up_to_their_end() -> None:
    """What follows the end token does not change a sentence; what precedes it does."""
    sizes = TextTowerConfig(dim=16, depth=2, heads=2, vocabulary=64, num_tokens=8, embedding_dim=6)
    tower = TextTower(sizes)
    ids = torch.tensor([[1, 5, 9, END, 0, 0, 0, 0], [1, 5, 9, END, 7, 7, 7, 7], [1, 6, 9, END, 0, 0, 0, 0]])

    plain, padded, other = tower(ids)

    torch.testing.assert_close(plain, padded)
    assert not torch.allclose(plain, other)
    assert float(plain.norm()) == pytest.approx(float(tower.scale))


@torch.inference_mode()
def test_text_scale_is_limited() -> None:
    """However far training drove it, embeddings are at most 100 long."""
    tower = TextTower(TextTowerConfig(dim=16, depth=1, heads=2, vocabulary=64, num_tokens=4, embedding_dim=6))

    tower.log_logit_scale.fill_(9.0)

    assert float(tower.scale) == 100.0
