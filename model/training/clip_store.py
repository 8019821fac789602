"""Procedural clips on disk, and batches of them in an order that depends on nothing but the step.

Clips are drawn once, in shards, by worker processes, and read back by memory map; every stage of training shares them.
A run that starts early draws from few clips at first and from more with every step, at a rate that its schedule fixes:
how fast the workers happen to be changes how long a step waits, never what it sees.
"""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.media.mel import log_mel_batch, normalize_loudness
from model.training.procedural.catalogue import KINDS
from model.training.procedural.clip import make_clip

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

CLIPS_PER_SHARD = 256
MAX_BASES = 4


@dataclass(frozen=True, slots=True)
class ClipSchedule:
    """Which clips a run draws from at each step.

    Args:
        first_seed: seed of the first clip; a multiple of `CLIPS_PER_SHARD`.
        num_clips: clips in the end.
        ready: clips that the first step waits for.
        per_step: clips that every step adds, until there are `num_clips`.
    """

    first_seed: int
    num_clips: int
    ready: int
    per_step: int

    def available(self, step: int) -> int:
        """Number of clips that the batch of `step` is drawn from."""
        return min(self.num_clips, self.ready + self.per_step * step)

    def seeds(self, step: int, *, batch_size: int, order_seed: int) -> list[int]:
        """Seeds of the clips of one batch, without repetition."""
        order = np.random.default_rng((order_seed, step))
        drawn = order.choice(self.available(step), size=batch_size, replace=False)
        return [self.first_seed + int(index) for index in drawn]


@dataclass(frozen=True, slots=True)
class ClipBatch:
    """Clips as the networks take them.

    `image` [B, 3, 80, 128] in [-1, 1], `mel` [B, 1, 128, 204] of the loudness-normalised sound, `latents`
    [B, 4, 48, 10, 16] in codec units, `face` [B, 4] as shares of the picture (zeros: none found), `motion` [B, 48]
    mean |d dx| + |d dy| per frame, `kind` [B] index into `KINDS`.
    """

    seeds: tuple[int, ...]
    prompts: tuple[str, ...]
    image: Tensor
    mel: Tensor
    latents: Tensor
    face: Tensor
    motion: Tensor
    kind: Tensor

    def to(self, device: torch.device) -> ClipBatch:
        """The same batch on another device."""
        tensors = (self.image, self.mel, self.latents, self.face, self.motion, self.kind)
        return ClipBatch(self.seeds, self.prompts, *(tensor.to(device) for tensor in tensors))

    def __len__(self) -> int:
        return len(self.seeds)


class ClipStore:
    """Shards of procedural clips in a folder, written by `num_workers` processes and read by seed."""

    def __init__(self, folder: Path, *, num_workers: int = 1) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._num_workers = num_workers
        self._workers: ProcessPoolExecutor | None = None
        self._pending: dict[int, Future[None]] = {}
        self._open: dict[int, _Shard] = {}

    def request(self, first_seed: int, count: int) -> None:
        """Have the shards that hold these clips drawn in the background, where they are not yet there."""
        for number in range(first_seed // CLIPS_PER_SHARD, -(-(first_seed + count) // CLIPS_PER_SHARD)):
            if number in self._open or number in self._pending or self._path(number).exists():
                continue
            if self._workers is None:
                # Workers draw on one core each; NumPy's threads would only wait for one another.
                os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
                # Spawned, not forked: the parent already runs torch's threads.
                self._workers = ProcessPoolExecutor(self._num_workers, mp_context=get_context("spawn"))
            self._pending[number] = self._workers.submit(write_shard, self._path(number), number * CLIPS_PER_SHARD)

    def batch(self, seeds: list[int]) -> ClipBatch:
        """The clips of these seeds; waits for those that are still being drawn."""
        rows = [self._shard(seed // CLIPS_PER_SHARD).read(seed % CLIPS_PER_SHARD) for seed in seeds]
        stacked = {name: torch.stack([row[0][name] for row in rows]) for name in rows[0][0]}
        curves = stacked["curves"].float()
        latents = torch.einsum("bkt,bkchw->bcthw", curves - curves[..., :1], stacked["bases"].float())
        return ClipBatch(
            seeds=tuple(seeds),
            prompts=tuple(row[1] for row in rows),
            image=stacked["image"].permute(0, 3, 1, 2).float() / 127.5 - 1,
            mel=stacked["mel"].float(),
            latents=latents,
            face=stacked["face"],
            motion=stacked["motion"],
            kind=stacked["kind"],
        )

    def close(self) -> None:
        """Stop the workers; shards that are half drawn are drawn again next time."""
        if self._workers is not None:
            self._workers.shutdown(wait=True, cancel_futures=True)
            self._workers = None
        self._pending.clear()

    def _path(self, number: int) -> Path:
        return self.folder / f"clips-{number * CLIPS_PER_SHARD:010d}.safetensors"

    def _shard(self, number: int) -> _Shard:
        if number not in self._open:
            self.request(number * CLIPS_PER_SHARD, CLIPS_PER_SHARD)
            pending = self._pending.pop(number, None)
            if pending is not None:
                pending.result()
            self._open[number] = _Shard(self._path(number))
        return self._open[number]


class _Shard:
    """One memory-mapped file of clips."""

    def __init__(self, path: Path) -> None:
        opened = cast("Any", safe_open(path, framework="pt"))  # published without types
        self._prompts: list[str] = json.loads(opened.metadata()["prompts"])
        self._slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  (not a dict)

    def read(self, index: int) -> tuple[dict[str, Tensor], str]:
        """Tensors and prompt of one clip."""
        return {name: rows[index] for name, rows in self._slices.items()}, self._prompts[index]


def write_shard(path: Path, first_seed: int) -> None:
    """Draw `CLIPS_PER_SHARD` clips from `first_seed` on and write them to `path`, all or nothing."""
    torch.set_num_threads(1)
    clips = [make_clip(first_seed + index) for index in range(CLIPS_PER_SHARD)]
    samples = torch.from_numpy(np.stack([clip.samples for clip in clips]))
    mel = torch.cat([log_mel_batch(normalize_loudness(part)) for part in torch.split(samples, 32)])
    bases = torch.zeros(CLIPS_PER_SHARD, MAX_BASES, *clips[0].bases.shape[1:], dtype=torch.float16)
    curves = torch.zeros(CLIPS_PER_SHARD, MAX_BASES, clips[0].curves.shape[1])
    for row, clip in enumerate(clips):
        bases[row, : len(clip.bases)] = torch.from_numpy(clip.bases)
        curves[row, : len(clip.curves)] = torch.from_numpy(clip.curves)
    tensors = {
        "image": torch.from_numpy(np.stack([clip.image for clip in clips])),
        "mel": mel.half(),
        "bases": bases,
        "curves": curves,
        "face": torch.tensor([clip.face for clip in clips]),
        "motion": torch.from_numpy(np.stack([clip.motion_score() for clip in clips])).float(),
        "kind": torch.tensor([KINDS.index(clip.kind) for clip in clips]),
    }
    unfinished = path.with_suffix(".unfinished")
    save_file(tensors, unfinished, metadata={"prompts": json.dumps([clip.prompt for clip in clips])})
    unfinished.replace(path)
