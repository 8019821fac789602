"""Cases of sound: the mel spectrogram, and the audio tokens of each frame."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from model.audio_context import TOKENS_PER_GROUP, split_into_segments, stretch_in_time
from model.clips import AudioClip
from model.conditioning import AudioTokens
from model.evaluation.parity.case import Case, Comparison, absolute, exact
from model.evaluation.parity.diffusion_cases import index_tokens
from model.media.mel import SAMPLE_RATE_HZ, centre_crop, hann_window, log_mel, mel_filters, resample

# Bins that hold almost no energy show the rounding of the FFT; the mean shows everything else.
_MEL_TOLERANCE = 1e-3
_MEAN_TOLERANCE = 1e-5
_CONSTANT_TOLERANCE = 1e-6
_FILTER_TOLERANCE = 1.2e-5  # one float32 step of 1127 ln(...), which processors round either way, over a flank of 22
_INDEX_TOLERANCE = 0.01  # interpolated positions reach 576 in float32
_STRETCH_TOLERANCE = 1e-5


def check_mel(case: Case) -> list[Comparison]:
    """Resampled samples and normalised spectrograms of whole and of cut sounds."""
    comparisons: list[Comparison] = []
    for name in case.groups("wave_i16"):
        clip = AudioClip(case[f"{name}.wave_i16"].float() / 32768, int(case[f"{name}.sample_rate"]))
        resampled = resample(clip, SAMPLE_RATE_HZ).samples
        for stored in case.names(f"{name}.resampled_") + case.names(f"{name}.mel_norm"):
            what = stored.removeprefix(f"{name}.")
            if what == "resampled_len":
                comparisons.append(exact(stored, [resampled.shape[1]], case[stored]))
            elif what.startswith("resampled_"):
                part = _part(resampled, what, case[stored].shape[1])
                comparisons.append(absolute(stored, part, case[stored], tolerance=_CONSTANT_TOLERANCE))
            else:
                comparisons += _compare_mel(stored, _mel(resampled, what, case[stored].shape[2]), case[stored])
    return comparisons


def _part(samples: Tensor, what: str, length: int) -> Tensor:
    """The first, middle or last samples."""
    middle = samples.shape[1] // 2
    starts = {"first": 0, "mid": middle, "last": samples.shape[1] - length}
    start = next(start for place, start in starts.items() if what.startswith(f"resampled_{place}"))
    return samples[:, start : start + length]


def _mel(samples: Tensor, what: str, num_frames: int) -> Tensor:
    """Spectrogram of the middle, or of the first samples as the localizer hears them."""
    cut = re.fullmatch(r"mel_norm_first(\d+)_crop\d+", what)
    clip = AudioClip(samples[:, : int(cut[1])] if cut else samples, SAMPLE_RATE_HZ)
    return log_mel(clip if cut else centre_crop(clip), num_frames=num_frames)[0]


def _compare_mel(name: str, actual: Tensor, expected: Tensor) -> list[Comparison]:
    mean = float((actual - expected).abs().mean()) if actual.shape == expected.shape else float("inf")
    return [
        absolute(name, actual, expected, tolerance=_MEL_TOLERANCE),
        Comparison(f"{name}, mean", mean, _MEAN_TOLERANCE),
    ]


def check_mel_constants(case: Case) -> list[Comparison]:
    """The Hann window and the triangular filters, of which exactly one holds no bin."""
    filters = mel_filters()
    return [
        absolute("hann400_symmetric", hann_window(), case["hann400_symmetric"], tolerance=_CONSTANT_TOLERANCE),
        absolute("mel_banks_128x256", filters, case["mel_banks_128x256"], tolerance=_FILTER_TOLERANCE),
        exact("empty_mel_bins", torch.nonzero(filters.sum(dim=1) == 0).flatten(), case["empty_mel_bins"]),
    ]


def check_audio_index(case: Case) -> list[Comparison]:
    """Which audio tokens each frame gets, and how tokens of pictures and sounds are stretched in time."""
    comparisons = []
    columns = max(int(case[name].max()) for name in case.names("split")) // TOKENS_PER_GROUP
    for name in case.names("split"):
        segments = case[name].shape[0]
        match = re.match(r"split_T(\d+)_seg", name)
        grid = (TOKENS_PER_GROUP, int(match[1]) if match else segments)
        split = split_into_segments(index_tokens(*grid), grid=grid, num_segments=segments)[0, ..., 0]
        comparisons.append(exact(name, split, case[name]))
    grid = (TOKENS_PER_GROUP, columns)
    released = AudioTokens(index_tokens(*grid), grid, "released", columns)
    if "select.frame_idx" in case:
        chosen = released.at_frames(case["select.frame_idx"].tolist())[0, ..., 0]
        comparisons += [exact(name, chosen, case[name]) for name in case.names("select.token_index")]
    stretched = released.at_all_frames()[0, ..., 0]
    comparisons += [
        absolute(name, stretched, case[name], tolerance=_INDEX_TOLERANCE)
        for name in case.names("expand")
        if ".interp_token_index" in name
    ]
    for name in case.groups("input"):
        comparisons.append(_stretch(case, name))
    return comparisons


def _stretch(case: Case, name: str) -> Comparison:
    """Tokens `[B, T * N, D]` of T frames, N for each, stretched to more frames."""
    match = re.fullmatch(r"expand_from(\d+)_q(\d+)", name)
    if match is None:
        raise ValueError(f"{name} does not say how many frames and tokens it holds")
    frames, queries = int(match[1]), int(match[2])
    tokens, expected = case[f"{name}.input"], case[f"{name}.output"]
    per_frame = tokens.reshape(len(tokens), frames, queries, -1)
    stretched = stretch_in_time(per_frame, expected.shape[1] // queries).flatten(1, 2)
    return absolute(f"{name}.output", stretched, expected, tolerance=_STRETCH_TOLERANCE)
