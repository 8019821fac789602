"""The judge's training: windows of picture and sound that belong together, told from those that do not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save_file

from model.clips import AudioClip
from model.evaluation.judge import SyncJudge, relsync
from model.evaluation.networks.sync_classifier import SyncClassifierConfig
from model.evaluation.networks.sync_windows import JudgeConfig, mel_windows, video_windows
from model.media.mel import log_mel_batch, normalize_loudness
from model.training import judge
from model.training.clip_store import ClipBatch
from model.training.judge_task import JudgeTask
from model.training.trainer import RunFiles

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SMALL = JudgeConfig(SyncClassifierConfig(widths=(8, 8, 16, 16), hidden=(16, 16)), height=20, width=32)
# No two of them are alike, so that every window of every clip has a place of its own.
BEATS = ((0.15, 0.7, 1.6), (0.4, 1.2, 1.45), (0.3, 0.95, 1.75))


def sound(times_s: tuple[float, ...]) -> np.ndarray:
    """Bursts of noise at these times, two seconds at 16 kHz."""
    samples = np.zeros(32_000, np.float32)
    for time_s in times_s:
        first = round(time_s * 16_000)
        samples[first : first + 1200] += 0.3 * np.random.default_rng(1).normal(size=1200)[: 32_000 - first]
    return samples


def beating_batch() -> ClipBatch:
    """Clips that jump right at each burst and come back."""
    curves = torch.zeros(len(BEATS), 48)
    for row, times in zip(curves, BEATS, strict=True):
        for time_s in times:
            frame = round(time_s * 24)
            row[frame : frame + 3] = torch.tensor([1.0, 0.6, 0.3])
    latents = torch.zeros(len(BEATS), 4, 48, 10, 16)
    latents[:, 0] = 4 * curves[:, :, None, None]
    picture = torch.rand(1, 3, 80, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    samples = torch.from_numpy(np.stack([sound(times) for times in BEATS]))
    return ClipBatch(
        seeds=(0, 1, 2),
        prompts=("",) * 3,
        image=picture.expand(3, -1, -1, -1),
        mel=log_mel_batch(normalize_loudness(samples)),
        latents=latents,
        face=torch.zeros(3, 4),
        motion=curves,
        kind=torch.zeros(3, dtype=torch.long),
    )


def test_windows_of_picture_and_sound_cover_the_same_time() -> None:
    """What flashes and bursts at 1.25 s is at the same relative place of each window that holds it."""
    config = JudgeConfig()
    frames = torch.zeros(48, 16, 16, 3, dtype=torch.uint8)
    frames[30] = 255
    mel = log_mel_batch(torch.from_numpy(sound((1.25,)))[None])[0]

    seen = video_windows(config, frames[list(config.seen)]).abs().mean(dim=(1, 3, 4))
    heard = mel_windows(config, mel).mean(dim=(1, 2))

    assert seen.shape == (5, 12)
    assert heard.shape == (5, config.mel_columns)
    for index, start in enumerate(config.starts):
        if start <= 30 < start + 24:
            at = 30 - start
            assert int(seen[index].argmax()) == at // 2 or at == 0  # a window's first frame shows no change
            onset = int((heard[index] > heard[index].mean()).nonzero()[0])
            assert abs(onset * 24 / 100 - at) <= 1


def test_judge_learns_which_sound_belongs_to_which_window() -> None:
    """On one batch the loss falls well under chance, and most windows find their own sound."""
    torch.manual_seed(0)
    task = JudgeTask(SMALL).train()
    optimiser = torch.optim.AdamW(task.parameters(), lr=1e-2)
    batch = beating_batch()
    losses = []
    for _ in range(30):
        loss, told = task(batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))

    assert losses[0] > 2
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    assert float(told["heard_for_seen"]) > 0.3


def test_other_clips_are_negatives_too() -> None:
    """Every sound window of the batch is scored with every video window."""
    task = JudgeTask(SMALL).eval()

    scores = task.score_pairs(*task.embed(beating_batch()))

    assert scores.shape == (15, 15)


def test_exported_judge_is_what_the_evaluation_reads(tmp_path: Path) -> None:
    """The best weights and the windows travel together; a video against itself has a RelSync of a half."""
    recipe = replace(judge.sync_judge(), options=SMALL)
    state = JudgeTask(SMALL).state_dict()
    save_file(state, RunFiles(tmp_path).best_weights)

    judge.export(recipe, tmp_path, tmp_path / "judge")
    reading = SyncJudge.from_pretrained(tmp_path / "judge").read(
        np.random.default_rng(0).integers(0, 256, (48, 32, 48, 3), dtype=np.uint8),
        AudioClip(torch.from_numpy(sound((0.5,)))[None], 16_000),
    )

    assert relsync(reading, reading) == 0.5
    assert reading.features.shape == (16,)
    assert np.isfinite(reading.score)


def test_judge_run_writes_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe's clips are drawn, two steps are made and validated, and the best weights are kept."""
    monkeypatch.setattr("model.training.clip_store.CLIPS_PER_SHARD", 8)
    monkeypatch.setattr(judge, "_VALIDATION_CLIPS", 2)

    class InProcess:
        """A pool whose work is done at once."""

        def __init__(self, *_args: object, **_options: object) -> None:
            self.submit = lambda work, *args: self.Done(work(*args))
            self.shutdown = lambda **_options: None

        class Done:
            def __init__(self, result: object) -> None:
                self.result = lambda: result

    monkeypatch.setattr("model.training.clip_store.ProcessPoolExecutor", InProcess)
    recipe = replace(judge.sync_judge(), steps=2, batch_size=2, options=SMALL, log_every=1, validate_every=1)
    recipe = replace(recipe, clips=replace(recipe.clips, ready=4, num_clips=4, per_step=0))

    judge.train(recipe, tmp_path)

    assert RunFiles(tmp_path).best_weights.is_file()
    assert RunFiles(tmp_path).weights.is_file()
