"""Decoded clips on disk: frames at the model's size as JPEG, sound at 16 kHz, so that a clip is decoded once.

A frame costs about a tenth of its pixels, and any twelve frames are read without the others.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn import functional

from model.clips import AudioClip
from model.datasets.footage import FootageReader
from model.media.mel import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from model.datasets.layout import DataClip

Fit = Literal["cover", "released"]

_VERSION = 1
_JPEG_QUALITY = 95
_PCM_SCALE = 32767


@dataclass(frozen=True, slots=True)
class FrameFit:
    """How frames come to the model's size.

    Args:
        fit: `cover` crops what overhangs, as generation crops the caller's picture. `released` brings the shorter side
            to the smaller of height and width and crops the middle, with black bars beside narrow pictures: what the
            published weights were trained with.
    """

    height: int
    width: int
    fit: Fit = "cover"

    def apply(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Fit one frame uint8 `[H, W, 3]`."""
        rows, columns = frame.shape[:2]
        if self.fit == "cover":
            scale = max(self.height / rows, self.width / columns)
        else:
            scale = min(self.height, self.width) / min(rows, columns)
        size = max(round(rows * scale), 1), max(round(columns * scale), 1)
        pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
        if size != (rows, columns):
            pixels = functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)
        fitted = _centre(pixels, self.height, self.width)
        return fitted[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _centre(pixels: Tensor, height: int, width: int) -> Tensor:
    """Crop or pad `[1, 3, H, W]` around its middle; padding is black."""
    rows, columns = height - pixels.shape[2], width - pixels.shape[3]
    padding = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return functional.pad(pixels, padding)  # negative padding crops


class CachedClip:
    """One decoded clip; its frames are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        opened = cast("Any", safe_open(path, framework="pt"))  # published without types
        facts = json.loads(opened.metadata()["facts"])
        self.fps: float = facts["fps"]
        self._jpeg = opened.get_slice("jpeg")
        self._ends: list[int] = opened.get_tensor("ends").tolist()
        self._samples = opened.get_slice("samples")

    @property
    def num_frames(self) -> int:
        """Frames of the clip at its own rate."""
        return len(self._ends)

    @property
    def num_samples(self) -> int:
        """Samples of its sound at 16 kHz."""
        return int(self._samples.get_shape()[1])

    def frames(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Frames uint8 `[n, H, W, 3]`; indices after the last frame repeat it."""
        return np.stack([self._frame(min(index, self.num_frames - 1)) for index in indices])

    def sound(self, start: int, num_samples: int) -> AudioClip:
        """Samples from `start` on, fewer where the sound ends."""
        pcm: Tensor = self._samples[:, start : start + num_samples]
        return AudioClip(pcm.float() / _PCM_SCALE, SAMPLE_RATE_HZ)

    def _frame(self, index: int) -> npt.NDArray[np.uint8]:
        first = self._ends[index - 1] if index else 0
        with Image.open(io.BytesIO(self._jpeg[first : self._ends[index]].numpy().tobytes())) as picture:
            return np.asarray(picture.convert("RGB"), np.uint8)


class ClipCache:
    """A folder of decoded clips, filled as they are asked for; several processes may share it."""

    def __init__(self, folder: Path, fit: FrameFit) -> None:
        self._folder = folder
        self._fit = fit
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, clip: DataClip) -> CachedClip:
        """The decoded clip. Raises: BrokenClip when it cannot be trained on."""
        path = self._path(clip)
        if path.is_file():
            try:
                return CachedClip(path)
            except (SafetensorError, KeyError, ValueError):
                path.unlink()  # damaged, perhaps by a full disk: decode again
        self._decode(clip, path)
        return CachedClip(path)

    def _path(self, clip: DataClip) -> Path:
        """A name that changes with the file and with the size that frames are kept at."""
        facts = clip.path.stat()
        key = f"{_VERSION}/{clip.path}/{facts.st_size}/{facts.st_mtime_ns}/{self._fit}"
        return self._folder / f"{clip.path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"

    def _decode(self, clip: DataClip, path: Path) -> None:
        reader = FootageReader(clip)
        encoded = [_as_jpeg(self._fit.apply(frame)) for frame in reader.frames()]
        footage = reader.finish()
        tensors = {
            "jpeg": torch.frombuffer(bytearray(b"".join(encoded)), dtype=torch.uint8),
            "ends": torch.tensor([len(part) for part in encoded]).cumsum(0),
            "samples": (footage.sound.samples.clamp(-1, 1) * _PCM_SCALE).round().to(torch.int16),
        }
        unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
        save_file(tensors, unfinished, metadata={"facts": json.dumps({"fps": footage.fps, "name": clip.name})})
        unfinished.replace(path)


def _as_jpeg(frame: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
