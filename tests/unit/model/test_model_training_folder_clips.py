"""Samples drawn from a folder of clips: the same ones every time, and none from broken clips."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from model.datasets.errors import BrokenClip, DataError
from model.datasets.layout import DataClip
from model.training.folder_clips import Draws, FolderClips

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np


def clips(names: Sequence[str], root: Path) -> list[DataClip]:
    """Clips that exist by name only."""
    return [DataClip(name, root / name, "", "train") for name in names]


def test_draws_are_the_same_with_and_without_threads(tmp_path: Path) -> None:
    """A sample depends on its number and the seed, not on who decodes it and when."""

    def draw(clip: DataClip, draws: np.random.RandomState) -> tuple[str, float]:
        return clip.name, draws.random_sample()

    batches = []
    for num_workers in (0, 3):
        draws = Draws(order_seed=5, num_workers=num_workers)
        source = FolderClips(clips("abcde", tmp_path), draw, list, draws)
        batches.append([source.batch(list(range(start, start + 4))) for start in range(0, 24, 4)])
        source.close()

    assert batches[0] == batches[1]
    assert sorted(name for name, _ in (batches[0][0] + batches[0][1])[:5]) == list("abcde")


def test_broken_clips_are_skipped_by_name_or_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Skipping takes the next clip and says so once; stopping raises; nothing but broken clips is an error."""

    def draw(clip: DataClip, _draws: np.random.RandomState) -> str:
        if clip.name in "bd":
            raise BrokenClip(clip.name, "no sound")
        return clip.name

    skipping = FolderClips(clips("abcd", tmp_path), draw, list, Draws(order_seed=1, on_broken="skip"))
    with caplog.at_level(logging.WARNING):
        taken = skipping.batch(list(range(16)))
    stopping = FolderClips(clips("abcd", tmp_path), draw, list, Draws(order_seed=1))
    hopeless = FolderClips(clips("bd", tmp_path), draw, list, Draws(order_seed=1, on_broken="skip"))

    assert set(taken) == {"a", "c"}
    assert sorted(caplog.messages) == ["skipped: b: no sound", "skipped: d: no sound"]
    with pytest.raises(BrokenClip, match="no sound"):
        stopping.batch(list(range(4)))
    with pytest.raises(DataError, match="all 2 clips are broken"):
        hopeless.batch([0])
