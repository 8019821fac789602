"""Animating in this process, with the model of the package `keyvid`; importing this module takes torch a second."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from keyvid_client.options import Upload
from model.generation import GenerationParams
from model.media.audio import read_audio
from model.media.image import read_image
from model.media.video import write_video
from model.pipeline import KeyVIDPipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from keyvid_client.options import Content, VideoOptions
    from model.generation import Progress

_HERE = {
    "seed",
    "audio_start",
    "image_fit",
    "num_inference_steps",
    "guidance_text",
    "guidance_image",
    "guidance_audio",
    "interpolation_mode",
    "motion_strength",
    "preset",
    "keyframes",
    "reference_compat",
    "model",
}
_BEGINS_AT = {"localization": 0, "keyframes": 2, "interpolation": 25, "mux": 97}
"""Percent of the whole at which each stage begins, as it is about on a CPU."""


def generate(
    image: Content, audio: Content, prompt: str, options: VideoOptions, *, report: Callable[[int, str], object]
) -> bytes:
    """Run the model; returns the MP4. `report` is told percent and stage.

    Raises: TypeError for options that need a service; model.errors.KeyVIDError.
    """
    unknown = sorted(options.keys() - _HERE)
    if unknown:
        raise TypeError(f"Without a service there is no {', '.join(unknown)}: set KEYVID_URL, or leave them out.")
    params = _params(options)
    pipeline = _load(options.get("model", "keyvid-mini"))
    shape, fps = pipeline.config.video, pipeline.config.fps
    start_s, length_s = options.get("audio_start", 0.0), shape.frames / fps

    def on_step(progress: Progress) -> None:
        report(_percent(progress.stage, progress.step / progress.total), progress.stage)

    def on_frames(written: int) -> None:
        report(_percent("mux", written / shape.frames), "mux")

    with tempfile.TemporaryDirectory(prefix="keyvid-") as folder:
        sound = read_audio(_on_disk(audio, folder, "audio"), max_seconds=start_s + length_s)
        clip = sound.window(start_s, length_s)
        fit = options.get("image_fit", "cover")
        frame = read_image(_on_disk(image, folder, "image"), height=shape.height, width=shape.width, fit=fit)
        generated = pipeline.generate_latents(frame, clip, prompt, params, on_step=on_step)
        frames, output = pipeline.decode_for_video(generated.latents, frame), Path(folder, "video.mp4")
        write_video(frames, clip, output, fps=fps, num_frames=shape.frames, on_frames=on_frames)
        return output.read_bytes()


def _params(options: VideoOptions) -> GenerationParams:
    keyframes = options.get("keyframes")
    return GenerationParams(
        seed=options.get("seed", secrets.randbelow(2**32)),
        num_inference_steps=options.get("num_inference_steps"),
        guidance_text=options.get("guidance_text"),
        guidance_image=options.get("guidance_image"),
        guidance_audio=options.get("guidance_audio"),
        interpolation_mode=options.get("interpolation_mode"),
        motion_strength=options.get("motion_strength", 1.0),
        keyframes=None if keyframes is None else tuple(keyframes),
        reference_compat=options.get("reference_compat", False),
        preset=options.get("preset", "exact"),
    )


def _load(model: str) -> KeyVIDPipeline:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return KeyVIDPipeline.from_pretrained(
        model, device=device, dtype=torch.float32 if device == "cpu" else torch.float16
    )


def _on_disk(source: Content, folder: str, name: str) -> Path:
    """A path to a picture or a sound, wherever it comes from."""
    upload = Upload(source, name=name)
    if upload.path is not None:
        return upload.path
    path = Path(folder, name)
    path.write_bytes(upload.content)
    return path


def _percent(stage: str, share: float) -> int:
    begins = _BEGINS_AT[stage]
    ends = min((percent for percent in _BEGINS_AT.values() if percent > begins), default=100)
    return round(begins + share * (ends - begins))
