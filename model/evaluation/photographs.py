"""Ten natural photographs that Python packages ship, animated to fitting sounds: what moves, and what it costs them.

Training saw no photograph. There is no truth to compare with: what is measured is how far things move, whether the rest
stays still, and whether the picture survives the warp.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from scipy import ndimage

from model.clips import AudioClip
from model.codecs.latent_flow import LatentFlowCodec
from model.errors import CheckpointMismatch, InvalidInput
from model.evaluation.bootstrap import mean_estimate
from model.evaluation.report import ReportTable
from model.generation import GenerationParams
from model.media.image import to_frame
from model.media.mel import SAMPLE_RATE_HZ
from model.training.procedural.clip import FIRST_RESERVED_SEED
from model.training.procedural.dice import Dice
from model.training.procedural.rooms import record
from model.training.procedural.sounds import compose, perform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.clips import ImageFrame
    from model.pipeline import KeyVIDPipeline

_SEED = FIRST_RESERVED_SEED + 2**22
_PERCENTILE = 99  # of the picture's displacement
_STILL_SHARE = 0.1  # of that displacement: what never moves farther counts as still
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph, and what it is animated to.

    Args:
        name: in the table.
        package, file: where it lies.
        credit: who made it, and under which terms it may be shown.
        prompt: what is to be seen.
        voice: procedural synthesis of its sound.
        focus: which part of its height is kept, from 0 (top) to 1.
    """

    name: str
    package: str
    file: str
    credit: str
    prompt: str
    voice: str
    focus: float = 0.5

    def read(self, *, height: int, width: int) -> ImageFrame:
        """Read it, cropped to the model's size. Raises: InvalidInput when its package is not installed."""
        found = find_spec(self.package)
        for folder in (found.submodule_search_locations or ()) if found is not None else ():
            if (Path(folder) / self.file).is_file():
                with Image.open(Path(folder) / self.file) as file:
                    picture = file.convert("RGB")
                return to_frame(
                    ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS, centering=(0.5, self.focus))
                )
        raise InvalidInput(f"{self.name} needs the package {self.package}: pip install '.[eval]' in KeyVID's folder")

    def sound(self) -> tuple[AudioClip, tuple[float, ...]]:
        """Two seconds of its voice, always the same, and when something is heard to happen."""
        dice = Dice((_SEED, PHOTOGRAPHS.index(self)), is_held_out=True)
        score = compose(self.voice, dice)
        samples = record(perform(self.voice, score, dice), dice).astype(np.float32)
        return AudioClip(torch.from_numpy(samples)[None], SAMPLE_RATE_HZ), score.times_s


PHOTOGRAPHS = (
    Photograph("astronaut", "skimage", "data/astronaut.png", "NASA, public domain", "talking", "speech", 0.0),
    Photograph("officer", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "US Navy, public domain",
               "singing", "speech", 0.1),
    Photograph("cat", "skimage", "data/chelsea.png", "Stefan van der Walt, CC0", "cat crying", "baby"),
    Photograph("cup", "skimage", "data/coffee.png", "Rachel Michetti, CC0", "clinking", "metal"),
    Photograph("coins", "skimage", "data/coins.png", "Brooklyn Museum, no known restrictions", "tapping", "metal"),
    Photograph("rocket", "skimage", "data/rocket.jpg", "SpaceX, CC0", "explosion", "blast"),
    Photograph("motorcycle", "skimage", "data/motorcycle_left.png", "Middlebury Stereo 2014, CC0", "engine", "motor"),
    Photograph("photographer", "skimage", "data/camera.png", "Lav Varshney, CC0", "dancing", "kit",
               0.1),
    Photograph("flower", "sklearn", "datasets/images/flower.jpg", "vultilion, CC BY 2.0", "wind", "gust"),
    Photograph("palace", "sklearn", "datasets/images/china.jpg", "danielbuechele, CC BY 2.0", "thunder", "blast"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PhotographReading:
    """What became of one photograph.

    Args:
        photograph: which.
        moved_px: displacement at the 99th percentile of the picture, in the frame where it is largest.
        still_share: part of the picture that never moves farther than a tenth of that.
        still_flow_px: mean flow from frame to frame there.
        sharpness: variance of the Laplacian of the frames over that of the photograph, at its least.
        folded: part of all pixels at which the warp turns the picture over: tearing.
        frames: uint8 `[T, H, W, 3]`.
        reach_px: farthest displacement of every pixel, float32 `[H, W]`.
        shown: frames at the sound's events.
        most_moved: frame in which the displacement is largest.
    """

    photograph: Photograph
    moved_px: float
    still_share: float
    still_flow_px: float
    sharpness: float
    folded: float
    frames: npt.NDArray[np.uint8]
    reach_px: npt.NDArray[np.float32]
    shown: tuple[int, ...]
    most_moved: int


def read_photographs(
    pipeline: KeyVIDPipeline,
    photographs: Sequence[Photograph] = PHOTOGRAPHS,
    *,
    on_photograph: Callable[[], None] | None = None,
) -> list[PhotographReading]:
    """Animate the photographs. Raises: InvalidInput for a missing package, CheckpointMismatch without latent flow."""
    readings = []
    for photograph in photographs:
        readings.append(_read(pipeline, photograph))
        if on_photograph is not None:
            on_photograph()
    return readings


def photograph_table(readings: Sequence[PhotographReading]) -> ReportTable:
    """One photograph a row."""
    rows = [
        (
            f"{reading.photograph.name}, {reading.photograph.prompt!r}",
            (
                reading.moved_px,
                reading.still_share,
                reading.still_flow_px,
                reading.sharpness,
                reading.folded,
                reading.photograph.credit,
            ),
        )
        for reading in readings
    ]
    means = tuple(
        mean_estimate([float(getattr(reading, name)) for reading in readings])
        for name in ("moved_px", "still_share", "still_flow_px", "sharpness", "folded")
    )
    return ReportTable(
        "photographs",
        f"{len(readings)} natural photographs that training never saw.",
        ("photograph", "moves, px", "still share", "flow there, px", "sharpness", "folded", "credit"),
        (*rows, ("all", (*means, ""))),
        "*Moves*: displacement at the 99th percentile of the picture when it is largest. *Still share*: what never "
        "moves farther than a tenth of that. *Sharpness*: least variance of the Laplacian over the photograph's own. "
        "*Folded*: part of the pixels where the warp turns over.",
    )


def sharpness(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Variance of the Laplacian of the luma of each frame uint8 `[T, H, W, 3]`: `[T]`."""
    luma = frames @ _LUMA
    return np.array([float(ndimage.laplace(frame).var()) for frame in luma])


def folded_share(displacement: npt.NDArray[np.float32]) -> float:
    """Part of the pixels of `[T, 2, H, W]` at which x + d(x) turns the picture over (Jacobian not positive)."""
    right_x, right_y = np.gradient(displacement[:, 0], axis=2), np.gradient(displacement[:, 0], axis=1)
    down_x, down_y = np.gradient(displacement[:, 1], axis=2), np.gradient(displacement[:, 1], axis=1)
    return float(((1 + right_x) * (1 + down_y) - right_y * down_x <= 0).mean())


def _read(pipeline: KeyVIDPipeline, photograph: Photograph) -> PhotographReading:
    config, codec = pipeline.config, pipeline.components.codec
    if not isinstance(codec, LatentFlowCodec):
        raise CheckpointMismatch(f"{config.name} draws no latent flow")
    height, width = config.video.height, config.video.width
    image = photograph.read(height=height, width=width)
    audio, events = photograph.sound()
    latents = pipeline.generate_latents(image, audio, photograph.prompt, GenerationParams(seed=0)).latents
    frames = np.concatenate([chunk.cpu().numpy() for chunk in pipeline.decode(latents, image)])
    drawn = codec.displacement(latents[0].transpose(0, 1), height=height, width=width).cpu().numpy()
    drawn[0] = 0
    length = np.hypot(drawn[:, 0], drawn[:, 1])
    reach = length.max(axis=0)
    moved_px = np.percentile(length, _PERCENTILE, axis=(1, 2))
    moved = float(moved_px.max())
    still = reach < _STILL_SHARE * moved
    flow = np.diff(drawn, axis=0)[:, :, still]
    detail = sharpness(frames)
    return PhotographReading(
        photograph,
        moved_px=moved,
        still_share=float(still.mean()),
        still_flow_px=float(np.hypot(flow[:, 0], flow[:, 1]).mean()) if still.any() else 0.0,
        sharpness=float(detail.min() / detail[0]),
        folded=folded_share(drawn),
        frames=frames,
        reach_px=reach,
        shown=tuple(min(round(time * config.fps), len(frames) - 1) for time in events),
        most_moved=int(moved_px.argmax()),
    )
