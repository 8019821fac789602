"""Training targets of the localizer: the motion curve of a video, cut and resampled to the frames of a clip."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.media.mel import WINDOW_SAMPLES

NUM_FRAMES = 48

FloatArray = npt.NDArray[np.floating]


def label_window(start: int, num_samples: int, num_scores: int) -> tuple[int, int]:
    """Scores `[first, end)` of a whole video that belong to the 2 s of sound from sample `start` (at 16 kHz)."""
    first = -(-start * num_scores // num_samples)
    end = -(-(start + WINDOW_SAMPLES) * num_scores // num_samples)
    return first, end


def motion_label(scores: FloatArray, *, num_frames: int = NUM_FRAMES) -> npt.NDArray[np.float32]:
    """Resample scores of a clip to float32 `[num_frames]`; the first score is dropped. Not normalised."""
    kept = scores[1:]
    grid, positions = np.linspace(0, 1, num_frames), np.linspace(0, 1, len(kept))
    return np.interp(grid, positions, kept).astype(np.float32)


def normalise_label(label: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Stretch a label to [0, 1]; a constant one becomes zeros."""
    low, high = label.min(), label.max()
    return np.zeros_like(label) if high == low else (label - low) / (high - low)
