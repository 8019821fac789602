"""Pictures of what the model heard: waveform, motion curve and keyframes, as PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model.clips import KeyframePlan, MotionCurve
from model.media.audio import read_audio
from model.media.video import read_video

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from model.clips import AudioClip

_INK = "#1f2933"
_SOUND = "#7b8794"
_MOTION = "#2563eb"
_KEYFRAME = "#ea580c"
_WIDTH_IN = 12.0
_STRIP_COLUMNS = 6
_DOTS_PER_INCH = 110


def plot_motion(
    path: Path,
    *,
    audio: AudioClip,
    curve: MotionCurve,
    plan: KeyframePlan,
    fps: int,
    keyframes: Sequence[npt.NDArray[np.uint8]] = (),
) -> None:
    """Draw the waveform over the motion curve with the keyframes marked, and the keyframes' pictures below.

    Args:
        path: the PNG.
        audio: the sound that drives the video, from its first frame.
        curve: what was heard.
        plan: which frames are keyframes.
        fps: frames per second.
        keyframes: uint8 `[H, W, 3]` for each index of the plan, in order; none leaves the pictures out.
    """
    strip_rows = -(-len(keyframes) // _STRIP_COLUMNS)
    strip_height = strip_rows * _WIDTH_IN / _STRIP_COLUMNS * 0.8
    figure = Figure(figsize=(_WIDTH_IN, 4.2 + strip_height), dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    heights = [1.6, 2.6] + [strip_height / max(strip_rows, 1)] * strip_rows
    grid = figure.add_gridspec(2 + strip_rows, _STRIP_COLUMNS, height_ratios=heights)
    times = [index / fps for index in plan.indices]
    duration = len(curve.values) / fps
    sound, motion = figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, :])
    _draw_sound(sound, audio, times, duration)
    _draw_motion(motion, curve, times, fps=fps, duration=duration)
    for number, (index, picture) in enumerate(zip(plan.indices, keyframes, strict=False)):
        row, column = divmod(number, _STRIP_COLUMNS)
        _draw_picture(figure.add_subplot(grid[2 + row, column]), picture, f"frame {index} at {index / fps:.2f} s")
    figure.savefig(path, format="png")


def draw_generation(video: Path, audio: Path, keyframes: Mapping[str, Sequence[float]], picture: Path) -> None:
    """Draw a finished video: sound, motion curve, and its keyframes from the first frame on.

    Args:
        video: the MP4.
        audio: the sound that it was made from, from its beginning.
        keyframes: `indices`, `curve`, `peaks` and `valleys`, as the service reports them.
        picture: the PNG to write.
    """
    clip = read_video(video)
    curve = MotionCurve(
        tuple(keyframes["curve"]),
        peaks=tuple(int(index) for index in keyframes["peaks"]),
        valleys=tuple(int(index) for index in keyframes["valleys"]),
    )
    plan = KeyframePlan(tuple(int(index) for index in keyframes["indices"]), len(curve.values))
    plot_motion(
        picture,
        audio=read_audio(audio, max_seconds=clip.duration_s),
        curve=curve,
        plan=plan,
        fps=clip.fps,
        keyframes=[clip.frames[index] for index in plan.indices],
    )


def _draw_sound(axes: Axes, audio: AudioClip, times: Sequence[float], duration: float) -> None:
    samples = audio.window(0.0, duration).samples.mean(dim=0).numpy()
    axes.plot(np.arange(len(samples)) / audio.sample_rate_hz, samples, color=_SOUND, linewidth=0.5)
    _mark(axes, times)
    axes.set(xlim=(0, duration), ylabel="sound", xticklabels=[], yticks=[])
    _tidy(axes)


def _draw_motion(axes: Axes, curve: MotionCurve, times: Sequence[float], *, fps: int, duration: float) -> None:
    frames = np.arange(len(curve.values))
    values = np.asarray(curve.values)
    axes.fill_between(frames / fps, values, values.min(), color=_MOTION, alpha=0.12)
    axes.plot(frames / fps, values, color=_MOTION, linewidth=1.8, label="motion curve")
    for extremes, marker, name in ((curve.peaks, "^", "peak"), (curve.valleys, "v", "valley")):
        index = list(extremes)
        axes.plot(frames[index] / fps, values[index], marker, color=_MOTION, markersize=8, label=name)
    _mark(axes, times, label="keyframe")
    axes.set(xlim=(0, duration), xlabel="seconds", ylabel="motion")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False, borderaxespad=0.1)
    _tidy(axes)


def _draw_picture(axes: Axes, picture: npt.NDArray[np.uint8], title: str) -> None:
    axes.imshow(picture)
    axes.set_title(title, fontsize=9, color=_KEYFRAME)
    axes.set_axis_off()


def _mark(axes: Axes, times: Sequence[float], *, label: str | None = None) -> None:
    for number, time in enumerate(times):
        axes.axvline(time, color=_KEYFRAME, linewidth=1.0, alpha=0.8, label=label if number == 0 else None)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK)
