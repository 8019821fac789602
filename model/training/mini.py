"""keyvid-mini from nothing to its folder of weights: what is trained after what, and how the parts come together."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from safetensors.torch import load_file

from model.config import keyvid_mini
from model.pretrained import build_components, save_components
from model.training.clip_store import ClipStore
from model.training.diffusion_task import DiffusionTask
from model.training.procedural.catalogue import vocabulary
from model.training.tasks import DraftTask, LocalizerTask
from model.training.trainer import WEIGHTS_NAME, Trainer, TrainingTask

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from model.training.recipes import Recipe, TaskName

logger = logging.getLogger(__name__)

Task = TypeVar("Task", bound=TrainingTask)


@dataclass(frozen=True, slots=True)
class MiniRuns:
    """The folder of keyvid-mini's training: one folder per task, and one of procedural clips that they share."""

    folder: Path

    def run(self, task: TaskName) -> Path:
        """Folder of one task's run."""
        return self.folder / task

    def weights(self, task: TaskName) -> Path:
        """Averaged weights of one task's newest checkpoint."""
        return self.run(task) / WEIGHTS_NAME

    @property
    def clips(self) -> Path:
        """Folder of the procedural clips."""
        return self.folder / "clips"


def train(recipe: Recipe, runs: MiniRuns, *, num_workers: int = 1) -> None:
    """Train one recipe, or go on with it where it was stopped.

    Raises: FileNotFoundError when an earlier task has not been trained; TrainingDiverged.
    """
    torch.manual_seed(recipe.seed)
    task = build_task(recipe.task, runs)
    store = ClipStore(runs.clips, num_workers=num_workers)
    try:
        Trainer(recipe, task, store=store, folder=runs.run(recipe.task)).run()
    finally:
        store.close()


def build_task(name: TaskName, runs: MiniRuns) -> TrainingTask:
    """A task with its networks, initialised from what earlier tasks have learnt."""
    if name == "localizer":
        return _localizer_task()
    if name == "draft":
        draft = DraftTask(keyvid_mini())
        trunk = _load(_localizer_task(), runs.weights("localizer")).localizer.trunk
        draft.audio_encoder.load_state_dict(trunk.state_dict())
        return draft
    return DiffusionTask(keyvid_mini(), _load(DraftTask(keyvid_mini()), runs.weights("draft")))


def trained_components(runs: MiniRuns) -> dict[str, nn.Module]:
    """Every network of keyvid-mini with the newest averaged weights, by the name of its folder."""
    localizer = _load(_localizer_task(), runs.weights("localizer"))
    draft = _load(DraftTask(keyvid_mini()), runs.weights("draft"))
    draft.text_encoder.forget_all_but(vocabulary())
    diffusion = _load(DiffusionTask(keyvid_mini(), draft), runs.weights("diffusion"))
    return {**localizer.components(), **draft.components(), **diffusion.components()}


def export(runs: MiniRuns, folder: Path) -> None:
    """Write the newest averaged weights to a model folder, as half-precision numbers."""
    config = keyvid_mini()
    components = replace(build_components(config), **cast("dict[str, Any]", trained_components(runs)))
    save_components(folder, config, components, dtype=torch.float16)


def _localizer_task() -> LocalizerTask:
    config = keyvid_mini().localizer
    assert config is not None
    return LocalizerTask(config)


def _load(task: Task, weights: Path) -> Task:
    task.load_state_dict(load_file(weights))
    return task.eval()
