"""What is trained, on what, for how long: each recipe is a function that returns a frozen `Recipe`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from model.training.clip_store import ClipSchedule

TaskName = Literal["localizer", "draft", "diffusion"]
TRAINING_SEED = 0  # clips 0 to 2**30 train; 2**30 to 2**31 measure; the demo set starts at 2**31
DIFFUSION_SEED = 2**20
HELD_OUT_SEED = 2**30


@dataclass(frozen=True, slots=True)
class Optimisation:
    """AdamW with linear warm-up, cosine decay to a hundredth, clipped gradients and averaged weights.

    Args:
        ema_decay: decay of the weight average per step, once the first tenth of it has warmed up.
    """

    learning_rate: float
    weight_decay: float = 0.01
    warmup_steps: int = 100
    max_gradient_norm: float = 1.0
    ema_decay: float = 0.999


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run; everything that its result depends on."""

    task: TaskName
    steps: int
    batch_size: int
    optimisation: Optimisation
    clips: ClipSchedule
    seed: int = 0
    log_every: int = 25
    checkpoint_every: int = 250
    options: dict[str, float] = field(default_factory=dict)


def mini_localizer() -> Recipe:
    """Keyframe localizer of keyvid-mini: hears the motion curve; its encoder starts the other stages."""
    return Recipe(
        task="localizer",
        steps=900,
        batch_size=48,
        optimisation=Optimisation(learning_rate=1.2e-3, ema_decay=0.995),
        clips=ClipSchedule(first_seed=TRAINING_SEED, num_clips=20_480, ready=2_048, per_step=8),
    )


def mini_draft() -> Recipe:
    """Motion draft of keyvid-mini, with the encoders of sound, words and picture that the diffusion stages share."""
    return Recipe(
        task="draft",
        steps=1700,
        batch_size=24,
        optimisation=Optimisation(learning_rate=1.2e-3, weight_decay=0.03),
        clips=ClipSchedule(first_seed=TRAINING_SEED, num_clips=13_568, ready=5_120, per_step=8),
        seed=1,
    )


def mini_diffusion() -> Recipe:
    """Keyframe generator and motion interpolator of keyvid-mini, trained as one network on top of the frozen draft.

    Its clips are others than the draft's: on clips that it knows, the draft leaves less to add than on new ones.
    """
    return Recipe(
        task="diffusion",
        steps=856,
        batch_size=12,
        optimisation=Optimisation(learning_rate=1.2e-3, ema_decay=0.995),
        clips=ClipSchedule(first_seed=DIFFUSION_SEED, num_clips=5_120, ready=1_024, per_step=12),
        seed=2,
    )


RECIPES = {"mini-localizer": mini_localizer, "mini-draft": mini_draft, "mini-diffusion": mini_diffusion}
