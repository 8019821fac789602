"""The pipeline: localization, keyframes, interpolation (KeyVID, Figure 2), in one process."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from model.clips import AudioClip, ImageFrame, KeyframePlan, MotionCurve, VideoClip
from model.codecs.latent_flow import LatentFlowCodec
from model.condition_encoder import ConditionEncoder
from model.diffusion.guidance import BRANCHES
from model.diffusion.noise import stage_noise
from model.errors import CheckpointMismatch, InvalidInput, InvalidParams, KeyframesNeeded, OutOfMemory
from model.generation import Generation, GenerationState, Stage
from model.interpolation.interpolator import interpolate
from model.keyframes.generator import generate_keyframes
from model.localization.lending import borrow_listener, lender_of
from model.localization.listener import REQUEST, Listener
from model.localization.plan import plan_keyframes
from model.media.reference_compat import as_released_loader, through_video
from model.memory_plan import plan_memory
from model.placement import Placement, visitors
from model.presets import stage_sampling
from model.pretrained import (
    COMPONENTS,
    Components,
    build_components,
    load_components,
    read_config,
    save_components,
    weights_folder,
)
from model.stage_watch import NOTHING_KEPT, Keeping, StageWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor

    from model.conditioning import Conditioning
    from model.config import ModelConfig
    from model.generation import GenerationParams, OnState, OnStep
    from model.previews import PreviewTap, Sketch


@dataclass(frozen=True, slots=True)
class GeneratedLatents:
    """All frames before decoding: `latents` float32 `[1, C, 48, h, w]`, what was heard, by whom, seconds per stage."""

    latents: Tensor
    curve: MotionCurve
    plan: KeyframePlan
    seconds: dict[Stage, float]
    keyframe_source: str | None = None


class KeyVIDPipeline:
    """Animates a picture to a sound.

    Args:
        config: what the model is made of.
        components: its networks: on the CPU those that `visitors` of `model.placement` names, the others on the device.
        device: where they run.
        offload: whether UNets and codec too are on the device only while they work; slower, and fits smaller cards.
        listener: hears the keyframes of models without a localizer of their own.
        guidance_batch: how many guidance branches are evaluated at once: more is faster, and takes more memory.
    Raises: CheckpointMismatch when the listener hears clips of another length.
    """

    def __init__(
        self,
        config: ModelConfig,
        components: Components,
        *,
        device: torch.device | str = "cpu",
        offload: bool = False,
        listener: Listener | None = None,
        guidance_batch: int = len(BRANCHES),
    ) -> None:
        self.config = config
        self.components = components
        self.device = torch.device(device)
        modules = components.modules()
        self.placement = Placement(modules, self.device, visiting=visitors(modules, self.device, offload=offload))
        self.guidance_batch = guidance_batch
        self._conditions = ConditionEncoder(config, components, self.placement, self.device)
        own = components.localizer
        self.listener = Listener(own, config) if listener is None and own is not None else listener
        if self.listener is not None and self.listener.config.video.frames != config.video.frames:
            raise CheckpointMismatch(f"the localizer of {self.listener.name} hears clips of another length")

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        offload: bool = False,
        localizer: str = "auto",
        guidance_batch: int | None = None,
    ) -> KeyVIDPipeline:
        """Load a weights folder, or a packaged model by name.

        Args:
            path: the folder or name.
            device: where the networks run.
            dtype: that of the two UNets.
            offload: as in the constructor.
            localizer: `own` (keyframes must be given if there is none), another model's name or folder, or `auto`: the
                model's own, else keyvid-mini's. `listener.name` says whose it is.
            guidance_batch: as in the constructor; by default as many as the GPU's memory has room for, by plan.
        Raises: CheckpointMissing, CheckpointMismatch.
        """
        folder, place = weights_folder(path), torch.device(device)
        config = read_config(folder)
        lender = lender_of(config, localizer)
        listener = None if lender is None else borrow_listener(lender, device=place)
        away = visitors(COMPONENTS, place, offload=offload)
        components = load_components(
            folder, config, device=place, unet_dtype=dtype, away=away, has_shared_parameters=True
        )
        if guidance_batch is None:
            guidance_batch = len(BRANCHES)
            if place.type == "cuda":
                memory_bytes = torch.cuda.get_device_properties(place).total_memory
                guidance_batch = plan_memory(config, unet_dtype=dtype).guidance_batch(memory_bytes, offload=offload)
        return cls(config, components, device=place, offload=offload, listener=listener, guidance_batch=guidance_batch)

    @classmethod
    def from_config(cls, config: ModelConfig, *, seed: int = 0) -> KeyVIDPipeline:
        """Build a model with random weights, the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config, build_components(config))

    def save_pretrained(self, path: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write the weights folder that `from_pretrained` reads."""
        save_components(path, self.config, self.components, dtype=dtype)

    def compile_networks(self, *, backend: str = "inductor") -> None:
        """Have torch compile both UNets, for each shape when it is first met; `backend` is torch's.

        Networks that visit the device (`offload`) are compiled anew at every visit: keep them there.
        """
        for unet in (self.components.keyframes_unet, self.components.interpolation_unet):
            unet.compile(backend=backend, dynamic=False)

    def __call__(
        self,
        image: ImageFrame,
        audio: AudioClip,
        prompt: str,
        params: GenerationParams,
        *,
        on_step: OnStep | None = None,
        on_state: OnState | None = None,
        state: GenerationState | None = None,
    ) -> Generation:
        """Generate a video in memory; see `generate_latents` for arguments and errors."""
        generated = self.generate_latents(image, audio, prompt, params, on_step=on_step, on_state=on_state, state=state)
        frames = np.concatenate([chunk.cpu().numpy() for chunk in self.decode(generated.latents, image)])
        video = VideoClip(frames, self.config.fps)
        return Generation(video, generated.curve, generated.plan, generated.seconds, generated.keyframe_source)

    @torch.inference_mode()
    def generate_latents(
        self,
        image: ImageFrame,
        audio: AudioClip,
        prompt: str,
        params: GenerationParams,
        *,
        on_step: OnStep | None = None,
        on_state: OnState | None = None,
        state: GenerationState | None = None,
        check: Callable[[], None] | None = None,
        previews: PreviewTap | None = None,
        keeping: Keeping = NOTHING_KEPT,
    ) -> GeneratedLatents:
        """Run the three stages.

        Args:
            image: the first frame, at the model's own size.
            audio: the sound; its first 2 s drive the video, silence is added when it is shorter.
            prompt: what is to be seen; may be empty.
            params: seed, steps, guidance, keyframes.
            on_step: told of every step before it runs (0: the stage has begun); may raise to cancel.
            on_state: told what stages leave: each when it is finished, and in between as `keeping` says.
            state: what was left; the rest is generated as if nothing had been interrupted.
            check: called between guidance branches; may raise to cancel.
            previews: shown pictures as the latents clear; what is generated does not depend on it.
            keeping: when a diffusion stage leaves its state between two steps.
        Raises: InvalidInput (KeyframesNeeded among them), NonFiniteLatents, OutOfMemory; whatever the hooks raise.
        """
        self._require_size(image)
        if params.motion_strength != 1 and not isinstance(self.components.codec, LatentFlowCodec):
            raise InvalidParams(f"{self.config.name} paints its frames: it has no motion_strength")
        watch = StageWatch(on_step, on_state, check, previews, keeping)
        audio = _as_heard(audio, params)
        with _out_of_memory_named():
            if state is None:
                state = self._first_stage(audio, params, watch)
            conditioning = self.encode(image, audio, prompt)
            keyframes = state.keyframe_latents
            if keyframes is None:
                with watch.stage("keyframes"):
                    keyframes = self._generate_keyframes(conditioning, image, state, params=params, watch=watch)
                state = replace(state, keyframe_latents=keyframes.cpu(), denoising=None)
                watch.leave(state)
            with watch.stage("interpolation"):
                keyframes = keyframes.to(self.device)
                latents = self._interpolate(conditioning, image, keyframes, state, params=params, watch=watch)
        # Latent flow is motion relative to the first frame, so its multiple is the same motion, farther.
        latents = latents if params.motion_strength == 1 else latents * params.motion_strength
        return GeneratedLatents(latents, state.curve, state.plan, watch.seconds, state.keyframe_source)

    @torch.inference_mode()
    def plan(
        self,
        audio: AudioClip,
        params: GenerationParams,
        *,
        on_step: OnStep | None = None,
        on_state: OnState | None = None,
    ) -> GenerationState:
        """Run the first stage alone, which needs no picture; `generate_latents` goes on from what it leaves.

        Arguments and errors are those of `generate_latents`.
        """
        with _out_of_memory_named():
            return self._first_stage(_as_heard(audio, params), params, StageWatch(on_step, on_state))

    @property
    def is_saving_memory(self) -> bool:
        """Whether it holds as little on the device as it can."""
        return self.guidance_batch == 1 and not self.placement.resident

    def save_memory(self) -> None:
        """Evaluate one guidance branch at a time, and keep every network on the device only while it works."""
        self.guidance_batch = 1
        self.placement.send_home()

    @torch.inference_mode()
    def localize(self, audio: AudioClip) -> MotionCurve:
        """Hear how much should move in each frame (KeyVID sec. 3.2); the first 2 s count.

        Raises: KeyframesNeeded when there is no localizer, the model's own or another's.
        """
        if self.listener is None:
            raise KeyframesNeeded(f"{self.config.name} has no localizer: its keyframes must be given")
        with self.placement.using("localizer"):
            return self.listener.hear(audio, device=self.device)

    def encode(self, image: ImageFrame, audio: AudioClip, prompt: str) -> Conditioning:
        """Encode prompt, picture and sound, and the null of each."""
        return self._conditions.encode(image, audio, prompt)

    def decode(self, latents: Tensor, image: ImageFrame) -> Iterator[Tensor]:
        """Decode latents `[1, C, 48, h, w]` to chunks of frames, uint8 `[n, H, W, 3]`, as they are ready."""
        return self._decode(self.components.codec.decode, latents, image)

    def decode_for_video(self, latents: Tensor, image: ImageFrame) -> Iterator[Tensor]:
        """Decode the same frames as `model.media.video.write_video` takes them at the least cost."""
        return self._decode(self.components.codec.decode_for_video, latents, image)

    def _decode(
        self, codec_decode: Callable[[Tensor, Tensor], Iterator[Tensor]], latents: Tensor, image: ImageFrame
    ) -> Iterator[Tensor]:
        with self.placement.using("codec"):
            with torch.inference_mode(), _out_of_memory_named():
                chunks = codec_decode(latents.to(self.device), self._picture(image))
            while True:
                # Not held open across a yield: the caller's own torch code must not run in inference mode.
                with torch.inference_mode(), _out_of_memory_named():
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                yield chunk

    def _first_stage(self, audio: AudioClip, params: GenerationParams, watch: StageWatch) -> GenerationState:
        with watch.stage("localization"):
            watch.report("localization", 0, 1)
            state = self._plan(audio, params.keyframes)
            watch.report("localization", 1, 1)
        watch.leave(state)
        return state

    def _plan(self, audio: AudioClip, chosen: tuple[int, ...] | None) -> GenerationState:
        """The caller's keyframes, with what was heard beside them; without any, those that were heard."""
        frames, count = self.config.video.frames, self.config.num_keyframes
        if chosen is None:
            curve = self.localize(audio)
            plan = plan_keyframes(curve, num_keyframes=count)
            return GenerationState(curve, plan, keyframe_source=self.listener.name if self.listener else None)
        if len(chosen) != count or chosen[-1] >= frames:
            raise InvalidParams(f"{self.config.name} paints {count} keyframes, at most frame {frames - 1}")
        curve = MotionCurve((0.0,) * frames, (), ()) if self.listener is None else self.localize(audio)
        return GenerationState(curve, KeyframePlan(chosen, frames), keyframe_source=REQUEST)

    def _generate_keyframes(
        self,
        conditioning: Conditioning,
        image: ImageFrame,
        state: GenerationState,
        *,
        params: GenerationParams,
        watch: StageWatch,
    ) -> Tensor:
        noise, frames = stage_noise(params.seed, "keyframes"), state.plan.indices
        with self.placement.using("codec"):
            first_frame = self.components.codec.encode(self._picture(image), noise=noise)
        sketcher = partial(self._sketch, image, first_frame, params)
        hooks = watch.hooks("keyframes", state, noise)
        hooks = watch.previewed(hooks, "keyframes", sketcher, frames[1:], positions=range(1, len(frames)))
        with self.placement.using("keyframes_unet"):
            return generate_keyframes(
                self.components.keyframes_unet,
                conditioning,
                first_frame,
                [frames],
                stage=self.config.keyframes,
                sampling=stage_sampling(self.config, "keyframes", params),
                noise=noise,
                hooks=hooks,
                guidance_batch=self.guidance_batch,
            )

    def _interpolate(
        self,
        conditioning: Conditioning,
        image: ImageFrame,
        keyframes: Tensor,
        state: GenerationState,
        *,
        params: GenerationParams,
        watch: StageWatch,
    ) -> Tensor:
        noise, frames = stage_noise(params.seed, "interpolation"), state.plan.indices
        through = partial(through_video, fps=self.config.keyframes.fps) if params.reference_compat else None
        with self.placement.using("codec"):
            codec = self.components.codec
            handed = codec.hand_over(keyframes, self._picture(image), noise=noise, through=through)
        sketcher = partial(self._sketch, image, handed[:, :, 0], params)  # the first keyframe is frame 0: the picture
        hooks = watch.hooks("interpolation", state, noise)
        hooks = watch.previewed(hooks, "interpolation", sketcher, frames[1:], positions=frames[1:])
        with self.placement.using("interpolation_unet"):
            return interpolate(
                self.components.interpolation_unet,
                conditioning,
                handed,
                frames,
                stage=self.config.interpolation,
                mode=params.interpolation_mode or self.config.interpolation_mode,
                sampling=stage_sampling(self.config, "interpolation", params),
                noise=noise,
                hooks=hooks,
                guidance_batch=self.guidance_batch,
            )

    def _sketch(self, image: ImageFrame, latents: Tensor, params: GenerationParams) -> Sketch:
        """How to draw previews, by the picture and its latents `[1, C, h, w]`."""
        sketch = self.components.codec.sketcher(self._picture(image), latents)
        return lambda frame: sketch(frame * params.motion_strength)

    def _picture(self, image: ImageFrame) -> Tensor:
        return image.pixels[None].to(self.device)

    def _require_size(self, image: ImageFrame) -> None:
        expected = (self.config.video.height, self.config.video.width)
        if image.size != expected:
            raise InvalidInput(f"{self.config.name} animates pictures of {expected[1]}x{expected[0]} px")


def _as_heard(audio: AudioClip, params: GenerationParams) -> AudioClip:
    """The sound as the networks get it."""
    return as_released_loader(audio) if params.reference_compat else audio


@contextmanager
def _out_of_memory_named() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory from error
