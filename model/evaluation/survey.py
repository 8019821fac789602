"""Many scenes, read by several processes."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import TYPE_CHECKING

import torch

from model.evaluation.judge import SyncJudge
from model.evaluation.reading import Reader, SceneReading
from model.pipeline import KeyVIDPipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.evaluation.scenes import SceneKey


@dataclass(frozen=True, slots=True)
class Survey:
    """What is measured of every scene.

    Args:
        model: packaged model or weights folder.
        rows: names of the videos that are compared.
        judge: packaged judge or its weights folder, if one is asked.
    """

    model: str
    rows: tuple[str, ...]
    judge: str | None = None


def read_scenes(
    survey: Survey, keys: Sequence[SceneKey], *, workers: int = 1, on_scene: Callable[[], None] | None = None
) -> list[SceneReading]:
    """Read the scenes, in their order; each takes its other sound from half the set away.

    Args:
        survey: what is measured.
        keys: which scenes.
        workers: processes, of one thread each; with one, this process reads.
        on_scene: told when a scene has been read.
    Raises: CheckpointMissing; CheckpointMismatch, also for a model that draws no latent flow.
    """
    tasks = [(key, keys[(index + len(keys) // 2) % len(keys)]) for index, key in enumerate(keys)]
    if workers == 1:
        return [_told(read_scene(survey, *task), on_scene) for task in tasks]
    # Spawned, not forked: this process already runs torch's threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=use_one_thread) as pool:
        futures = [pool.submit(read_scene, survey, *task) for task in tasks]
        try:
            for future in as_completed(futures):
                _told(future.result(), on_scene)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]


def read_scene(survey: Survey, key: SceneKey, other: SceneKey) -> SceneReading:
    """Read one scene, with the sound of another one for the row that needs it."""
    reader = _reader(survey)
    video = reader.pipeline.config.video
    return reader.read(key.make(height=video.height, width=video.width), other.sound(), seed=key.number)


@lru_cache(maxsize=1)
def _reader(survey: Survey) -> Reader:
    """The model, loaded once per process."""
    judge = None if survey.judge is None else SyncJudge.from_pretrained(survey.judge)
    return Reader(KeyVIDPipeline.from_pretrained(survey.model), survey.rows, judge)


def use_one_thread() -> None:
    """Keep a process of many from using cores that its siblings need."""
    torch.set_num_threads(1)


def _told(reading: SceneReading, on_scene: Callable[[], None] | None) -> SceneReading:
    if on_scene is not None:
        on_scene()
    return reading
