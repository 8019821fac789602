"""Generated motion against the law that a held-out procedural scene follows, kind by kind."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from model.clips import AudioClip, ImageFrame
from model.evaluation.localization import KeypointScore, score_keypoints
from model.generation import GenerationParams
from model.media.mel import SAMPLE_RATE_HZ
from model.training.losses import relative_error
from model.training.procedural.clip import make_clip, render_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from model.pipeline import KeyVIDPipeline

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MotionScore:
    """How close latents `[1, C, T, h, w]` come to the truth.

    Args:
        error: squared error over the truth's energy; about 1 for no motion.
        timing: correlation of the motion curves over the frames.
        placement: correlation of the time-averaged displacement over the cells.
        amplitude: mean displacement over the truth's.
    """

    error: float
    timing: float
    placement: float
    amplitude: float


@dataclass(frozen=True, slots=True)
class HeldOutClip:
    """Scores of one clip: as generated, of the draft that generation starts from, and of what was localized."""

    kind: str
    generated: MotionScore
    draft: MotionScore
    keypoints: KeypointScore


def held_out_scores(
    pipeline: KeyVIDPipeline, seeds: Iterable[int], *, on_clip: Callable[[], None] | None = None
) -> list[HeldOutClip]:
    """Generate the procedural clips of these seeds and compare with their laws. Raises: ValueError without a draft."""
    video = pipeline.config.video
    scores = []
    for seed in seeds:
        clip = make_clip(seed)
        picture = torch.from_numpy(render_picture(seed, video.height, video.width))
        image = ImageFrame(picture.permute(2, 0, 1).float() / 127.5 - 1)
        audio = AudioClip(torch.from_numpy(clip.samples)[None], SAMPLE_RATE_HZ)
        draft = pipeline.encode(image, audio, clip.prompt).draft
        if draft is None:
            raise ValueError(f"{pipeline.config.name} has no draft")
        generated = pipeline.generate_latents(image, audio, clip.prompt, GenerationParams(seed=seed % 2**32))
        truth = torch.from_numpy(clip.latents())[None]
        scores.append(
            HeldOutClip(
                clip.kind,
                score_motion(generated.latents, truth),
                score_motion(draft, truth),
                score_keypoints(generated.curve.values, clip.motion_score().tolist()),
            )
        )
        if on_clip is not None:
            on_clip()
    return scores


def score_motion(latents: torch.Tensor, truth: torch.Tensor) -> MotionScore:
    """Compare latents `[1, C, T, h, w]` of the latent-flow codec."""
    strength, true_strength = _mean_displacement(latents), _mean_displacement(truth)
    return MotionScore(
        error=float(relative_error(latents, truth)),
        timing=correlation(_motion(latents), _motion(truth)),
        placement=correlation(strength, true_strength),
        amplitude=float(strength.mean() / max(true_strength.mean(), 1e-6)),
    )


def correlation(first: FloatArray, second: FloatArray) -> float:
    """Pearson's correlation of two arrays of one shape; 0 where one of them is constant."""
    a, b = first - first.mean(), second - second.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum() / norm) if norm > 1e-12 else 0.0


def mean_by_kind(clips: Sequence[HeldOutClip], value: Callable[[HeldOutClip], float]) -> dict[str, float]:
    """Average of a figure for each kind, in the order of their names, then `all`."""
    kinds = sorted({clip.kind for clip in clips})
    means = {kind: fmean(value(clip) for clip in clips if clip.kind == kind) for kind in kinds}
    return {**means, "all": fmean(value(clip) for clip in clips)}


def _motion(latents: torch.Tensor) -> FloatArray:
    """How much the field changes from frame to frame: `[T - 1]`."""
    return latents[0, :2].diff(dim=1).abs().sum(dim=0).mean(dim=(1, 2)).double().numpy()


def _mean_displacement(latents: torch.Tensor) -> FloatArray:
    """Length of the displacement, averaged over the frames: `[h, w]`."""
    lengths: FloatArray = latents[0, :2].norm(dim=0).mean(dim=0).double().numpy()
    return lengths
