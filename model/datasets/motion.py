"""Motion scores of a data set's clips: measured once, kept beside the clips, read by training.

Symbols: a clip of F frames has F - 1 scores, the mean of |u| + |v| over the pixels of each frame pair, in pixels at
the clip's own frame rate (KeyVID eq. 3, which writes a sum where text and release average).
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from model.datasets.errors import BrokenClip, DataError
from model.datasets.footage import FootageReader
from model.evaluation.metrics.motion_score import motion_score, prepare_for_flow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from torch import Tensor

    from model.datasets.layout import DataClip
    from model.evaluation.networks.optical_flow import FlowNetwork

    MeasureFlow = Callable[[Tensor, Tensor], Tensor]

EstimatorName = Literal["exact", "raft", "dis"]
"""`exact`: of clips that were drawn, whose motion is known."""

Scores = npt.NDArray[np.float32]

_RAFT_ITERATIONS = 20
# Where the authors keep theirs, below the data set's folder.
_PUBLISHED_FOLDERS = ("{split}_curves_npy", "curves_npy")


@dataclass(frozen=True, slots=True)
class ScoringReport:
    """How many clips were scored now, had scores already, and could not be scored."""

    scored: int
    kept: int
    broken: tuple[BrokenClip, ...]


def scores_path(clip: DataClip, estimator: EstimatorName) -> Path:
    """File of a clip's scores: `<video>.<estimator>.npy` beside it, float32 `[F - 1]`."""
    return clip.path.with_name(f"{clip.path.name}.{estimator}.npy")


def read_scores(root: Path, clip: DataClip) -> Scores:
    """Scores of a clip: exact ones, else RAFT's, else DIS's, else the published ones of `<split>_curves_npy/<class>/`.

    Raises: DataError when there are none, or the file is damaged.
    """
    folder = clip.path.parent.name
    published = [
        root / pattern.format(split=clip.split) / folder / f"{stem}.npy"
        for pattern in _PUBLISHED_FOLDERS
        for stem in dict.fromkeys((clip.path.stem, clip.stem))
    ]
    own = [scores_path(clip, estimator) for estimator in get_args(EstimatorName)]
    for path in (*own, *published):
        if path.is_file():
            return _load(path)
    raise DataError(f"{clip.name} has no motion scores: run `keyvid data motion-scores {root}`")


def score_clips(
    clips: Iterable[DataClip], estimator: EstimatorName, measure: MeasureFlow, *, again: bool = False
) -> ScoringReport:
    """Measure and write the scores of every clip that has none by this estimator; `again` replaces those that have.

    A file appears when it is complete, so that a stopped run goes on with the first clip that lacks one.
    """
    scored = kept = 0
    broken: list[BrokenClip] = []
    for clip in clips:
        path = scores_path(clip, estimator)
        if not again and _is_whole(path):
            kept += 1
            continue
        try:
            scores = measure_clip(clip, measure)
        except BrokenClip as error:
            broken.append(error)
            continue
        write_scores(path, scores)
        scored += 1
    return ScoringReport(scored, kept, tuple(broken))


def write_scores(path: Path, scores: Scores) -> None:
    """Write scores, all or nothing."""
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        np.save(file, scores)
    unfinished.replace(path)


@torch.inference_mode()
def measure_clip(clip: DataClip, measure: MeasureFlow) -> Scores:
    """Scores float32 `[F - 1]` of one clip; only two frames are in memory. Raises: BrokenClip."""
    reader = FootageReader(clip)
    scores: list[float] = []
    previous: Tensor | None = None
    for frame in reader.frames():
        prepared = prepare_for_flow(torch.from_numpy(frame).permute(2, 0, 1)[None])
        if previous is not None:
            scores.append(float(motion_score(measure(previous, prepared))[0]))
        previous = prepared
    reader.finish()
    return np.asarray(scores, np.float32)


def dis_flow() -> MeasureFlow:
    """Flow by dense inverse search, on the CPU. Raises: DataError without OpenCV.

    Source: "Fast Optical Flow using Dense Inverse Search" (Kroeger et al. 2016), OpenCV's medium preset.
    """
    try:
        import cv2  # noqa: PLC0415  (of the extra `train`)
    except ImportError as error:
        raise DataError("the estimator dis needs OpenCV: pip install '.[train]' in KeyVID's folder") from error
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def measure(first: Tensor, second: Tensor) -> Tensor:
        grey = [cv2.cvtColor(_pixels(frame), cv2.COLOR_RGB2GRAY) for frame in (first, second)]
        # An empty start: the last pair's flow would make scores depend on the order of clips.
        flow = search.calc(grey[0], grey[1], np.zeros((*grey[0].shape, 2), np.float32))
        return torch.from_numpy(np.asarray(flow, np.float32)).permute(2, 0, 1)[None]

    return measure


def raft_flow(weights: Path, *, device: torch.device) -> MeasureFlow:
    """Flow by RAFT, with which the published scores were measured.

    Args: weights: `raft-things.pth` as published, or its tensors by our names as safetensors.
    Raises: DataError when there are none; CheckpointMismatch.
    """
    network = load_raft(weights).to(device)

    def measure(first: Tensor, second: Tensor) -> Tensor:
        return network(first.to(device), second.to(device), num_iterations=_RAFT_ITERATIONS).full.cpu()  # type: ignore[no-any-return]

    return measure


def load_raft(weights: Path) -> FlowNetwork:
    """The published flow network. Raises: DataError; CheckpointMismatch."""
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415  (only RAFT needs weights)

    from model.checkpoints.conversion import convert, load_converted  # noqa: PLC0415
    from model.checkpoints.keymap_evaluation import OPTICAL_FLOW  # noqa: PLC0415
    from model.evaluation.networks.optical_flow import FlowConfig, FlowNetwork  # noqa: PLC0415

    if not weights.is_file():
        raise DataError(f"the estimator raft needs its weights: there is no file {weights}")
    network = FlowNetwork(FlowConfig())
    try:
        if weights.suffix == ".safetensors":
            tensors = load_file(weights)
        else:
            tensors = convert(torch.load(weights, map_location="cpu", weights_only=True), OPTICAL_FLOW)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        raise DataError(f"{weights.name} is damaged or not RAFT's file of weights: fetch it again") from error
    load_converted(network, tensors)
    return network.eval().requires_grad_(requires_grad=False)


def _pixels(frame: Tensor) -> npt.NDArray[np.uint8]:
    """A prepared frame float32 `[1, 3, H, W]` as uint8 `[H, W, 3]`."""
    return np.ascontiguousarray(frame[0].permute(1, 2, 0).round().to(torch.uint8).numpy())


def _is_whole(path: Path) -> bool:
    with suppress(DataError):
        return path.is_file() and len(_load(path)) > 0
    return False


def _load(path: Path) -> Scores:
    try:
        scores = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path.name} is damaged: remove it, and measure again") from error
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise DataError(f"{path.name} holds no motion curve")
    return np.asarray(scores, np.float32)
