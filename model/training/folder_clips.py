"""Batches of a folder's clips: drawn by number, decoded ahead by threads, broken clips skipped or told as asked."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import numpy as np

from model.datasets.errors import BrokenClip, DataError
from model.training.folder_order import clip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.datasets.layout import DataClip
    from model.training.trainer import Batch

logger = logging.getLogger(__name__)

Sample = TypeVar("Sample")
OnBroken = Literal["stop", "skip"]


@dataclass(frozen=True, slots=True)
class Draws:
    """How draws become clips, the same in every process.

    Args:
        order_seed: seed of the order of clips and of everything drawn from one.
        num_workers: threads that decode ahead; 0 decodes when a batch is asked for.
        on_broken: `skip` takes the next clip of the folder instead of a broken one, and says so once; `stop` raises.
        num_processes: how many share the draws of a step.
    """

    order_seed: int
    num_workers: int = 0
    on_broken: OnBroken = "stop"
    num_processes: int = 1


class FolderClips(Generic[Sample]):
    """Clips of a folder as batches.

    Args:
        clips: the clips, in an order that does not depend on the file system.
        draw: one sample of a clip. Raises BrokenClip.
        collate: samples to a batch.
    """

    def __init__(
        self,
        clips: Sequence[DataClip],
        draw: Callable[[DataClip, np.random.RandomState], Sample],
        collate: Callable[[Sequence[Sample]], Batch],
        draws: Draws,
    ) -> None:
        if not clips:
            raise DataError("there are no clips to train on")
        self._clips = clips
        self._draw = draw
        self._collate = collate
        self._draws = draws
        self._broken: set[str] = set()
        self._workers = ThreadPoolExecutor(draws.num_workers) if draws.num_workers else None
        self._pending: dict[int, Future[Sample]] = {}

    def request(self, first_seed: int, count: int) -> None:
        """Nothing: the clips are there already."""

    def batch(self, seeds: list[int]) -> Batch:
        """The samples of these draws; those that will probably follow are decoded meanwhile.

        Raises: BrokenClip when broken clips stop the run; DataError when all are broken, or one has no motion scores.
        """
        samples = [self._taken(seed) for seed in seeds]
        if self._workers is not None:
            self._look_ahead(self._workers, seeds[-1])
        return self._collate(samples)

    def close(self) -> None:
        """Stop the threads."""
        if self._workers is not None:
            self._workers.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()

    def _look_ahead(self, workers: ThreadPoolExecutor, last: int) -> None:
        stride = self._draws.num_processes
        for number in range(last + stride, last + stride * (2 * self._draws.num_workers + 1), stride):
            if number not in self._pending:
                self._pending[number] = workers.submit(self._sample, number)

    def _taken(self, number: int) -> Sample:
        pending = self._pending.pop(number, None)
        return self._sample(number) if pending is None else pending.result()

    def _sample(self, number: int) -> Sample:
        """The sample of one draw; depends on its number, the seed and the folder alone."""
        draws, count = self._draws, len(self._clips)
        first = clip_of(number, num_clips=count, order_seed=draws.order_seed)
        for offset in range(count):
            clip = self._clips[(first + offset) % count]
            try:
                return self._draw(clip, np.random.RandomState([draws.order_seed, number]))
            except BrokenClip as error:
                if draws.on_broken == "stop":
                    raise
                if clip.name not in self._broken:
                    self._broken.add(clip.name)
                    logger.warning("skipped: %s", error)
        raise DataError(f"all {count} clips are broken")
