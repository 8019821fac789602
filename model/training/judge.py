"""Our own judge of sync, from procedural clips to a folder of weights."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from model.evaluation.networks.sync_windows import JudgeConfig
from model.serialization import to_json
from model.training.clip_store import ClipSchedule, ClipStore
from model.training.judge_task import JudgeTask
from model.training.recipes import HELD_OUT_SEED, Optimisation, Recipe
from model.training.trainer import RunFiles, Trainer

if TYPE_CHECKING:
    from pathlib import Path

# Clips that neither keyvid-mini nor its draft is trained on: a judge must not know them better than others.
JUDGE_SEED = 2**24
# Held-out clips of the judge alone; the evaluation measures on others.
_VALIDATION_SEED = HELD_OUT_SEED + 2**28
_VALIDATION_CLIPS = 64


@dataclass(frozen=True, slots=True)
class JudgeRecipe(Recipe):
    """A run of the judge."""

    options: JudgeConfig = field(default_factory=JudgeConfig)


def sync_judge() -> JudgeRecipe:
    """The judge behind RelSync: AVSync's architecture, small, on procedural clips.

    ASVA: 32 videos of 21 windows, AdamW 2e-4, 40,000 steps from towers that were pretrained. Here: 8 clips of 5 windows
    from nothing, so the rate is higher.
    """
    return JudgeRecipe(
        task="sync-judge",
        steps=800,
        batch_size=8,
        optimisation=Optimisation(learning_rate=2e-3, weight_decay=1e-2, ema_decay=0.99, betas=(0.9, 0.999)),
        clips=ClipSchedule(first_seed=JUDGE_SEED, num_clips=6_144, ready=1_024, per_step=8),
        seed=4,
        checkpoint_every=100,
        validate_every=100,
    )


JUDGE_RECIPES = {"sync-judge": sync_judge}


def train(recipe: JudgeRecipe, folder: Path, *, clips: Path | None = None, num_workers: int = 1) -> None:
    """Train the judge, or go on with it where it was stopped.

    Args: clips: folder of procedural clips, which other recipes may share; below `folder` unless it is given.
    Raises: TrainingDiverged, TrainingOutOfMemory.
    """
    torch.manual_seed(recipe.seed)
    task = JudgeTask(recipe.options)
    store = ClipStore(clips or folder / "clips", num_workers=num_workers)
    try:
        seeds = range(_VALIDATION_SEED, _VALIDATION_SEED + _VALIDATION_CLIPS)
        store.request(_VALIDATION_SEED, _VALIDATION_CLIPS)
        held_out = [
            store.batch(list(seeds[start : start + recipe.batch_size]))
            for start in range(0, len(seeds), recipe.batch_size)
        ]
        Trainer(recipe, task, store=store, folder=folder, validation=held_out).run()
    finally:
        store.close()


def export(recipe: JudgeRecipe, run: Path, folder: Path) -> None:
    """Write the weights that did best on held-out clips, as half-precision numbers, for `keyvid evaluate --judge`."""
    task = JudgeTask(recipe.options)
    files = RunFiles(run)
    task.load_state_dict(load_file(files.best_weights if files.best_weights.is_file() else files.weights))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(to_json(recipe.options), indent=2) + "\n", encoding="utf-8")
    save_file(
        {name: tensor.half() for name, tensor in task.classifier.state_dict().items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
