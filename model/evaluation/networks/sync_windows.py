"""What our own judge of sync sees and hears of two seconds: overlapping windows of small frames and of mel columns.

The published classifier compares two seconds with two seconds, and learns from videos long enough to shift them.
Procedural clips are two seconds long, so the windows are shorter, and a clip's score is the mean over its windows.
Frames are shown as what has changed since the one before: a small network on few clips is lost among pictures.
Symbols: W windows a clip, F frames a window.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from model.evaluation.networks.sync_classifier import SyncClassifierConfig

_MEL_COLUMNS_PER_S = 100
_VIDEO_FPS = 24
_CHANGE_SCALE = 4.0  # most changes are small; brings them to about the spread of a picture
_FFT_OVERHANG_COLUMNS = 2  # a window of one second has 98 whole analysis frames


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """A judge's network and its windows.

    Args:
        classifier: widths of the network.
        height, width: of the frames that it sees, in pixels.
        starts: first frame of each window, of the clip's 48.
        window_frames: frames that a window spans.
        frame_step: every how many of them is seen.
    """

    classifier: SyncClassifierConfig = field(
        default_factory=lambda: SyncClassifierConfig(widths=(16, 32, 64, 128), hidden=(128, 64))
    )
    height: int = 40
    width: int = 64
    starts: tuple[int, ...] = (0, 6, 12, 18, 24)
    window_frames: int = 24
    frame_step: int = 2

    @property
    def mel_columns(self) -> int:
        """Mel columns of a window."""
        return self.window_frames * _MEL_COLUMNS_PER_S // _VIDEO_FPS - _FFT_OVERHANG_COLUMNS

    @property
    def seen(self) -> tuple[int, ...]:
        """Frames of a clip that lie in some window, ascending."""
        return tuple(sorted({frame for start in self.starts for frame in self.frames_from(start)}))

    def frames_from(self, start: int) -> range:
        """Frames of the window that begins at `start`."""
        return range(start, start + self.window_frames, self.frame_step)


def video_windows(config: JudgeConfig, frames: Tensor) -> Tensor:
    """Windows `[W, 3, F, height, width]` of a clip's `seen` frames, uint8 `[n, H, W, 3]` of any size.

    Values are changes since the frame before, those of a window's first frame zero.
    """
    pixels = frames.permute(0, 3, 1, 2).float() / 127.5 - 1
    small = functional.interpolate(pixels, size=(config.height, config.width), mode="area")
    place = {frame: index for index, frame in enumerate(config.seen)}
    picked = [small[[place[frame] for frame in config.frames_from(start)]] for start in config.starts]
    windows = torch.stack(picked).transpose(1, 2)
    return _CHANGE_SCALE * windows.diff(dim=2, prepend=windows[:, :, :1])


def mel_windows(config: JudgeConfig, mel: Tensor) -> Tensor:
    """Windows `[W, 1, 128, mel_columns]` of a clip's normalised log-mel `[1, 128, 204]`."""
    first = [round(start * _MEL_COLUMNS_PER_S / _VIDEO_FPS) for start in config.starts]
    return torch.stack([mel[..., start : start + config.mel_columns] for start in first])
