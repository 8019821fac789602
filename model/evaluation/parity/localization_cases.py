"""Cases of keyframe localization: peaks, labels, and the selection of keyframes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from model.evaluation.parity.case import Case, Comparison, absolute, exact
from model.localization.labels import label_window, motion_label, normalise_label
from model.localization.plan import choose_keyframes, find_peaks_and_valleys, motion_curve, smooth
from model.localization.released_plan import ReleasedPlan, inference_plan, training_plan, uniform_training_plan

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

_LABEL_TOLERANCE = 1e-6
_SMOOTHING_SIGMA = 1.5


def check_peaks(case: Case) -> list[Comparison]:
    """Peaks and valleys of raw, averaged and Gaussian-smoothed curves."""
    comparisons = []
    for name in case.groups("curve"):
        curve = case[f"{name}.curve"].numpy()
        averaged = smooth(curve)
        gaussian = gaussian_filter1d(curve, _SMOOTHING_SIGMA, mode="reflect", truncate=4.0)
        comparisons.append(absolute(f"{name}.ma5", torch.from_numpy(averaged), case[f"{name}.ma5"], tolerance=1e-12))
        inputs = {"infer_raw": curve, "train_ma5": averaged, "eval_gauss1.5": gaussian}
        for stored in case.names(f"{name}."):
            smoothing, found, prominence = stored.removeprefix(f"{name}.").partition("_prom")
            if found:
                marks = _marks(inputs[smoothing], float(prominence))
                comparisons.append(exact(stored, marks, case[stored]))
    return comparisons


def _marks(curve: FloatArray, min_prominence: float) -> list[float]:
    """1 at peaks, -1 at valleys, 0 elsewhere."""
    peaks, valleys = find_peaks_and_valleys(curve, min_prominence=min_prominence)
    marks = np.zeros(len(curve))
    marks[list(peaks)] = 1
    marks[list(valleys)] = -1
    return [float(mark) for mark in marks]


def check_labels(case: Case) -> list[Comparison]:
    """Training targets of the localizer: window bounds, resampled motion, mel energy."""
    rows = case["label_slice_rows_start_audiolen_nlabel_i0_i1"]
    windows = [label_window(*row[:3]) for row in rows.tolist()]
    label = motion_label(case["label_in"].numpy(), num_frames=len(case["interp48"]))
    energy = motion_label(case["mel_energy_in"].numpy(), num_frames=len(case["mel_energy_interp48_norm"]))
    computed = {
        "interp48": label,
        "interp48_norm": normalise_label(label),
        "mel_energy_interp48_norm": normalise_label(energy),
    }
    return [
        exact("label_slice", torch.tensor(windows), rows[:, 3:]),
        *(
            absolute(name, torch.from_numpy(values), case[name], tolerance=_LABEL_TOLERANCE)
            for name, values in computed.items()
        ),
    ]


def check_keyframes(case: Case) -> list[Comparison]:
    """Keyframes by Algorithm 1, and by the published training and inference code with their seeds."""
    comparisons = []
    for name in sorted({name.rpartition(".")[0] for name in case.tensors}):
        if name.startswith("paper"):
            comparisons += _paper(case, name)
        elif name.startswith("nopeaks_infer"):
            plan = inference_plan((), (), draws=np.random.RandomState(0), coins=random.Random(0))
            comparisons += _compare_plan(case, name, plan)
        elif name.startswith("infer"):
            seed = int(case[f"{name}.seed"])
            peaks, valleys = find_peaks_and_valleys(case[f"{name}.curve"].numpy())
            plan = inference_plan(peaks, valleys, draws=np.random.RandomState(seed), coins=random.Random(seed))
            comparisons.append(exact(f"{name}.n_peaks", [len(peaks)], case[f"{name}.n_peaks"]))
            comparisons += _compare_plan(case, name, plan)
        else:
            comparisons += _compare_plan(case, name, _training(case, name))
    return comparisons


def _training(case: Case, name: str) -> ReleasedPlan:
    fps = float(name.partition("_fps")[2] or 0)
    if name.startswith("uniform"):
        return uniform_training_plan(start=int(case[f"{name}.frame_indices"][0]), fps=fps)
    if name.startswith("nopeaks"):
        start = int(case[f"{name}.frame_indices"][0])
        return training_plan((), (), start=start, fps=fps, draws=np.random.RandomState(0))
    start, fps, seed = case[f"{name}.start_fps_seed"].tolist()
    # The release smooths the raw curve of the whole video before it looks for peaks.
    peaks, valleys = find_peaks_and_valleys(smooth(case[f"{name}.curve"].numpy()))
    return training_plan(peaks, valleys, start=int(start), fps=fps, draws=np.random.RandomState(int(seed)))


def _paper(case: Case, name: str) -> list[Comparison]:
    """Algorithm 1, each of its choices."""
    curve = motion_curve(case[f"{name}.curve"].numpy())
    choice = choose_keyframes(curve)
    chosen = {
        "peaks_detected": curve.peaks,
        "valleys_detected": curve.valleys,
        "chosen_peaks": choice.peaks,
        "chosen_valleys": choice.valleys,
        "base_keyframes": choice.base,
        "bin_weights": choice.gaps,
        "allocated": choice.extra,
        "keyframes": choice.indices(),
    }
    return [
        exact(f"{name}.{what}", values, case[f"{name}.{what}"])
        for what, values in chosen.items()
        if f"{name}.{what}" in case
    ]


def _compare_plan(case: Case, name: str, plan: ReleasedPlan) -> list[Comparison]:
    chosen = {"frame_indices": plan.frames, "strides": plan.strides, "cond_indices": plan.conditioned}
    return [
        exact(f"{name}.{what}", values, case[f"{name}.{what}"])
        for what, values in chosen.items()
        if f"{name}.{what}" in case
    ]
