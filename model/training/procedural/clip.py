"""One procedural clip: picture, sound, prompt, and the motion that joins them, from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.codecs.latent_flow import FlowCodecConfig
from model.media.faces import NO_FACE, FaceBox
from model.training.procedural.canvas import Canvas
from model.training.procedural.catalogue import KINDS, SUBJECTS, Subject, prompt_for
from model.training.procedural.dice import Dice
from model.training.procedural.motions import largest, move, reach
from model.training.procedural.pictures import paint_scene
from model.training.procedural.rooms import record
from model.training.procedural.sounds import compose, perform

if TYPE_CHECKING:
    from model.training.procedural.canvas import Field
    from model.training.procedural.drawn import Drawn

__all__ = ["FIRST_RESERVED_SEED", "IMPULSIVE_KINDS", "KINDS", "ProceduralClip", "make_clip", "render_picture"]

IMAGE_SIZE = (80, 128)
FIRST_RESERVED_SEED = 2**31
IMPULSIVE_KINDS = ("impact", "bark", "shot", "beat", "boom", "horn")

_PICTURE_HEIGHT_PX = 320  # displacement units are those of a 320x512 picture
_CELLS = (10, 16)
_MISSED_FACES = 0.3  # a detector misses some, and frames others a little off
_FRAMING_ERROR = 0.12


@dataclass(frozen=True, slots=True)
class ProceduralClip:
    """A first frame, two seconds of sound, and how the one moves to the other.

    Args:
        image: uint8 `[80, 128, 3]`.
        samples: float32 `[32000]`, 16 kHz mono.
        bases: float16 `[K, 4, 10, 16]`, K <= 4, in units of the latent-flow codec.
        curves: float32 `[K, 48]`.
        prompt: words of the subject among others, or none.
        kind: law of motion.
        event_times_s: onsets; of sustained kinds, when they are loudest.
        face: what a detector makes of the picture: left, top, right, bottom as shares of it, or zeros.
    """

    image: npt.NDArray[np.uint8]
    samples: npt.NDArray[np.float32]
    bases: npt.NDArray[np.float16]
    curves: npt.NDArray[np.float32]
    prompt: str
    kind: str
    event_times_s: tuple[float, ...]
    face: FaceBox = NO_FACE

    def latents(self) -> npt.NDArray[np.float32]:
        """Latent flow of every frame relative to the first: float32 `[4, 48, 10, 16]`."""
        moved = self.curves - self.curves[:, :1]
        flow: npt.NDArray[np.float32] = np.einsum("kt,kchw->cthw", moved, self.bases.astype(np.float32))
        return flow

    def motion_score(self) -> npt.NDArray[np.float32]:
        """How much moves in each frame: `[48]`, mean |d dx| + |d dy| since the frame before, the first 0.

        In displacement units of 16 px of a 320x512 picture.
        """
        scale = np.asarray(FlowCodecConfig().scale[:2], np.float32)[:, None, None, None]
        steps = np.abs(np.diff(self.latents()[:2] / scale, axis=1)).sum(axis=0).mean(axis=(1, 2))
        return np.concatenate((np.zeros(1, np.float32), steps))


def make_clip(seed: int) -> ProceduralClip:
    """Make the clip of a seed; seeds from `FIRST_RESERVED_SEED` on use sounds that smaller ones never do."""
    streams = _streams(seed)
    subject = draw_subject(streams.plan)
    score = compose(subject.voice, streams.sound)
    samples = record(perform(subject.voice, score, streams.sound), streams.sound)
    canvas, drawn = _paint(streams, subject, *IMAGE_SIZE)
    fields, curves = move(subject.kind, canvas, drawn, score)
    return ProceduralClip(
        image=canvas.picture(),
        samples=samples,
        bases=_to_latents(fields, curves, reach_units=reach(subject.kind, drawn)),
        curves=np.stack(curves).astype(np.float32),
        prompt=prompt_for(subject, streams.plan),
        kind=subject.kind,
        event_times_s=score.times_s,
        face=detect_face(canvas, streams.detector),
    )


def render_picture(seed: int, height: int = 320, width: int = 512) -> npt.NDArray[np.uint8]:
    """The picture of a seed's clip at another size: uint8 `[H, W, 3]`."""
    streams = _streams(seed)
    canvas, _ = _paint(streams, draw_subject(streams.plan), height, width)
    return canvas.picture()


def draw_subject(dice: Dice) -> Subject:
    """Draw a kind, all alike, then one of its subjects."""
    kind = dice.pick(KINDS)
    return dice.pick([subject for subject in SUBJECTS if subject.kind == kind])


def detect_face(canvas: Canvas, dice: Dice) -> FaceBox:
    """What a face detector would report: the largest face, framed roughly; some are missed."""
    is_missed, shift_x, shift_y, grow = (
        dice.chance(_MISSED_FACES),
        *(dice.between(-_FRAMING_ERROR, _FRAMING_ERROR) for _ in range(3)),
    )
    if is_missed or not canvas.faces:
        return NO_FACE
    x, y, half = max(canvas.faces, key=lambda face: face[2])
    x, y, half = x + shift_x * half, y + shift_y * half, (1 + grow) * half
    return (x - half) / canvas.aspect, y - half, (x + half) / canvas.aspect, y + half


@dataclass(frozen=True, slots=True)
class _Streams:
    """Independent draws, so that the sound of a seed does not depend on its picture."""

    plan: Dice
    sound: Dice
    picture: Dice
    detector: Dice


def _streams(seed: int) -> _Streams:
    is_held_out = seed >= FIRST_RESERVED_SEED
    return _Streams(*(Dice((seed, part), is_held_out=is_held_out) for part in range(4)))


def _paint(streams: _Streams, subject: Subject, height: int, width: int) -> tuple[Canvas, Drawn]:
    light = (streams.picture.between(-0.8, 0.3), -0.8)
    canvas = Canvas(height, width, light=light)
    return canvas, paint_scene(canvas, subject, streams.picture)


def _to_latents(fields: list[Field], curves: list[Field], *, reach_units: float) -> npt.NDArray[np.float16]:
    """Pool fields to cells and turn them into latent units, with the law's largest displacement set to its reach.

    The codec warps backwards, output(x) = input(x + d), so displacements are minus the motion.
    """
    codec = FlowCodecConfig()
    rows, columns = _CELLS
    pooled = [
        field.reshape(4, rows, field.shape[1] // rows, columns, field.shape[2] // columns).mean(axis=(2, 4))
        for field in fields
    ]
    found = largest(pooled, curves)
    stretch = min(reach_units / found, 6.0) if found > 0 else 1.0
    unit = _PICTURE_HEIGHT_PX / codec.unit_px
    scale = np.asarray(codec.scale, np.float32) * np.asarray((-unit * stretch, -unit * stretch, 1.0, 1.0), np.float32)
    return (np.stack(pooled) * scale[:, None, None]).astype(np.float16)
