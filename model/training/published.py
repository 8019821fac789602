"""keyvid-512 from its start weights and a folder of clips: what each recipe is given, and what a run delivers."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from accelerate import PartialState
from safetensors.torch import load_file

from model.datasets.cache import ClipCache, FrameFit
from model.datasets.errors import DataError
from model.datasets.layout import read_folder
from model.datasets.motion import read_scores
from model.datasets.samples import ClipText, interpolation_sample, keyframe_sample, listening_sample
from model.pretrained import load_components, read_config, save_components, weights_folder
from model.training.batches import ListeningBatch, VideoBatch
from model.training.folder_clips import Draws, FolderClips, OnBroken
from model.training.folder_order import FolderOrder
from model.training.listening_task import ListeningTask, listening_config
from model.training.published_recipes import ListeningRecipe, PublishedRecipe, StageRecipe
from model.training.stage_task import StageTask
from model.training.trainer import RunFiles, Trainer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.config import ModelConfig
    from model.datasets.cache import CachedClip
    from model.datasets.layout import DataClip, LayoutName
    from model.datasets.motion import Scores
    from model.datasets.samples import ListeningSample, VideoSample
    from model.pretrained import Components
    from model.training.trainer import Batch, TrainingTask

logger = logging.getLogger(__name__)

Sample = TypeVar("Sample")

_VALIDATION_CLIPS = 32
_KEYFRAME_FPS, _INTERPOLATED_FPS = 6, 24
_MAX_MISSING_SCORES = 0.05  # decoders disagree about the last frames of a clip
# The released split of the localizer: a permutation by numpy's legacy generator with this seed.
_SPLIT_SEED = 42


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """What a run reads and writes.

    Args:
        out: the run's folder; a run that was stopped there goes on.
        data: folder of the data set, with motion scores.
        start: weights folder to begin from.
        cache: folder of decoded clips.
        layout: of the data set; None guesses.
        on_broken: whether a broken clip is skipped or stops the run.
        num_workers: threads that decode ahead.
    """

    out: Path
    data: Path
    start: Path
    cache: Path
    layout: LayoutName | None = None
    on_broken: OnBroken = "stop"
    num_workers: int = 2


def train(recipe: PublishedRecipe, run: PublishedRun) -> None:
    """Train one recipe, or go on with it where it was stopped.

    Raises: DataError; CheckpointMissing, CheckpointMismatch; TrainingDiverged, TrainingOutOfMemory.
    """
    torch.manual_seed(recipe.seed)
    config = read_config(weights_folder(run.start))
    task = build_task(recipe, config, load_start(run.start, config))
    if isinstance(recipe, StageRecipe):
        _train_on(recipe, run, task, _video_clips(recipe, run, config))
    else:
        mel_frames = listening_config(config, recipe.options.variant).trunk.mel_frames
        _train_on(recipe, run, task, _sounds(recipe, run, config, mel_frames))


def build_task(recipe: PublishedRecipe, config: ModelConfig, start: Components) -> TrainingTask:
    """The networks of one recipe, with their start weights."""
    if isinstance(recipe, ListeningRecipe):
        wanted = listening_config(config, recipe.options.variant)
        given = start.localizer if config.localizer == wanted else None
        if given is None and start.localizer is not None:
            logger.warning("the localizer of the start weights is another than the recipe's, and is not used")
        return ListeningTask(wanted, recipe.options, encoder=start.audio_encoder, start=given)
    return StageTask(
        config,
        start,
        stage="keyframes" if recipe.task == "keyframes" else "interpolation",
        options=recipe.options,
        activation_checkpointing=recipe.activation_checkpointing,
    )


def load_start(folder: Path, config: ModelConfig) -> Components:
    """Components of a weights folder in float32."""
    return load_components(weights_folder(folder), config, device=torch.device("cpu"), unet_dtype=torch.float32)


def export(recipe: PublishedRecipe, run: PublishedRun, folder: Path, *, best: bool = True) -> None:
    """Write the start weights, with what the run has trained in their place, as a model folder.

    Args: best: take the weights that did best on held-out clips, where there are such.
    """
    config = read_config(weights_folder(run.start))
    start = load_start(run.start, config)
    task = build_task(recipe, config, start)
    files = RunFiles(run.out)
    task.load_state_dict(load_file(files.best_weights if best and files.best_weights.is_file() else files.weights))
    trained = dict(task.components())
    if isinstance(recipe, ListeningRecipe):
        config = replace(config, localizer=listening_config(config, recipe.options.variant))
    if "interpolation_resampler" in trained and config.interpolation_resampler is None:
        config = replace(config, interpolation_resampler=config.resampler)
    components = replace(start, **cast("dict[str, Any]", trained))
    save_components(folder, config, components, dtype=torch.float32)


@dataclass(frozen=True, slots=True)
class _Clips:
    """Batches to train on, and held-out batches."""

    source: FolderClips[Any]
    held_out: tuple[Batch, ...]


def _train_on(recipe: PublishedRecipe, run: PublishedRun, task: TrainingTask, clips: _Clips) -> None:
    sample_fps = _INTERPOLATED_FPS if recipe.task == "interpolation" else _KEYFRAME_FPS
    try:
        Trainer(
            recipe, task, store=clips.source, folder=run.out, validation=clips.held_out, sample_fps=sample_fps
        ).run()
    finally:
        clips.source.close()


def _video_clips(recipe: StageRecipe, run: PublishedRun, config: ModelConfig) -> _Clips:
    options = recipe.options
    cache = ClipCache(run.cache, FrameFit(config.video.height, config.video.width, options.fit))
    mel_frames = config.audio_encoder.mel_frames
    needs_scores = recipe.task == "interpolation" or options.keyframe_share > 0

    def draw(clip: DataClip, draws: np.random.RandomState) -> VideoSample:
        decoded = cache.load(clip)
        scores = _scores(run.data, clip, decoded) if needs_scores else None
        text = ClipText(clip.name, clip.caption)
        pick = (
            partial(keyframe_sample, keyframe_share=options.keyframe_share)
            if recipe.task == "keyframes"
            else interpolation_sample
        )
        return pick(decoded, scores, text, draws=draws, rule=options.keyframe_rule, mel_frames=mel_frames)

    return _split(recipe, run, draw, VideoBatch.of, held_out=options.held_out)


def _sounds(recipe: ListeningRecipe, run: PublishedRun, config: ModelConfig, mel_frames: int) -> _Clips:
    cache = ClipCache(run.cache, FrameFit(config.video.height, config.video.width))

    def draw(clip: DataClip, draws: np.random.RandomState) -> ListeningSample:
        decoded = cache.load(clip)
        text = ClipText(clip.name, clip.caption)
        return listening_sample(decoded, _scores(run.data, clip, decoded), text, draws=draws, mel_frames=mel_frames)

    return _split(recipe, run, draw, ListeningBatch.of, held_out=recipe.options.held_out)


def _scores(root: Path, clip: DataClip, decoded: CachedClip) -> Scores:
    """Motion scores of a clip. Raises: DataError when there are none, or they are another clip's."""
    scores = read_scores(root, clip)
    expected = decoded.num_frames - 1
    if abs(len(scores) - expected) > max(1, _MAX_MISSING_SCORES * expected):
        raise DataError(
            f"{clip.name} has {expected} pairs of frames, but {len(scores)} motion scores: measure it again"
        )
    return scores


def _split(
    recipe: PublishedRecipe,
    run: PublishedRun,
    draw: Any,  # noqa: ANN401  (a sample kind and its batch kind, told apart by the caller)
    collate: Any,  # noqa: ANN401  (as above)
    *,
    held_out: float,
) -> _Clips:
    """Training clips as a source, and a share of them as fixed batches."""
    folder = read_folder(run.data, layout=run.layout)
    clips = folder.of_split("train")
    if folder.missing and run.on_broken == "stop":
        raise DataError(f"{len(folder.missing)} listed clips are not there, such as {folder.missing[0]}")
    for name in (*folder.missing, *folder.partial):
        logger.warning("skipped: %s is not there, or not whole", name)
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(clips)).tolist()
    count = round(held_out * len(clips))
    kept = [clips[index] for index in sorted(order[count:])]
    repeats = isinstance(recipe.clips, FolderOrder) and recipe.clips.repeat
    draws = Draws(
        order_seed=recipe.seed,
        num_workers=0 if repeats else run.num_workers,
        on_broken=run.on_broken,
        num_processes=PartialState().num_processes,
    )
    logger.info("%d clips train, %d are held out", len(kept), count)
    source: FolderClips[Any] = FolderClips(kept, draw, collate, draws)
    apart = [clips[index] for index in sorted(order[:count])] or (kept if repeats else [])
    return _Clips(source, tuple(_fixed_batches(apart, draw, collate, recipe, draws)))


def _fixed_batches(
    clips: Sequence[DataClip],
    draw: Any,  # noqa: ANN401  (as above)
    collate: Any,  # noqa: ANN401  (as above)
    recipe: PublishedRecipe,
    draws: Draws,
) -> list[Batch]:
    if not clips or not recipe.validate_every:
        return []
    alone = replace(draws, num_workers=0, num_processes=1, order_seed=_SPLIT_SEED)
    source: FolderClips[Any] = FolderClips(clips, draw, collate, alone)
    size = max(recipe.batch_size // (recipe.accumulation * draws.num_processes), 1)
    count = min(len(clips), _VALIDATION_CLIPS)
    return [source.batch(list(range(start, min(start + size, count)))) for start in range(0, count, size)]
