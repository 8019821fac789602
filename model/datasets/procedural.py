"""Procedural clips as a data set on disk: films with sound, and their exact motion scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from model.clips import AudioClip
from model.codecs.latent_flow import LatentFlowCodec
from model.datasets.layout import DataClip
from model.datasets.motion import scores_path, write_scores
from model.media.mel import SAMPLE_RATE_HZ
from model.media.video import write_video
from model.training.procedural.clip import make_clip, render_picture

if TYPE_CHECKING:
    from pathlib import Path

_FPS = 24
_FULL_WIDTH_PX = 512


def write_procedural_clip(root: Path, seed: int, *, height: int, width: int) -> DataClip:
    """Write the clip of a seed as `train/<kind>/clip-<seed>.mp4` with its scores beside it."""
    clip = make_clip(seed)
    codec = LatentFlowCodec()
    picture = torch.from_numpy(render_picture(seed, height, width)).permute(2, 0, 1)[None].float() / 127.5 - 1
    latents = torch.from_numpy(clip.latents())[None]
    path = root / "train" / clip.kind / f"clip-{seed:010d}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = AudioClip(torch.from_numpy(clip.samples)[None], SAMPLE_RATE_HZ)
    write_video(codec.decode_for_video(latents, picture), audio, path, fps=_FPS, num_frames=latents.shape[2])
    written = DataClip(path.relative_to(root).as_posix(), path, clip.kind, "train")
    pixels = codec.config.unit_px * width / _FULL_WIDTH_PX
    write_scores(scores_path(written, "exact"), pixels * clip.motion_score()[1:])
    return written
