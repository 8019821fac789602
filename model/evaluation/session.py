"""One evaluation: which parts are measured, on how much, and in which order their tables come."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from model.errors import InvalidInput
from model.evaluation import tables
from model.evaluation.drawing import draw_contact_sheet, plot_settings
from model.evaluation.judging import judge_table
from model.evaluation.localization import hear_clips
from model.evaluation.mixing import CONDITIONS, NUM_MIXED
from model.evaluation.photographs import PHOTOGRAPHS, photograph_table, read_photographs
from model.evaluation.presets import presets_table, read_presets
from model.evaluation.rows import DRAFT, GENERATED, ROWS
from model.evaluation.scenes import SceneKey
from model.evaluation.settings import SETTINGS, read_settings, settings_table
from model.evaluation.survey import Survey, read_scenes
from model.generation import PRESETS
from model.pipeline import KeyVIDPipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from model.evaluation.reading import SceneReading
    from model.evaluation.report import ReportTable

_SETTINGS_CLIPS = 24
_PRESET_CLIPS = 120


@dataclass(frozen=True, slots=True)
class Session:
    """What an evaluation is of.

    Args:
        model: packaged model or weights folder.
        rows: names of the videos that are compared.
        judge: packaged sync judge or its weights folder, if one is asked.
        num_clips: held-out clips whose videos are made.
        num_heard: held-out clips that the localizer hears.
        share: 1, or by how much smaller sets of a fixed size are made.
        workers: processes.
        images: folder for plots and contact sheets, if they are wanted.
    """

    model: str
    rows: tuple[str, ...]
    judge: str | None
    num_clips: int
    num_heard: int
    share: int
    workers: int
    images: Path | None


def measure(session: Session, parts: Sequence[str], *, console: Console) -> Iterator[ReportTable]:
    """Measure the parts of `PARTS` one after the other; `console` shows the progress.

    Raises: CheckpointError when model or judge cannot be used; InvalidInput for photographs that are not installed.
    """
    for part in parts:
        yield from PARTS[part](session, console)


def _localization(session: Session, console: Console) -> Iterator[ReportTable]:
    with _bar(console, "localizer", session.num_heard) as advance:
        done = 0

        def on_clips(count: int) -> None:
            nonlocal done
            advance(count - done)
            done = count

        heard = hear_clips(session.model, session.num_heard, workers=session.workers, on_clips=on_clips)
    yield tables.hearing_table(heard)


def _held_out(session: Session, console: Console) -> Iterator[ReportTable]:
    readings = _read(session, [SceneKey("held-out", number) for number in range(session.num_clips)], console)
    yield from tables.sync_tables(readings)
    yield tables.motion_table(readings)
    if {GENERATED, DRAFT} <= set(session.rows):
        yield tables.kinds_table(readings)
        yield tables.gain_table(readings)
    yield from tables.ablation_tables(readings)
    judged = judge_table(readings)
    if judged is not None:
        yield judged


def _unheard(session: Session, console: Console) -> Iterator[ReportTable]:
    keys = [SceneKey("unheard", number) for number in range(max(2, NUM_MIXED // session.share))]
    encoded = tuple(name for name in session.rows if ROWS[name].is_encoded and not ROWS[name].needs_truth)
    if not encoded:
        raise InvalidInput("unheard compares MP4s made without the true motion, and no such row is among --rows")
    readings = _read(session, keys, console, rows=encoded)
    yield tables.sync_table(readings, name="sync-unheard", title="Sync on sounds of other syntheses than training's")
    if GENERATED in encoded:
        groups = {condition: readings[index :: len(CONDITIONS)] for index, condition in enumerate(CONDITIONS)}
        title = "Sync of the generated MP4s on these sounds, by what they are mixed with (clips)."
        yield tables.sync_groups_table(
            {condition: own for condition, own in groups.items() if own}, name="sync-conditions", title=title
        )


def _settings(session: Session, console: Console) -> Iterator[ReportTable]:
    pipeline = KeyVIDPipeline.from_pretrained(session.model)
    count = max(2, _SETTINGS_CLIPS // session.share)
    video = pipeline.config.video
    scenes = [SceneKey("held-out", number).make(height=video.height, width=video.width) for number in range(count)]
    with _bar(console, "settings", count * len(SETTINGS)) as advance:
        readings = read_settings(pipeline, scenes, on_video=advance)
    if session.images is not None:
        session.images.mkdir(parents=True, exist_ok=True)
        plot_settings(session.images / "quality-time.png", readings)
    yield settings_table(readings, count)


def _presets(session: Session, console: Console) -> Iterator[ReportTable]:
    pipeline = KeyVIDPipeline.from_pretrained(session.model)
    count = max(2, min(_PRESET_CLIPS // session.share, session.num_clips))
    video = pipeline.config.video
    scenes = [SceneKey("held-out", number).make(height=video.height, width=video.width) for number in range(count)]
    with _bar(console, "presets", count * len(PRESETS)) as advance:
        readings = read_presets(pipeline, scenes, on_video=advance)
    yield presets_table(readings)


def _photographs(session: Session, console: Console) -> Iterator[ReportTable]:
    pipeline = KeyVIDPipeline.from_pretrained(session.model)
    with _bar(console, "photographs", len(PHOTOGRAPHS)) as advance:
        readings = read_photographs(pipeline, on_photograph=advance)
    if session.images is not None:
        session.images.mkdir(parents=True, exist_ok=True)
        draw_contact_sheet(session.images / "photographs.jpg", readings)
    yield photograph_table(readings)


PARTS: Mapping[str, Callable[[Session, Console], Iterator[ReportTable]]] = {
    "localization": _localization,
    "held-out": _held_out,
    "unheard": _unheard,
    "settings": _settings,
    "presets": _presets,
    "photographs": _photographs,
}


def _read(
    session: Session, keys: Sequence[SceneKey], console: Console, *, rows: tuple[str, ...] | None = None
) -> list[SceneReading]:
    survey = Survey(session.model, session.rows if rows is None else rows, session.judge)
    with _bar(console, f"{keys[0].group} clips", len(keys)) as advance:
        return read_scenes(survey, keys, workers=session.workers, on_scene=advance)


@contextmanager
def _bar(console: Console, label: str, total: int) -> Iterator[Callable[..., None]]:
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        task = bars.add_task(label, total=total)

        def advance(steps: int = 1) -> None:
            bars.advance(task, steps)

        yield advance
