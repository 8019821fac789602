"""A denoising step and a whole clip, against the plain path of the same run."""

from __future__ import annotations

import resource
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ceiling import measure_ceiling
from benchmarks.plain_clip import PlainStage, plain_latents, plain_video, single_precision
from benchmarks.timing import in_turn
from model.generation import PRESETS
from model.interpolation.freenoise import STRIDE_FRAMES, WINDOW_FRAMES
from model.live_memory import LiveMemory
from model.media.video import write_video

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from benchmarks.subjects import Subject
    from model.conditioning import StageConditioning
    from model.config import StageConfig
    from model.diffusion.guidance import Guidance
    from model.generation import GenerationParams, Preset
    from model.networks.unet import UNet

_TIMESTEP = 500


@torch.inference_mode()
def measure_steps(subject: Subject, *, rounds: int) -> Mapping[str, float]:
    """One guided step of each stage: all branches that its guidance needs, as the pipeline and as the plain path."""
    pipeline, config = subject.pipeline, subject.pipeline.config
    ceiling = measure_ceiling(subject.device, subject.dtype)
    conditioning = pipeline.encode(subject.image, subject.audio, subject.prompt)
    shape = config.video.to_latent(channels=pipeline.components.codec.latent_channels, cell_px=_cell_px(subject))
    frames = list(range(0, config.video.frames, config.video.frames // config.num_keyframes))

    def latents(num_frames: int) -> Tensor:
        drawn = torch.randn(
            1, shape.channels, num_frames, shape.height, shape.width, generator=torch.Generator().manual_seed(0)
        )
        return drawn.to(subject.device)

    keyframes, all_frames = config.keyframes, config.interpolation
    window = None if config.interpolation_mode == "released" else (WINDOW_FRAMES, STRIDE_FRAMES)
    steps = {
        "keyframes": (
            pipeline.components.keyframes_unet,
            conditioning.at_keyframes(
                [frames], concat=latents(len(frames)), fps=keyframes.fps, residual_scale=keyframes.residual_scale
            ),
            keyframes,
            None,
        ),
        "interpolation": (
            pipeline.components.interpolation_unet,
            conditioning.at_all_frames(
                concat=latents(config.video.frames), fps=all_frames.fps, residual_scale=all_frames.residual_scale
            ),
            all_frames,
            window,
        ),
    }
    figures = {"ceiling: matrix products, TFLOP/s": ceiling.matrix_tflops, "ceiling: copies, GB/s": ceiling.copy_gb_s}
    ratios: dict[str, float] = {}
    for name, (unet, seen, stage, own_window) in steps.items():
        step = GuidedStep(unet, seen, stage, own_window, x=latents(seen.concat.shape[2]), guidance=stage.guidance)
        ratio, rest = step.measure(subject, rounds=rounds, matrix_tflops=ceiling.matrix_tflops)
        ratios |= {f"{name} step: {figure}": value for figure, value in ratio.items()}
        figures |= {f"{name} step: {figure}": value for figure, value in rest.items()}
    return {**ratios, **figures}


class GuidedStep:
    """One step of one stage, evaluated in two ways."""

    def __init__(
        self,
        unet: UNet,
        seen: StageConditioning,
        stage: StageConfig,
        window: tuple[int, int] | None,
        *,
        x: Tensor,
        guidance: Guidance,
    ) -> None:
        self._x, self._guidance = x, guidance
        self._plain = PlainStage(single_precision(unet), unet.config, seen, window)
        self._predict = seen.predictor(unet, temporal_window=window)
        self._stage = stage

    def ours(self, guidance_batch: int) -> Tensor:
        """Guided velocity as the denoising loop computes it."""
        branches = self._guidance.branches()
        predictions = {}
        for start in range(0, len(branches), guidance_batch):
            group = branches[start : start + guidance_batch]
            predictions |= dict(zip(group, (v.float() for v in self._predict(group, self._x, _TIMESTEP)), strict=True))
        return self._guidance.combine(predictions)

    def plain(self) -> Tensor:
        """The same, plainly: four branches in float32."""
        return self._plain.velocity(self._x, _TIMESTEP, self._guidance)

    def measure(
        self, subject: Subject, *, rounds: int, matrix_tflops: float
    ) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Ratios, and what they are made of."""
        ours = partial(self.ours, subject.pipeline.guidance_batch)
        expected, actual = self.plain(), ours()
        with FlopCounterMode(display=False) as counter:
            ours()
        timings = in_turn({"plain": self.plain, "ours": ours}, rounds=rounds, device=subject.device)
        tflops = counter.get_total_flops() / timings["ours"].seconds / 1e12
        ratios = {
            "times as fast as the plain path": timings["plain"].seconds / timings["ours"].seconds,
            "times less processor time": timings["plain"].processor_seconds / timings["ours"].processor_seconds,
            "share of the ceiling": tflops / matrix_tflops,
            "error, of the largest value": float((actual - expected).abs().max() / expected.abs().max()),
        }
        return ratios, {
            "s": timings["ours"].seconds,
            "processor s": timings["ours"].processor_seconds,
            "plain path, s": timings["plain"].seconds,
            "plain path, processor s": timings["plain"].processor_seconds,
            "TFLOP": counter.get_total_flops() / 1e12,
            "TFLOP/s": tflops,
            "peak memory beside the weights, MB": _peak_mb(subject.device, ours),
        }


def measure_clips(subject: Subject, *, rounds: int, presets: Sequence[Preset] = PRESETS) -> Mapping[str, float]:
    """A whole clip up to its MP4, under each preset, against the plain path."""
    with tempfile.TemporaryDirectory(prefix="keyvid-bench-") as folder:
        path = Path(folder, "video.mp4")
        request = (subject.pipeline, subject.image, subject.audio, subject.prompt)
        variants: dict[str, Callable[[], object]] = {"plain": lambda: plain_video(*request, subject.params, path=path)}
        for preset in presets:
            variants[preset] = partial(_make_clip, subject, replace(subject.params, preset=preset), path)
        timings = in_turn(variants, rounds=rounds, device=subject.device)
    expected = plain_latents(*request, subject.params)
    actual = subject.pipeline.generate_latents(*request[1:], subject.params).latents
    plain = timings["plain"]
    ratios = {
        f"{preset}: times as fast as the plain path": plain.seconds / timings[preset].seconds for preset in presets
    } | {
        f"{preset}: times less processor time": plain.processor_seconds / timings[preset].processor_seconds
        for preset in presets
    }
    seconds = {f"{name}, s": timing.seconds for name, timing in timings.items()}
    processor = {f"{name}, processor s": timing.processor_seconds for name, timing in timings.items()}
    return {
        **ratios,
        "exact: error of the latents against the plain path": float((actual - expected).abs().max()),
        **seconds,
        **processor,
        "peak memory, MB": _peak_so_far_mb(subject.device),
    }


def _make_clip(subject: Subject, params: GenerationParams, path: Path) -> None:
    pipeline = subject.pipeline
    latents = pipeline.generate_latents(subject.image, subject.audio, subject.prompt, params).latents
    config = pipeline.config
    frames = pipeline.decode_for_video(latents, subject.image)
    write_video(frames, subject.audio, path, fps=config.fps, num_frames=config.video.frames)


def _cell_px(subject: Subject) -> int:
    return subject.pipeline.components.codec.cell_px


def _peak_mb(device: torch.device, compute: Callable[[], object]) -> float:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        compute()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    with LiveMemory() as memory:
        compute()
    return memory.peak_bytes / 1e6


def _peak_so_far_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux counts in KiB
