"""What is trained, on what, for how long: each recipe is a function that returns a frozen `Recipe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model.training.clip_store import ClipSchedule
from model.training.folder_order import FolderOrder  # noqa: TC001  (model.training.overrides reads the hints)

TaskName = Literal["localizer", "draft", "diffusion", "keyframes", "interpolation", "sync-judge"]
Precision = Literal["fp32", "bf16"]
Decay = Literal["cosine", "constant", "staircase"]
TRAINING_SEED = 0  # clips 0 to 2**30 train; 2**30 to 2**31 measure; the demo set starts at 2**31
DIFFUSION_SEED = 2**20
HELD_OUT_SEED = 2**30


@dataclass(frozen=True, slots=True)
class Optimisation:
    """AdamW with linear warm-up, a decay of the learning rate, clipped gradients and averaged weights.

    Args:
        ema_decay: most that the weight average keeps per step; 0 for none. At step n it keeps (1 + n) / (10 + n) where
            that is less, so the average is at most over about the last tenth of the steps so far.
        betas: of Adam's moments.
        decay: `cosine` falls to a hundredth by the last step, `constant` stays, `staircase` is multiplied by
            `staircase_factor` every `staircase_steps`.
    """

    learning_rate: float
    weight_decay: float = 0.01
    warmup_steps: int = 100
    max_gradient_norm: float = 1.0
    ema_decay: float = 0.999
    betas: tuple[float, float] = (0.9, 0.98)
    decay: Decay = "cosine"
    staircase_steps: int = 0
    staircase_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run; everything that its result depends on.

    Args:
        batch_size: clips of one optimiser step, all processes together.
        clips: which clips each step sees.
        accumulation: parts that each process cuts its share of a batch into, to save memory.
        precision: `bf16` computes most of the forward pass in half precision; weights and optimiser stay float32.
        activation_checkpointing: compute activations again in the backward pass instead of keeping them.
        validate_every: steps between two looks at held-out clips, after which the best weights are kept; 0 for none.
        samples_every: steps between two generated sample videos; 0 for none.
    """

    task: TaskName
    steps: int
    batch_size: int
    optimisation: Optimisation
    clips: ClipSchedule | FolderOrder
    seed: int = 0
    log_every: int = 25
    checkpoint_every: int = 250
    accumulation: int = 1
    precision: Precision = "fp32"
    activation_checkpointing: bool = False
    validate_every: int = 0
    samples_every: int = 0


def mini_localizer() -> Recipe:
    """Keyframe localizer of keyvid-mini: hears the motion curve; its encoder starts the other stages."""
    return Recipe(
        task="localizer",
        steps=5000,
        batch_size=48,
        optimisation=Optimisation(learning_rate=1.2e-3, ema_decay=0.998),
        clips=ClipSchedule(first_seed=TRAINING_SEED, num_clips=40_960, ready=2_048, per_step=20),
    )


def mini_draft() -> Recipe:
    """Motion draft of keyvid-mini, with the encoders of sound, words and picture that the diffusion stages share."""
    return Recipe(
        task="draft",
        steps=4000,
        batch_size=24,
        optimisation=Optimisation(learning_rate=1.2e-3, weight_decay=0.03),
        clips=ClipSchedule(first_seed=TRAINING_SEED, num_clips=40_960, ready=20_480, per_step=8),
        seed=1,
    )


def mini_diffusion() -> Recipe:
    """Keyframe generator and motion interpolator of keyvid-mini, trained as one network on top of the frozen draft.

    Its clips are others than the draft's: on clips that it knows, the draft leaves less to add than on new ones.
    """
    return Recipe(
        task="diffusion",
        steps=2500,
        batch_size=24,
        optimisation=Optimisation(learning_rate=1.2e-3, ema_decay=0.995),
        clips=ClipSchedule(first_seed=DIFFUSION_SEED, num_clips=20_480, ready=5_120, per_step=8),
        seed=2,
    )


RECIPES = {"mini-localizer": mini_localizer, "mini-draft": mini_draft, "mini-diffusion": mini_diffusion}
