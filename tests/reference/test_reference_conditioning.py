"""Published audio tokens per frame, reproduced by the position of each token."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from model.audio_context import released_groups, split_into_segments, stretch_in_time
from model.conditioning import AudioTokens

DATA = Path(__file__).parent / "data"
GRID = (12, 48)
INTERPOLATION_TOLERANCE = 2e-3  # index values reach 559 in float32


def _index_tokens(rows: int, columns: int) -> torch.Tensor:
    """Tokens whose only channel is their own position."""
    return torch.arange(1 + rows * columns, dtype=torch.float32).view(1, -1, 1)


def test_each_frame_gets_its_column_and_the_class_token() -> None:
    """48 columns for 48 frames: thirteen tokens each."""
    diffusion = load_file(DATA / "f2_audio_tokens_per_frame.safetensors")
    audio = load_file(DATA / "audio_conditioning_index.safetensors")

    segments = split_into_segments(_index_tokens(*GRID), grid=GRID, num_segments=48)

    assert torch.equal(segments[0, :, :, 0].long(), diffusion["split_token_index"])
    assert torch.equal(segments[0, :, :, 0].int(), audio["split48.token_index"])


def test_fewer_segments_share_columns() -> None:
    """19 columns for 12 segments of two columns, starts rounded half to even."""
    golden = load_file(DATA / "audio_conditioning_index.safetensors")

    segments = split_into_segments(_index_tokens(12, 19), grid=(12, 19), num_segments=12)

    assert torch.equal(segments[0, :, :, 0].int(), golden["split_T19_seg12.token_index"])


def test_keyframes_take_the_regrouped_tokens() -> None:
    """Thirteen tokens per frame regrouped by twelve lag behind, as the published weights expect."""
    golden = load_file(DATA / "f2_audio_tokens_per_frame.safetensors")
    audio = load_file(DATA / "audio_conditioning_index.safetensors")
    tokens = AudioTokens(_index_tokens(*GRID), GRID, "released", 48)

    every = tokens.at_frames([list(range(48))])
    chosen = tokens.at_frames(golden["stage1_keyframe_idx"].tolist())
    others = tokens.at_frames(audio["select.frame_idx"].tolist())

    assert torch.equal(every[0, :, :, 0].long(), golden["stage1_all48_token_index"])
    assert torch.equal(chosen[0, :, :, 0].long(), golden["stage1_selected_token_index"])
    assert torch.equal(others[0, :, :, 0].int(), audio["select.token_index_12x12"])


def test_interpolation_resamples_the_groups() -> None:
    """52 groups become 48 by linear interpolation between group centres."""
    golden = load_file(DATA / "f2_audio_tokens_per_frame.safetensors")
    audio = load_file(DATA / "audio_conditioning_index.safetensors")
    index = _index_tokens(*GRID)

    stretched = AudioTokens(index, GRID, "released", 48).at_all_frames()[0, :, :, 0]

    groups = released_groups(index, grid=GRID, num_frames=48)[0, :, :, 0]
    expected = golden["stage2_interp_matrix_48x52"] @ groups
    torch.testing.assert_close(stretched, expected, atol=INTERPOLATION_TOLERANCE, rtol=0)
    torch.testing.assert_close(
        stretched, golden["stage2_expanded_token_index_interp"], atol=INTERPOLATION_TOLERANCE, rtol=0
    )
    torch.testing.assert_close(stretched, audio["expand48.interp_token_index_48x12"], atol=0.01, rtol=0)


def test_picture_tokens_stretch_the_same_way() -> None:
    """Twelve frames of sixteen queries become 48."""
    golden = load_file(DATA / "audio_conditioning_index.safetensors")

    stretched = stretch_in_time(golden["expand_from12_q16.input"].view(1, 12, 16, 8), 48)

    torch.testing.assert_close(stretched.flatten(1, 2), golden["expand_from12_q16.output"], atol=1e-5, rtol=0)
