"""Commands that need no service: `generate` a video from files, `localize` the keyframes of a sound."""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from model.errors import InvalidInput, KeyVIDError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.progress import TaskID

    from model.clips import AudioClip, KeyframePlan, MotionCurve
    from model.generation import GenerationParams, OnStep, Progress
    from model.media.image import Crop
    from model.pipeline import GeneratedLatents, KeyVIDPipeline

app = typer.Typer(no_args_is_help=True, add_completion=False)

_INPUT_ERROR = 2
_MODEL_ERROR = 1

ModelOption = Annotated[str, typer.Option("--model", help="keyvid-mini, or a folder of weights.")]
StartOption = Annotated[float, typer.Option("--audio-start", min=0.0, help="Seconds into the sound where it begins.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")]
LocalizerOption = Annotated[
    str, typer.Option(help="Who hears the keyframes: own, another model's name or folder, or auto.")
]
ScaleOption = Annotated[float | None, typer.Option(min=0.0, max=30.0, help="Guidance scale; 1 is none.")]


@app.command()
def generate(
    image: Annotated[Path, typer.Argument(help="JPEG, PNG or WebP.")],
    audio: Annotated[Path, typer.Argument(help="WAV, FLAC, MP3, Ogg, Opus or M4A.")],
    *,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What is to be seen.")] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="The MP4 to write.")] = Path("keyvid.mp4"),
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same video.")] = None,
    model: ModelOption = "keyvid-mini",
    audio_start: StartOption = 0.0,
    image_fit: Annotated[
        Literal["cover", "contain", "stretch"], typer.Option(help="How a picture of other proportions is fitted.")
    ] = "cover",
    image_crop: Annotated[
        str | None, typer.Option(help="Part of the picture to animate: left,top,width,height in pixels.")
    ] = None,
    num_inference_steps: Annotated[int | None, typer.Option(min=1, max=200, help="Denoising steps per stage.")] = None,
    guidance_text: ScaleOption = None,
    guidance_image: ScaleOption = None,
    guidance_audio: ScaleOption = None,
    interpolation_mode: Annotated[
        Literal["released", "freenoise"] | None, typer.Option(help="How all frames are made from the keyframes.")
    ] = None,
    preset: Annotated[
        Literal["exact", "balanced", "fast"],
        typer.Option(help="Time against fidelity: exact samples as the model was made for, fast in a fraction of it."),
    ] = "exact",
    motion_strength: Annotated[float, typer.Option(help="How far things move: 2 is twice as far. 0.25 to 3.")] = 1.0,
    keyframes: Annotated[
        str | None,
        typer.Option(help="Frames to paint, such as 0,4,9 or 0s,0.17s,0.4s: ascending from 0, instead of heard ones."),
    ] = None,
    localizer: LocalizerOption = "auto",
    reference_compat: Annotated[
        bool, typer.Option("--reference-compat", help="Repeat two defects of the published evaluation.")
    ] = False,
    device: DeviceOption = "auto",
    offload: Annotated[
        bool,
        typer.Option("--offload", help="Keep UNets and codec too on the GPU only while they work: slower, fits 8 GB."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Animate IMAGE to AUDIO and write an MP4."""
    with _command():
        from model.generation import GenerationParams
        from model.media.image import read_image
        from model.media.video import write_video

        params = GenerationParams(
            seed=secrets.randbelow(2**32) if seed is None else seed,
            num_inference_steps=num_inference_steps,
            guidance_text=guidance_text,
            guidance_image=guidance_image,
            guidance_audio=guidance_audio,
            interpolation_mode=interpolation_mode,
            motion_strength=motion_strength,
            preset=preset,
            reference_compat=reference_compat,
        )
        clip = _read_sound(audio, start_s=audio_start).clip
        crop = _parse_crop(image_crop, _existing(image))
        pipeline = _load(model, device, localizer=localizer, offload=offload)
        if keyframes is not None:
            params = replace(params, keyframes=_parse_keyframes(keyframes, fps=pipeline.config.fps))
        shape = pipeline.config.video
        frame = read_image(image, height=shape.height, width=shape.width, fit=image_fit, crop=crop)
        with _progress() as report:
            generated = pipeline.generate_latents(frame, clip, prompt, params, on_step=report.step)
            write_video(
                pipeline.decode_for_video(generated.latents, frame),
                clip,
                output,
                fps=pipeline.config.fps,
                num_frames=shape.frames,
                on_frames=report.frames(shape.frames),
            )
    if as_json:
        typer.echo(json.dumps(_generation_report(generated, pipeline, params, output=output)))
    else:
        typer.echo(output)


@app.command()
def localize(
    audio: Annotated[Path, typer.Argument(help="WAV, FLAC, MP3, Ogg, Opus or M4A.")],
    *,
    model: ModelOption = "keyvid-mini",
    audio_start: StartOption = 0.0,
    plot: Annotated[Path | None, typer.Option(help="Also draw waveform, curve and keyframes to this PNG.")] = None,
    localizer: LocalizerOption = "auto",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Hear the motion in AUDIO: its curve over 48 frames, and the keyframes that would be painted."""
    with _command():
        from model.localization.plan import plan_keyframes

        sound = _read_sound(audio, start_s=audio_start)
        pipeline = _load(model, device, localizer=localizer)
        fps = pipeline.config.fps
        curve = pipeline.localize(sound.clip)
        plan = plan_keyframes(curve, num_keyframes=pipeline.config.num_keyframes)
        if plot is not None:
            from model.plot import plot_motion

            plot_motion(plot, audio=sound.clip, curve=curve, plan=plan, fps=fps)
    if as_json:
        typer.echo(json.dumps(_localization_report(pipeline, curve, plan, sound)))
    else:
        _print_table(curve, plan, fps=fps)


class ProgressReport:
    """Shows stages and steps on the terminal's error stream."""

    def __init__(self, show: Callable[[str, int, int], None]) -> None:
        self._show = show

    @property
    def step(self) -> OnStep:
        """Hook for the pipeline's steps."""

        def report(progress: Progress) -> None:
            self._show(progress.stage, progress.step, progress.total)

        return report

    def frames(self, total: int) -> Callable[[int], None]:
        """Hook for the frames that were encoded."""

        def report(written: int) -> None:
            self._show("mux", written, total)

        return report


@contextmanager
def _progress() -> Iterator[ProgressReport]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, step: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=step)

        yield ProgressReport(show)


@contextmanager
def _command() -> Iterator[None]:
    """Prepare the process for the model, and say errors in one line."""
    # Read once, when torch is loaded: idle threads that spin make a busy machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        yield
    except KeyVIDError as error:
        typer.echo(f"keyvid: {error}", err=True)
        raise typer.Exit(_INPUT_ERROR if isinstance(error, InvalidInput) else _MODEL_ERROR) from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InvalidInput(f"There is no file {path}.")
    return path


@dataclass(frozen=True, slots=True)
class Sound:
    """The two seconds of a file that are used, `clip`, and what the file itself is. Times are seconds."""

    path: Path
    clip: AudioClip
    channels: int
    duration_s: float
    start_s: float

    def describe(self) -> dict[str, object]:
        """The file and its used part, in the words of the HTTP API."""
        used_end_s = min(self.start_s + self.clip.duration_s, self.duration_s)
        content = self.path.read_bytes()
        return {
            "sha256": hashlib.sha256(content).hexdigest(),
            "duration_s": round(self.duration_s, 6),
            "sample_rate": self.clip.sample_rate_hz,
            "channels": self.channels,
            "bytes": len(content),
            "used_start_s": self.start_s,
            "used_end_s": round(used_end_s, 6),
            "padded_s": round(self.clip.duration_s - (used_end_s - self.start_s), 6),
        }


def _read_sound(path: Path, *, start_s: float) -> Sound:
    """Read the two seconds from `start_s`; silence is added where the sound is shorter."""
    from model.media.audio import MAX_SECONDS, read_audio
    from model.media.mel import SAMPLE_RATE_HZ, WINDOW_SAMPLES

    if not math.isfinite(start_s):
        raise InvalidInput(f"--audio-start {start_s:g} is not a number of seconds.")
    seconds = WINDOW_SAMPLES / SAMPLE_RATE_HZ
    clip = read_audio(_existing(path), max_seconds=max(MAX_SECONDS, start_s + seconds))
    if clip.duration_s <= start_s:
        raise InvalidInput(f"The sound is {clip.duration_s:.2f} s long; it has nothing at {start_s:g} s.")
    return Sound(path, clip.window(start_s, seconds), clip.samples.shape[0], clip.duration_s, start_s)


def _load(model: str, device: str, *, localizer: str, offload: bool = False) -> KeyVIDPipeline:
    from model.pipeline import KeyVIDPipeline
    from model.pretrained import natural_unet_dtype, weights_folder

    device = _usable_device(device)
    dtype = natural_unet_dtype(weights_folder(model), device)
    pipeline = KeyVIDPipeline.from_pretrained(model, device=device, dtype=dtype, localizer=localizer, offload=offload)
    if pipeline.components.localizer is None and pipeline.listener is not None:
        typer.echo(
            f"{pipeline.config.name} has no localizer: {pipeline.listener.name}'s hears the motion for it.", err=True
        )
    return pipeline


def _usable_device(name: str) -> str:
    """The device of that name, or the best one for `auto`. Raises: InvalidInput when this machine has none such."""
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if name == "auto":
        return "cuda" if gpus else "cpu"
    usable = ["cpu", *(["cuda", *gpus] if gpus else [])]
    if name not in usable:
        raise InvalidInput(f"--device {name} is not here: give {', '.join(usable)} or auto.")
    return name


def _parse_crop(listed: str | None, image: Path) -> Crop | None:
    """The part of a picture that is listed as left, top, width and height in pixels."""
    from model.media.image import Crop, picture_size

    if listed is None:
        return None
    try:
        left, top, width, height = (int(entry) for entry in listed.split(","))
    except ValueError as error:
        raise InvalidInput(f"--image-crop {listed} is not left,top,width,height such as 40,0,640,400.") from error
    return Crop.of_pixels((left, top, width, height), *picture_size(image))


def _parse_keyframes(listed: str, *, fps: int) -> tuple[int, ...]:
    """Frame indices of a list such as `0,4,9`; entries with an `s` behind are seconds."""
    try:
        return tuple(
            round(float(entry.removesuffix("s")) * fps) if entry.endswith("s") else int(entry)
            for entry in (part.strip() for part in listed.split(","))
        )
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"--keyframes {listed} is not a list such as 0,4,9 or 0s,0.17s,0.4s.") from error


def _motion_report(curve: MotionCurve, plan: KeyframePlan, *, fps: int) -> dict[str, object]:
    return {
        "fps": fps,
        "curve": [round(value, 6) for value in curve.values],
        "peaks": curve.peaks,
        "valleys": curve.valleys,
        "keyframes": {"indices": plan.indices, "seconds": [round(index / fps, 4) for index in plan.indices]},
    }


def _localization_report(
    pipeline: KeyVIDPipeline, curve: MotionCurve, plan: KeyframePlan, sound: Sound
) -> dict[str, object]:
    """The fields of the HTTP API's localization."""
    return {
        "object": "localization",
        "model": pipeline.config.name,
        "source": pipeline.listener.name if pipeline.listener else pipeline.config.name,
        "num_frames": len(curve.values),
        **_motion_report(curve, plan, fps=pipeline.config.fps),
        "audio": sound.describe(),
    }


def _generation_report(
    generated: GeneratedLatents, pipeline: KeyVIDPipeline, params: GenerationParams, *, output: Path
) -> Mapping[str, object]:
    config = pipeline.config
    return {
        "output": str(output),
        "model": config.name,
        "seed": params.seed,
        "preset": params.preset,
        "motion_strength": params.motion_strength,
        "reference_compat": params.reference_compat,
        "frames": config.video.frames,
        "seconds": {stage: round(seconds, 3) for stage, seconds in generated.seconds.items()},
        "keyframe_source": generated.keyframe_source,
        **_motion_report(generated.curve, generated.plan, fps=config.fps),
    }


def _print_table(curve: MotionCurve, plan: KeyframePlan, *, fps: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("frame", "seconds", "motion", "why")
    for index in plan.indices:
        why = "peak" if index in curve.peaks else "valley" if index in curve.valleys else "first" if index == 0 else ""
        table.add_row(str(index), f"{index / fps:.3f}", f"{curve.values[index]:.3f}", why)
    Console().print(table)
