"""The model as a runner's engine: the only module that imports `model`.

Imports of `model` and torch stand inside `load_model`, so that only the spawned process pays for them.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from workers.contract import CLIP_SECONDS, FPS, NUM_FRAMES
from workers.jobs import JobStage, Keyframes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from model.generation import GenerationParams, GenerationState, Progress
    from model.media.image import Crop
    from model.pipeline import KeyVIDPipeline
    from model.previews import PreviewTap
    from workers.contract import VideoRequest
    from workers.engine import EngineHooks, EngineJob
    from workers.previews import Previews
    from workers.settings import Settings

logger = structlog.get_logger(__name__)


def load_model(settings: Settings) -> ModelEngine:
    """Load the model that the settings name onto its device.

    Raises: the model's CheckpointError.
    """
    # Read when torch is loaded. OpenMP threads that spin while idle take the cores from ffmpeg and from the API:
    # on a busy machine a clip then takes ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.compiled_dir))
    import torch  # noqa: PLC0415 - as said above

    from model.pipeline import KeyVIDPipeline  # noqa: PLC0415
    from model.pretrained import natural_unet_dtype, weights_folder  # noqa: PLC0415

    threads = settings.runner_threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    device = _device(settings.device, is_cuda_there=torch.cuda.is_available())
    folder = Path(weights_folder(settings.model))
    dtype: torch.dtype = (
        natural_unet_dtype(folder, device) if settings.dtype == "auto" else getattr(torch, settings.dtype)
    )
    pipeline = KeyVIDPipeline.from_pretrained(
        folder,
        device=device,
        dtype=dtype,
        offload=settings.offload,
        localizer=settings.localizer,
        guidance_batch=settings.guidance_batch or None,
    )
    if settings.compile_networks:
        pipeline.compile_networks()
    facts = {
        "version": version("keyvid"),
        "model": settings.model_name,
        "weights_sha256": _folder_digest(folder),
        "localizer": pipeline.listener.name if pipeline.listener else None,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        "torch": str(torch.__version__),
        "threads": threads,
        "guidance_batch": pipeline.guidance_batch,
        "compiled": settings.compile_networks,
    }
    return ModelEngine(
        pipeline,
        facts,
        ffmpeg=str(settings.ffmpeg) if settings.ffmpeg else None,
        code_sha256=_folder_digest(Path(inspect.getfile(KeyVIDPipeline)).parent, suffix=".py"),
        checkpoint_steps=settings.checkpoint_steps,
    )


@dataclass(frozen=True, slots=True)
class ModelEngine:
    """Makes videos with a loaded pipeline; `facts` describe what was loaded, `code_sha256` the code that runs it.

    A diffusion stage leaves its state every `checkpoint_steps` steps.
    """

    pipeline: KeyVIDPipeline
    facts: Mapping[str, Any]
    ffmpeg: str | None
    code_sha256: str
    checkpoint_steps: int

    @property
    def digest(self) -> str:
        """Changes with the weights, the localizer, the code and the precision."""
        names = ("version", "weights_sha256", "localizer", "dtype", "torch")
        parts = [self.code_sha256, *(str(self.facts[name]) for name in names)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def describe(self) -> Mapping[str, Any]:
        """Version, weights, device and precision."""
        return self.facts

    def warm_up(self) -> None:
        """Run all stages once with one step each, and decode; compiled networks meet every shape."""
        import torch  # noqa: PLC0415

        from model.clips import AudioClip, ImageFrame  # noqa: PLC0415
        from model.generation import GenerationParams  # noqa: PLC0415

        started = time.monotonic()
        shape = self.pipeline.config.video
        image = ImageFrame(torch.zeros(3, shape.height, shape.width))
        silence = AudioClip(torch.zeros(1, round(16_000 * CLIP_SECONDS)), 16_000)
        frames = tuple(range(0, shape.frames, shape.frames // self.pipeline.config.num_keyframes))
        params = GenerationParams(
            0, num_inference_steps=1, keyframes=None if self.pipeline.listener is not None else frames
        )
        if self.facts["compiled"]:
            # Its last steps are without guidance: fewer branches at once than anywhere else.
            self.pipeline.generate_latents(image, silence, "", replace(params, preset="fast", num_inference_steps=6))
        generated = self.pipeline.generate_latents(image, silence, "", params)
        for _ in self.pipeline.decode_for_video(generated.latents, image):
            pass
        logger.info("runner_warm", seconds=round(time.monotonic() - started, 2), **self.facts)

    def generate(self, job: EngineJob, hooks: EngineHooks) -> None:
        """Write the MP4 of a request, with the caller's own sound."""
        from model.generation import GenerationState  # noqa: PLC0415
        from model.media.audio import read_audio  # noqa: PLC0415
        from model.media.image import read_image  # noqa: PLC0415
        from model.media.video import write_video  # noqa: PLC0415
        from model.stage_watch import Keeping  # noqa: PLC0415

        request = job.request
        state = GenerationState.from_bytes(job.state) if job.state is not None else None

        def on_state(left: GenerationState) -> None:
            nonlocal state
            state = left
            _on_state(left, hooks)

        def on_step(progress: Progress) -> None:
            hooks.on_step(JobStage(progress.stage), progress.step, progress.total)

        if self.pipeline.device.type == "cuda":
            import torch  # noqa: PLC0415

            torch.cuda.reset_peak_memory_stats(self.pipeline.device)

        def make() -> None:
            if state is None:
                self.pipeline.plan(audio, params, on_step=on_step, on_state=on_state)
            image = reading.result()
            generated = self.pipeline.generate_latents(
                image,
                audio,
                request.prompt,
                params,
                on_step=on_step,
                on_state=on_state,
                state=state,
                check=hooks.check,
                previews=_preview_tap(hooks.previews) if hooks.previews is not None else None,
                keeping=Keeping(self.checkpoint_steps, hooks.wants_state),
            )
            hooks.on_step(JobStage.MUX, 0, NUM_FRAMES)
            write_video(
                self.pipeline.decode_for_video(generated.latents, image),
                audio,
                job.output,
                fps=FPS,
                num_frames=NUM_FRAMES,
                ffmpeg_path=self.ffmpeg,
                on_frames=lambda written: hooks.on_step(JobStage.MUX, written, NUM_FRAMES),
            )

        with ThreadPoolExecutor(max_workers=1) as aside:
            # The picture is read while the sound is heard.
            reading = aside.submit(
                read_image,
                job.image,
                height=request.height,
                width=request.width,
                fit=request.image_fit,
                crop=_crop(request),
            )
            audio = read_audio(job.audio).window(request.audio_start, CLIP_SECONDS)
            params = self._params(job)
            self._in_memory_there_is(make)

    def _in_memory_there_is(self, make: Callable[[], None]) -> None:
        """Make a video; where the device's memory is too short for it, once more in less."""
        from model.errors import OutOfMemory  # noqa: PLC0415

        try:
            make()
        except OutOfMemory:
            if self.pipeline.is_saving_memory:
                raise
        else:
            return
        # Outside of the handler, because the error holds the tensors of what failed.
        self.pipeline.save_memory()
        logger.warning("tried_again_in_less_memory")
        make()

    def device_memory(self) -> Mapping[str, int]:
        """What torch holds of the GPU, in bytes; empty on a CPU."""
        import torch  # noqa: PLC0415

        device = self.pipeline.device
        if device.type != "cuda":
            return {}
        return {
            "allocated": torch.cuda.memory_allocated(device),
            "reserved": torch.cuda.memory_reserved(device),
            "peak": torch.cuda.max_memory_reserved(device),
            "total": torch.cuda.get_device_properties(device).total_memory,
        }

    def _params(self, job: EngineJob) -> GenerationParams:
        from model.generation import GenerationParams  # noqa: PLC0415

        request = job.request
        return GenerationParams(
            seed=request.seed,
            num_inference_steps=request.num_inference_steps,
            guidance_text=request.guidance_text,
            guidance_image=request.guidance_image,
            guidance_audio=request.guidance_audio,
            interpolation_mode=request.interpolation_mode,
            motion_strength=request.motion_strength,
            preset=request.preset,
            keyframes=request.keyframes,
            reference_compat=request.reference_compat,
        )


def _on_state(state: GenerationState, hooks: EngineHooks) -> None:
    left = state.denoising
    finished = JobStage.LOCALIZATION if state.keyframe_latents is None else JobStage.KEYFRAMES
    stage, step = (finished, None) if left is None else (JobStage(left.stage), left.step)
    curve = state.curve
    heard = Keyframes(
        indices=tuple(state.plan.indices),
        curve=tuple(curve.values),
        peaks=curve.peaks,
        valleys=curve.valleys,
        source=state.keyframe_source,
    )
    hooks.on_state(stage, state.to_bytes(), heard, step)


def _crop(request: VideoRequest) -> Crop | None:
    """The part of the picture to animate; its pixels are of the caller's picture, which may be stored smaller."""
    from model.media.image import Crop  # noqa: PLC0415

    picture = request.image
    return None if request.image_crop is None else Crop.of_pixels(request.image_crop, picture.width, picture.height)


def _preview_tap(previews: Previews) -> PreviewTap:
    """The model's way to show previews."""
    from model.previews import PreviewTap  # noqa: PLC0415

    return PreviewTap(
        previews.is_due, lambda preview: previews.show(JobStage(preview.stage), preview.frame, preview.pixels)
    )


def _device(name: str, *, is_cuda_there: bool) -> str:
    if name != "auto":
        return name
    return "cuda" if is_cuda_there else "cpu"


def _folder_digest(folder: Path, *, suffix: str = "") -> str:
    """SHA-256 over the names and contents of all files of a folder whose names end so."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob(f"*{suffix}")):
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()
