"""All three recipes of keyvid-512 for a few steps on the CPU: the tiny networks, two procedural clips, one batch."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from model.config import tiny
from model.datasets.procedural import write_procedural_clip
from model.pipeline import KeyVIDPipeline
from model.training.folder_order import FolderOrder
from model.training.published import PublishedRun, train
from model.training.published_recipes import PUBLISHED_RECIPES, ListeningRecipe
from model.training.trainer import RunFiles

if TYPE_CHECKING:
    from pathlib import Path

    from model.training.published_recipes import PublishedRecipe

_CLIPS = 2
_FIRST_SEED = 2**30 + 2**29  # neither trained on nor measured by anything else
_STEPS = {"localizer": 20, "keyframes": 8, "interpolation": 8}
_LEARNING_RATE = {"localizer": 1e-3, "keyframes": 5e-3, "interpolation": 5e-3}


@dataclass(frozen=True, slots=True)
class SmokeResult:
    """Loss of one recipe on its batch, with the same draws before and after."""

    recipe: str
    before: float
    after: float


def smoke_recipe(name: str) -> PublishedRecipe:
    """A recipe shortened to one batch of two clips, in two parts, with everything else as it is."""
    asked = PUBLISHED_RECIPES[name]()
    # Too few clips to hold any out.
    recipe: PublishedRecipe
    if isinstance(asked, ListeningRecipe):
        recipe = replace(asked, options=replace(asked.options, held_out=0.0))
    else:
        recipe = replace(asked, options=replace(asked.options, held_out=0.0))
    return replace(
        recipe,
        steps=_STEPS[name],
        batch_size=_CLIPS,
        accumulation=2,
        clips=FolderOrder(repeat=_CLIPS),
        optimisation=replace(recipe.optimisation, learning_rate=_LEARNING_RATE[name], decay="constant"),
        log_every=_STEPS[name],
        checkpoint_every=_STEPS[name],
        validate_every=_STEPS[name],
        samples_every=0,
    )


def run_smoke(folder: Path) -> tuple[SmokeResult, ...]:
    """Write clips and start weights below `folder`, train each recipe there, and compare the losses."""
    data, start = folder / "data", folder / "start"
    config = tiny()
    for seed in range(_FIRST_SEED, _FIRST_SEED + _CLIPS):
        write_procedural_clip(data, seed, height=config.video.height, width=config.video.width)
    write_tiny_start(start)
    results = []
    for name in PUBLISHED_RECIPES:
        run = PublishedRun(folder / name, data, start, folder / "cache")
        train(smoke_recipe(name), run)
        rows = [json.loads(line) for line in RunFiles(run.out).metrics.read_text(encoding="utf-8").splitlines()]
        losses = [row["validation_loss"] for row in rows if "validation_loss" in row]
        results.append(SmokeResult(name, losses[0], losses[-1]))
    return tuple(results)


def write_tiny_start(folder: Path, *, seed: int = 0) -> None:
    """Tiny start weights that can learn: untrained networks end in zeros, which the released parts cannot change."""
    pipeline = KeyVIDPipeline.from_config(tiny(), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for unet in (pipeline.components.keyframes_unet, pipeline.components.interpolation_unet):
        for name, parameter in unet.named_parameters():
            if not parameter.detach().any():
                parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
            if name == "output_convolution.weight":
                parameter.data *= 2
    pipeline.save_pretrained(folder)
