"""Small pictures of a video while it is being made, of what the network believes at a step."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from model.generation import Stage

Clean = Callable[[], Tensor]
"""Works out the latents `[B, C, T, h, w]` that the present step predicts; nothing is spent until it is called."""

Sketch = Callable[[Tensor], Tensor]
"""Draws one latent frame `[1, C, h, w]` cheaply, at half the size of a video's frames: uint8 `[H / 2, W / 2, 3]`."""


@dataclass(frozen=True, slots=True)
class Preview:
    """One picture: `pixels` uint8 `[H / 2, W / 2, 3]` of a frame as `stage` sees it now."""

    stage: Stage
    frame: int
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PreviewTap:
    """Whoever wants to see previews: asked at every step whether one `is_due`, and shown those that were."""

    is_due: Callable[[], bool]
    show: Callable[[Preview], None]

    def watching(
        self, stage: Stage, sketch: Sketch, frames: Sequence[int], *, positions: Sequence[int]
    ) -> Callable[[Clean], None]:
        """A hook for the denoising loop that shows the `frames` of a clip in turn.

        `positions` are their places in the latents' time, which has only the keyframes in one stage and all frames in
        the other.
        """
        turns = itertools.cycle(zip(frames, positions, strict=True))

        def look(clean: Clean) -> None:
            if self.is_due():
                frame, position = next(turns)
                self.show(Preview(stage, frame, sketch(clean()[:, :, position]).cpu().numpy()))

        return look
