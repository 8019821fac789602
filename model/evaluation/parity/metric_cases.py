"""Cases of the evaluation's formulas, and of how its frames and sounds are prepared."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from model.evaluation.metrics.average_precision import average_precision, prediction_precision
from model.evaluation.metrics.clip_sampling import clip_starts, sample_frames
from model.evaluation.metrics.frechet import frechet_distance
from model.evaluation.metrics.image_preprocess import for_clip, for_fid, for_fvd, load_frames
from model.evaluation.metrics.motion_score import flow_padding, flow_size, motion_score, resize_nearest, total_motion
from model.evaluation.metrics.sync_metrics import (
    MeanAndSpread,
    aligned_sync,
    alignment_probability,
    mean_and_spread,
    relative_sync,
)
from model.evaluation.parity.case import Case, Comparison, absolute, exact, relative
from model.media.reference_compat import join_audio_frames

if TYPE_CHECKING:
    from collections.abc import Callable

_FRECHET_TOLERANCE = 1e-4
_ILL_CONDITIONED_TOLERANCE = 1e-2
_SCORE_TOLERANCE = 1e-6
_IMAGE_TOLERANCE = 1e-5
_FLOW_TOLERANCE = 1e-5  # of sums over many pixels

# Which part of the prepared picture was stored: first row and column.
_CROPS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "clip_and_avsync_224": (for_clip, 96),
    "fid_229": (for_fid, 100),
    "fvd_224": (for_fvd, 0),
}


def check_average_precision(case: Case) -> list[Comparison]:
    """AP@t of each pair of curves, and its mean."""
    pairs = list(zip(case["pred"].numpy(), case["gt"].numpy(), strict=True))
    reaches = sorted(int(name[2:]) for name in case.tensors if re.fullmatch(r"ap\d+", name))
    scores = {reach: [average_precision(p, t, reach_frames=reach) for p, t in pairs] for reach in reaches}
    comparisons = [exact(f"ap{reach}", scores[reach], case[f"ap{reach}"]) for reach in reaches]
    for name in case.names("unused_recall"):
        reach = int(name.removeprefix("unused_recall"))
        comparisons.append(exact(name, [prediction_precision(p, t, reach_frames=reach) for p, t in pairs], case[name]))
    for name in case.names("mean_"):
        means = [float(np.mean(scores[int(reach)])) for reach in re.findall(r"ap(\d+)", name)]
        comparisons.append(absolute(name, torch.tensor(means, dtype=torch.float64), case[name], tolerance=1e-12))
    return comparisons


def check_frechet(case: Case) -> list[Comparison]:
    """The distance of two feature sets."""
    comparisons = []
    for name in case.groups("fd"):
        first, second = case[f"{name}.x"].numpy(), case[f"{name}.y"].numpy()
        is_singular = min(len(first), len(second)) <= first.shape[1]
        tolerance = _ILL_CONDITIONED_TOLERANCE if is_singular else _FRECHET_TOLERANCE
        distance = torch.tensor([frechet_distance(first, second)], dtype=torch.float64)
        comparisons.append(relative(f"{name}.fd", distance, case[f"{name}.fd"], tolerance=tolerance))
    return comparisons


def check_sync_metrics(case: Case) -> list[Comparison]:
    """RelSync and AlignSync of each clip, their means and spreads."""
    relsync = relative_sync(case["gen_score"], case["gt_score"])
    probability = alignment_probability(case["gen_frames_ia"], case["gt_first_frame_ia"])
    alignsync = aligned_sync(relsync, probability)
    still = torch.zeros_like(case["gen_frames_ia"])
    computed = {
        "relsync": relsync,
        "relsync_mean_std": _pair(mean_and_spread(relsync)),
        "align_prob": probability,
        "alignsync": alignsync,
        "alignsync_mean_std": _pair(mean_and_spread(alignsync)),
        "alignsync_static_all_equal_ia": aligned_sync(relsync, alignment_probability(still, still[:, :1])),
    }
    return [absolute(name, values, case[name], tolerance=_SCORE_TOLERANCE) for name, values in computed.items()]


def _pair(summary: MeanAndSpread) -> Tensor:
    return torch.tensor([summary.mean, summary.std])


def check_motion_score(case: Case) -> list[Comparison]:
    """Scores of one flow, the sizes at which flow is measured, and nearest-neighbour frames."""
    flow = case["flow"]
    sizes = case["resize_rows_h_w_newh_neww"]
    pads = case["pad_rows_h_w_left_right_top_bottom"]
    comparisons = [
        relative("motion_mean_abs", motion_score(flow)[None], case["motion_mean_abs"], tolerance=_FLOW_TOLERANCE),
        relative("paper_sum", total_motion(flow)[None], case["paper_sum"], tolerance=_FLOW_TOLERANCE),
        exact("resize_rows", torch.tensor([flow_size(*row[:2]) for row in sizes.tolist()]), sizes[:, 2:]),
        exact("pad_rows", torch.tensor([flow_padding(*row[:2]) for row in pads.tolist()]), pads[:, 2:]),
    ]
    picture = case["nearest_in"].permute(2, 0, 1)[None]
    for name in case.names("nearest_out"):
        rows, columns = case[name].shape[1:]
        comparisons.append(exact(name, resize_nearest(picture, (rows, columns))[0], case[name]))
    return comparisons


def check_clip_sampling(case: Case) -> list[Comparison]:
    """Start times and frame numbers at each rate, with exact and with rounded presentation times."""
    comparisons = []
    for name in case.groups("starts"):
        match = re.fullmatch(r"(exact|usec)_fps([\d.]+)_dur([\d.]+)_clips(\d+)_at([\d.]+)x(\d+)", name)
        if match is None:
            raise ValueError(f"{name} does not describe a clip")
        source_fps, duration_s, fps = float(match[2]), float(match[3]), float(match[5])
        num_clips, num_frames = int(match[4]), int(match[6])
        starts = clip_starts(duration_s, num_frames / fps, num_clips)
        times = [number / source_fps for number in range(round(duration_s * source_fps))]
        if match[1] == "usec":
            # The release's reader delivers whole microseconds, times 1e-6.
            times = [round(time * 1e6) * 1e-6 for time in times]
        frames = [sample_frames(times, start_s=start, fps=fps, num_frames=num_frames) for start in starts]
        comparisons.append(exact(f"{name}.starts", starts, case[f"{name}.starts"]))
        comparisons.append(exact(f"{name}.frames", torch.tensor(frames), case[f"{name}.frames"]))
    return comparisons


def check_image_preprocess(case: Case) -> list[Comparison]:
    """Cropped and resized frames, and what CLIP, Inception and I3D get of them."""
    comparisons = []
    loaded: Tensor | None = None
    for name in case.names("clip_loader_"):
        height, width = (int(side) for side in name.removeprefix("clip_loader_").split("x"))
        frames = load_frames(case["image"], height=height, width=width)
        loaded = frames if height == width else loaded
        comparisons.append(absolute(name, frames, case[name], tolerance=_IMAGE_TOLERANCE))
    if loaded is None:
        raise ValueError("there is no square picture to prepare further")
    for prefix, (prepare, start) in _CROPS.items():
        for name in case.names(prefix):
            stop = start + case[name].shape[-1]
            prepared = prepare(loaded)[..., start:stop, start:stop]
            comparisons.append(absolute(name, prepared, case[name], tolerance=_IMAGE_TOLERANCE))
    return comparisons


def check_stereo(case: Case) -> list[Comparison]:
    """Stereo frames joined correctly, and as the release joins them."""
    frames = list(case["frames_t_c"])
    return [
        exact("true_channels_c_t", join_audio_frames(frames), case["true_channels_c_t"]),
        exact("reference_audio_c_t", join_audio_frames(frames, as_released=True), case["reference_audio_c_t"]),
    ]
