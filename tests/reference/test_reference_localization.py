"""Published peaks, labels and the paper's keyframe plans, reproduced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file
from scipy.ndimage import gaussian_filter1d

from model.localization.labels import label_window, motion_label, normalise_label
from model.localization.plan import find_peaks_and_valleys, motion_curve, plan_keyframes, smooth

DATA = Path(__file__).parent / "data"
PEAKS = load_file(DATA / "peaks.safetensors")
PLANS = load_file(DATA / "keyframe_selection.safetensors")


def _marks(curve: npt.NDArray[np.float64], min_prominence: float) -> list[int]:
    peaks, valleys = find_peaks_and_valleys(curve, min_prominence=min_prominence)
    marks = np.zeros(len(curve), dtype=np.int8)
    marks[list(peaks)] = 1
    marks[list(valleys)] = -1
    return list(marks)


@pytest.mark.parametrize("case", sorted({key.split(".")[0] for key in PEAKS}))
def test_peaks_equal_the_published_detection(case: str) -> None:
    """Raw, averaged and Gaussian-smoothed curves give the stored peaks and valleys."""
    curve = PEAKS[f"{case}.curve"]
    gaussian = gaussian_filter1d(curve, 1.5, mode="reflect", truncate=4.0)

    np.testing.assert_allclose(smooth(curve), PEAKS[f"{case}.ma5"], atol=1e-12)
    assert _marks(curve, 0.1) == list(PEAKS[f"{case}.infer_raw_prom0.1"])
    assert _marks(smooth(curve), 0.1) == list(PEAKS[f"{case}.train_ma5_prom0.1"])
    assert _marks(gaussian, 0.1) == list(PEAKS[f"{case}.eval_gauss1.5_prom0.1"])
    assert _marks(gaussian, 0.0) == list(PEAKS[f"{case}.eval_gauss1.5_prom0.0"])


@pytest.mark.parametrize("case", sorted({key.split(".")[0] for key in PLANS if key.startswith("paper")}))
def test_plan_equals_algorithm_1(case: str) -> None:
    """Peaks, valleys and all twelve keyframes of the paper's rule are exact."""
    curve = motion_curve(PLANS[f"{case}.curve"])

    plan = plan_keyframes(curve)

    assert list(curve.peaks) == PLANS[f"{case}.peaks_detected"].tolist()
    assert list(curve.valleys) == PLANS[f"{case}.valleys_detected"].tolist()
    assert list(plan.indices) == PLANS[f"{case}.keyframes"].tolist()


def test_labels_equal_the_published_ones() -> None:
    """Window bounds, the resampled label and its normalised form agree, also for the mel energy."""
    golden = load_file(DATA / "localizer_labels.safetensors")

    for start, num_samples, num_scores, first, end in golden["label_slice_rows_start_audiolen_nlabel_i0_i1"].tolist():
        assert label_window(start, num_samples, num_scores) == (first, end)
    label = motion_label(golden["label_in"])
    np.testing.assert_allclose(label, golden["interp48"], atol=1e-6)
    np.testing.assert_allclose(normalise_label(label), golden["interp48_norm"], atol=1e-6)
    energy = normalise_label(motion_label(golden["mel_energy_in"]))
    np.testing.assert_allclose(energy, golden["mel_energy_interp48_norm"], atol=1e-6)
