"""Scenes whose truth is known: what is seen, heard and asked for, when something happens, and how it moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from model.clips import AudioClip, ImageFrame
from model.evaluation.mixing import mixed_scene
from model.media.mel import SAMPLE_RATE_HZ
from model.training.procedural.clip import make_clip, render_picture
from model.training.procedural.examples import SLOW_RATES_HZ, demo_set
from model.training.recipes import HELD_OUT_SEED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from model.training.procedural.examples import DemoClip

SceneSet = Literal["held-out", "unheard"]


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene.

    Args:
        name: unique in its set.
        kind: law of motion.
        image: the first frame, at the model's size.
        audio: two seconds of sound.
        prompt: may be empty.
        event_times_s: when something is heard to happen.
        truth: latent flow of the scene's own law, float32 `[1, 4, 48, 10, 16]`, where it is known.
    """

    name: str
    kind: str
    image: ImageFrame
    audio: AudioClip
    prompt: str
    event_times_s: tuple[float, ...]
    truth: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class SceneKey:
    """Names a scene without making it: `held-out` procedural clips, or `unheard` syntheses, by number."""

    group: SceneSet
    number: int

    def make(self, *, height: int, width: int) -> Scene:
        """Paint and sound the scene; pictures of unheard scenes are 320x512."""
        if self.group == "unheard":
            return _of_demo(mixed_scene(self.number))
        seed = HELD_OUT_SEED + self.number
        clip = make_clip(seed)
        return Scene(
            name=f"held-out {self.number}",
            kind=clip.kind,
            image=_to_image(render_picture(seed, height, width)),
            audio=_to_audio(clip.samples),
            prompt=clip.prompt,
            event_times_s=clip.event_times_s,
            truth=torch.from_numpy(clip.latents())[None],
        )

    def sound(self) -> AudioClip:
        """The scene's sound alone."""
        if self.group == "unheard":
            return _to_audio(mixed_scene(self.number).samples)
        return _to_audio(make_clip(HELD_OUT_SEED + self.number).samples)


def demo_scenes(count: int = 24, *, rates_hz: Sequence[float] = SLOW_RATES_HZ) -> tuple[Scene, ...]:
    """The demo set, whose pictures, sounds and syntheses training never saw."""
    return tuple(_of_demo(clip) for clip in demo_set(count, rates_hz=rates_hz))


def _of_demo(clip: DemoClip) -> Scene:
    return Scene(
        clip.name, clip.kind, _to_image(clip.picture), _to_audio(clip.samples), clip.prompt, clip.event_times_s
    )


def _to_image(picture: npt.NDArray[np.uint8]) -> ImageFrame:
    return ImageFrame(torch.from_numpy(picture).permute(2, 0, 1).float() / 127.5 - 1)


def _to_audio(samples: npt.NDArray[np.float32]) -> AudioClip:
    return AudioClip(torch.from_numpy(samples)[None], SAMPLE_RATE_HZ)
