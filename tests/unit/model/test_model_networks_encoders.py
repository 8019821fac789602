"""Encoders of sound, words and pictures, and the localizer's heads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from model.encoders.audio import AudioHead, AudioTrunk, AudioTrunkConfig, StochasticDepth, resize_time_positions
from model.encoders.image import (
    ClipImageConfig,
    ClipImageEncoder,
    ConvImageConfig,
    ConvImageEncoder,
    saliency_map,
)
from model.encoders.text import ClipTextConfig, ClipTextEncoder, WordTextConfig, WordTextEncoder
from model.errors import CheckpointMissing
from model.localization.network import Localizer, LocalizerConfig

if TYPE_CHECKING:
    from pathlib import Path

SMALL = AudioTrunkConfig(dim=16, depth=2, heads=2, kernel=(128, 16), stride=(128, 4))
START, END = "<|startoftext|>", "<|endoftext|>"


@pytest.mark.parametrize(
    ("config", "grid", "num_tokens"),
    [
        (AudioTrunkConfig(stride=(10, 10)), (12, 19), 229),
        (AudioTrunkConfig(), (12, 48), 577),
        (AudioTrunkConfig(stride=(4, 4), mel_frames=198, has_class_token=False), (29, 46), 1334),
        (SMALL, (1, 48), 49),
    ],
)
def test_patch_grids_are_the_published_ones(config: AudioTrunkConfig, grid: tuple[int, int], num_tokens: int) -> None:
    """Kernel, stride and mel size give the known grids and token counts."""
    assert (config.grid, config.num_tokens) == (grid, num_tokens)


@pytest.mark.parametrize("wrong", [{"dim": 10, "heads": 4}, {"mel_frames": 8}])
def test_impossible_trunks_are_refused(wrong: dict[str, int]) -> None:
    """Heads that do not divide the width, and mels smaller than a patch, are errors."""
    with pytest.raises(ValueError, match=r"do not divide|holds no patch"):
        AudioTrunkConfig(**wrong)


def test_trunk_refuses_another_mel() -> None:
    """A mel of another length is an error, not a silent misalignment of positions."""
    with pytest.raises(ValueError, match="expected a mel"):
        AudioTrunk(SMALL)(torch.zeros(1, 1, 128, 198))


def test_stochastic_depth_acts_in_training_only() -> None:
    """Whole samples are dropped, and the others scaled up, while training; nothing happens otherwise."""
    torch.manual_seed(0)
    layer, branch = StochasticDepth(0.5), torch.ones(200, 3)

    trained = layer.train()(branch)

    assert set(trained.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(trained[:, 0], trained[:, 1])
    assert torch.equal(layer.eval()(branch), branch)


def test_audio_embedding_has_the_length_of_its_scale() -> None:
    """Embeddings have length exp(log_logit_scale) = 20, at most 100."""
    torch.manual_seed(0)
    head, tokens = AudioHead(16, 8), torch.randn(2, 5, 16)

    torch.testing.assert_close(head(tokens).norm(dim=-1), torch.full((2,), 20.0))
    head.log_logit_scale.fill_(9.0)
    torch.testing.assert_close(head(tokens).norm(dim=-1), torch.full((2,), 100.0))


def test_stretched_positions_keep_class_and_rows() -> None:
    """Stretching along time keeps the class position and never mixes frequency rows."""
    rows = torch.arange(3.0).view(1, 3, 1).expand(1, 3, 5).reshape(1, 15, 1)
    positions = torch.cat([torch.full((1, 1, 1), 9.0), rows], dim=1)

    stretched = resize_time_positions(positions, grid=(3, 5), num_steps=12)

    assert stretched[0, 0, 0] == 9
    assert torch.equal(stretched[0, 1:, 0], torch.arange(3.0).repeat_interleave(12))
    assert torch.equal(resize_time_positions(positions, grid=(3, 5), num_steps=5), positions)


def test_positions_of_another_grid_are_refused() -> None:
    """Positions that are not a class token and the named grid are an error."""
    with pytest.raises(ValueError, match="12x19 grid"):
        resize_time_positions(torch.zeros(1, 100, 4), grid=(12, 19), num_steps=48)


def test_per_step_localizer_needs_a_column_per_step() -> None:
    """A head that reads columns alone refuses another number of steps."""
    assert Localizer(LocalizerConfig(SMALL, head="per_step"))(torch.zeros(2, 1, 128, 204)).shape == (2, 48)
    with pytest.raises(ValueError, match="cannot read 48 columns"):
        LocalizerConfig(SMALL, head="per_step", num_steps=46)


@pytest.mark.parametrize("head", ["per_step", "token_mixing"])
def test_localizer_ignores_the_class_token(head: str) -> None:
    """The class token of a trunk does not shift the columns that the head reads."""
    torch.manual_seed(0)
    network = Localizer(LocalizerConfig(SMALL, head=head))
    tokens = torch.randn(1, 49, 16)
    changed = tokens.clone()
    changed[:, 0] += 1

    assert torch.equal(network.score(changed), network.score(tokens))


def test_words_hash_alike_everywhere() -> None:
    """Case and punctuation do not matter, padding is 0, and buckets do not depend on the process."""
    encoder = WordTextEncoder(WordTextConfig())

    buckets = encoder.tokenize(["Dog, barking!", "dog BARKING", ""])

    assert buckets[0].tolist() == [266, 1923, 0, 0, 0, 0, 0, 0]
    assert torch.equal(buckets[0], buckets[1])
    assert not buckets[2].any()


def test_words_that_were_never_learnt_say_nothing() -> None:
    """After training, an unknown word is no word, and known ones keep what they say."""
    encoder = WordTextEncoder(WordTextConfig(dim=4))
    before = encoder.encode(["dog"])

    encoder.forget_all_but(["dog", "barking"])

    assert torch.equal(encoder.encode(["quux"]), encoder.encode([""]))
    assert torch.equal(encoder.encode(["dog"]), before)


def test_long_prompts_keep_their_first_words() -> None:
    """Words beyond the last slot are left out."""
    encoder = WordTextEncoder(WordTextConfig(num_tokens=2, dim=4))

    assert torch.equal(encoder.encode(["a b c d"]), encoder.encode(["a b"]))
    assert encoder.encode(["a b", ""]).shape == (2, 2, 4)


def test_unknown_words_take_no_place_from_later_ones() -> None:
    """A long prompt says what its known words say; a short one keeps the place of every word."""
    encoder = WordTextEncoder(WordTextConfig(num_tokens=3, dim=4))
    encoder.forget_all_but(["dog", "barking"])

    assert torch.equal(encoder.encode(["brown furry animal named dog barking"]), encoder.encode(["dog barking"]))
    assert encoder.tokenize(["brown dog"])[0].count_nonzero() == 2
    assert torch.equal(encoder.encode(["one two three four"]), encoder.encode([""]))


def test_picture_tokens_are_features_in_reading_order() -> None:
    """Features of a picture of any size lie on the grid; tokens run along rows."""
    torch.manual_seed(0)
    encoder = ConvImageEncoder(ConvImageConfig(input=(16, 32), channels=(4, 6), dim=5)).eval()
    image = torch.rand(2, 3, 50, 70) * 2 - 1

    features, tokens = encoder.features(image), encoder.encode(image)

    assert features.shape == (2, 5, *encoder.config.grid) == (2, 5, 4, 8)
    assert torch.equal(tokens[:, 8 * 2 + 3], features[:, :, 2, 3])


def test_input_must_be_halvable() -> None:
    """An input that cannot be halved by every stage is an error."""
    with pytest.raises(ValueError, match="cannot be halved 3 times"):
        ConvImageConfig(input=(80, 100))


def test_saliency_finds_what_differs_from_the_borders() -> None:
    """A patch of another colour stands out; a plain picture has nothing that does."""
    plain = torch.full((1, 3, 80, 128), -0.5)
    picture = plain.clone()
    picture[:, 0, 30:50, 60:80] = 0.9

    found = saliency_map(picture)

    assert found.max() == 1
    assert found[0, 0, 32:48, 62:78].min() > 0.5
    assert found[0, 0, :20].max() < 0.1
    assert saliency_map(plain).max() == 0


def _write_vocabulary(folder: Path) -> None:
    """A tokenizer whose only words are `a`, `b` and `ab`."""
    vocabulary = ["!", "a", "b", "a</w>", "b</w>", "ab</w>", START, END]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")


def test_prompts_are_padded_with_zeros(tmp_path: Path) -> None:
    """Tokens are start, words, end, zeros; a prompt that is too long keeps its end token."""
    _write_vocabulary(tmp_path)
    encoder = ClipTextEncoder(ClipTextConfig(dim=8, depth=1, heads=2, vocabulary=8, num_tokens=6))

    encoder.load_tokenizer(tmp_path)

    assert encoder.tokenize(["ab A", "", "a a a a a a"]).tolist() == [
        [6, 5, 3, 7, 0, 0],
        [6, 7, 0, 0, 0, 0],
        [6, 3, 3, 3, 3, 7],
    ]
    assert encoder.encode(["ab", ""]).shape == (2, 6, 8)


def test_vocabulary_survives_saving(tmp_path: Path) -> None:
    """A saved vocabulary tokenizes alike."""
    _write_vocabulary(tmp_path)
    config = ClipTextConfig(dim=8, depth=1, heads=2, vocabulary=8, num_tokens=6)
    first, second = ClipTextEncoder(config), ClipTextEncoder(config)

    first.load_tokenizer(tmp_path)
    first.save_tokenizer(tmp_path / "saved")
    second.load_tokenizer(tmp_path / "saved")

    assert torch.equal(second.tokenize(["ab b"]), first.tokenize(["ab b"]))


def test_text_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    """Encoding before a vocabulary was loaded, and loading from an empty folder, are checkpoint errors."""
    encoder = ClipTextEncoder(ClipTextConfig(dim=8, depth=1, heads=2, vocabulary=8, num_tokens=6))

    with pytest.raises(CheckpointMissing):
        encoder.encode(["a"])
    with pytest.raises(CheckpointMissing):
        encoder.load_tokenizer(tmp_path)


def test_small_pictures_are_enlarged_without_blur() -> None:
    """A picture smaller than the input is only interpolated: its corners keep their colours."""
    encoder = ClipImageEncoder(ClipImageConfig(dim=8, depth=1, heads=2, patch_px=8, input_px=16))
    image = torch.rand(1, 3, 8, 12) * 2 - 1

    restored = encoder.preprocess(image) * torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)

    corners = restored[:, :, [0, -1]][..., [0, -1]] - restored[:, :, :1, :1]
    expected = (image[:, :, [0, -1]][..., [0, -1]] - image[:, :, :1, :1]) / 2
    torch.testing.assert_close(corners, expected, rtol=1e-4, atol=1e-5)
    assert encoder.encode(image).shape == (1, 5, 8)
