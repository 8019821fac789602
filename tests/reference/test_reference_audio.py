"""Numbers of the published audio front end, reproduced."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.clips import AudioClip
from model.media.mel import WINDOW_SAMPLES, _hann_window, _mel_filters, centre_crop, log_mel, log_mel_batch, resample

DATA = Path(__file__).parent / "data"
MEL_TOLERANCE = 5e-5  # computed in float32 in the same order; only the FFT library differs


def _clip(golden: dict[str, torch.Tensor], case: str) -> AudioClip:
    return AudioClip(golden[f"{case}.wave_i16"].float() / 32768, int(golden[f"{case}.sample_rate"]))


@pytest.mark.parametrize("case", ["mono16k_exact", "mono16k_long", "mono16k_short", "stereo44k1"])
def test_log_mel_equals_the_published_features(case: str) -> None:
    """Exact, longer, shorter and resampled stereo clips give the published spectrogram."""
    golden = load_file(DATA / "mel.safetensors")

    mel = log_mel(centre_crop(resample(_clip(golden, case), 16_000)))

    difference = (mel[0] - golden[f"{case}.mel_norm"]).abs()
    assert difference.max() <= MEL_TOLERANCE
    assert difference.mean() <= 1e-6


@pytest.mark.parametrize("case", ["mono16k_exact", "mono16k_long", "stereo44k1"])
def test_localizer_mel_is_the_first_two_seconds_without_padding(case: str) -> None:
    """Cropping to 198 columns drops exactly the padded ones."""
    golden = load_file(DATA / "mel.safetensors")
    clip = resample(_clip(golden, case), 16_000)

    mel = log_mel(AudioClip(clip.samples[:, :WINDOW_SAMPLES], 16_000), num_frames=198)

    assert (mel[0] - golden[f"{case}.mel_norm_first32000_crop198"]).abs().max() <= MEL_TOLERANCE


def test_resampling_equals_the_published_filter() -> None:
    """44.1 kHz stereo becomes the stored 16 kHz samples at the start, in the middle and at the end."""
    golden = load_file(DATA / "mel.safetensors")

    samples = resample(_clip(golden, "stereo44k1"), 16_000).samples

    middle = samples.shape[1] // 2
    assert samples.shape[1] == int(golden["stereo44k1.resampled_len"])
    torch.testing.assert_close(samples[:, :200], golden["stereo44k1.resampled_first200"], atol=1e-6, rtol=0)
    torch.testing.assert_close(
        samples[:, middle : middle + 200], golden["stereo44k1.resampled_mid200"], atol=1e-6, rtol=0
    )
    torch.testing.assert_close(samples[:, -200:], golden["stereo44k1.resampled_last200"], atol=1e-6, rtol=0)


def test_window_and_filters_equal_the_published_constants() -> None:
    """The Hann window is symmetric, and exactly one mel filter contains no bin."""
    golden = load_file(DATA / "mel_constants.safetensors")

    torch.testing.assert_close(_hann_window(), golden["hann400_symmetric"], atol=1e-7, rtol=0)
    torch.testing.assert_close(_mel_filters(), golden["mel_banks_128x256"], atol=1e-6, rtol=0)
    assert torch.nonzero(_mel_filters().sum(dim=1) == 0).flatten().tolist() == golden["empty_mel_bins"].tolist()


def test_batch_equals_single_clips() -> None:
    """Training's batched spectrogram is the service's, row by row."""
    golden = load_file(DATA / "mel.safetensors")
    samples = golden["mono16k_exact.wave_i16"].float() / 32768
    rows = torch.cat([samples, samples.flip(1)])

    batch = log_mel_batch(rows)

    single = torch.cat([log_mel(AudioClip(row[None], 16_000)) for row in rows])
    torch.testing.assert_close(batch, single, atol=MEL_TOLERANCE, rtol=0)
