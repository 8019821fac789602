"""Recipes of keyvid-512's three stages. Where paper and released code differ, the recipe names both and takes one.

The released training code is not public; what is known of it comes from the release's configurations and loaders.
docs/training.md has the whole comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from model.datasets.cache import Fit  # noqa: TC001  (model.training.overrides reads the hints)
from model.datasets.samples import KeyframeRule  # noqa: TC001  (as above)
from model.training.folder_order import FolderOrder
from model.training.recipes import Optimisation, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TrainedPart = Literal["released", "all"]
ListeningVariant = Literal["released", "paper"]


@dataclass(frozen=True, slots=True)
class StageOptions:
    """How a diffusion stage of keyvid-512 is trained.

    Args:
        trained: `released` trains what DynamiCrafter has for time, the resampler, and everything new: the paper says
            only "fine-tuned". `all` trains the whole UNet.
        dropout: share of the clips that lose each of: text; text and picture; picture and sound; sound. Nothing is ever
            dropped altogether, although guidance starts from there: released behaviour, the paper is silent.
        keyframe_share: keyframe stage only. Clips whose frames are keyframes; the others' are twelve in a row. The
            paper has keyframes only; the release 0.4 on AVSync15 and 0 on Landscapes and The Greatest Hits. 0.4 is what
            the published numbers come from.
        keyframe_rule: `released` draws peaks and valleys at random, `paper` is Algorithm 1. The random one shows the
            network other sets of keyframes of the same clip each time; generation plans by Algorithm 1 either way.
        fit: `released` leaves black bars beside narrow pictures, which generation never shows to the network; `cover`
            crops as generation does, and is taken for that.
        audio_drop_path: whether the frozen sound encoder drops blocks while training, as in the release (up to 0.1).
        held_out: share of the training clips that are kept for validation.
        sample_steps: DDIM steps of sample videos.
    """

    trained: TrainedPart = "released"
    dropout: float = 0.05
    keyframe_share: float = 0.4
    keyframe_rule: KeyframeRule = "released"
    fit: Fit = "cover"
    audio_drop_path: bool = True
    held_out: float = 0.02
    sample_steps: int = 25


@dataclass(frozen=True, slots=True)
class ListeningOptions:
    """How the localizer of keyvid-512 is trained.

    Args:
        variant: `paper` (Appendix A) has a stride of (10, 4), a layer for each step, positions stretched from
            ImageBind's and frozen, and L1. `released` has a stride of (4, 4), a head that mixes all patches, positions
            learnt from nothing, squared error, and is taken: its 48 outputs fit the labels, and the published curves
            and AP are its own.
        loudness_weight: of the squared error to the sound's loudness, which only the release has.
        held_out: share of the training clips that are kept for validation, as in the release.
    """

    variant: ListeningVariant = "released"
    loudness_weight: float = 0.3
    held_out: float = 0.2


@dataclass(frozen=True, slots=True)
class StageRecipe(Recipe):
    """A run of the keyframe or the interpolation stage."""

    options: StageOptions = field(default_factory=StageOptions)


@dataclass(frozen=True, slots=True)
class ListeningRecipe(Recipe):
    """A run of the localizer."""

    options: ListeningOptions = field(default_factory=ListeningOptions)


PublishedRecipe = StageRecipe | ListeningRecipe


def localizer() -> ListeningRecipe:
    """Keyframe localizer of keyvid-512, from ImageBind's sound encoder.

    Paper: learning rate 1e-5, batch 64 for all models. Release, taken: 1.5e-5, batch 4, times 0.8 every 20 epochs, 500
    epochs. Steps are those of AVSync15's 1,080 clips.
    """
    epoch = 270
    return ListeningRecipe(
        task="localizer",
        steps=500 * epoch,
        batch_size=4,
        optimisation=Optimisation(
            learning_rate=1.5e-5,
            weight_decay=0.0,
            warmup_steps=0,
            max_gradient_norm=1e9,  # not clipped
            ema_decay=0.0,
            betas=(0.9, 0.999),
            decay="staircase",
            staircase_steps=20 * epoch,
            staircase_factor=0.8,
        ),
        clips=FolderOrder(),
        seed=42,
        checkpoint_every=5 * epoch,
        validate_every=epoch,
    )


def keyframes() -> StageRecipe:
    """Keyframe generator of keyvid-512, from DynamiCrafter.

    Paper: Adam. Release, taken: AdamW; gradients clipped at 0.5; no average of weights; batch 8 x 2 x 4. The release
    computes in float16 with loss scaling; bfloat16 needs none.
    """
    return StageRecipe(
        task="keyframes",
        steps=100_000,
        batch_size=64,
        optimisation=_dynamicrafter_optimisation(),
        clips=FolderOrder(),
        checkpoint_every=500,
        accumulation=4,
        precision="bf16",
        activation_checkpointing=True,
        validate_every=500,
        samples_every=500,
    )


def interpolation() -> StageRecipe:
    """Motion interpolator of keyvid-512, from DynamiCrafter: twelve neighbouring frames, some of which are given."""
    return StageRecipe(
        task="interpolation",
        steps=100_000,
        batch_size=64,
        optimisation=_dynamicrafter_optimisation(),
        clips=FolderOrder(),
        checkpoint_every=500,
        accumulation=4,
        precision="bf16",
        activation_checkpointing=True,
        validate_every=500,
        samples_every=500,
    )


def _dynamicrafter_optimisation() -> Optimisation:
    return Optimisation(
        learning_rate=1e-5,
        weight_decay=0.01,
        warmup_steps=0,
        max_gradient_norm=0.5,
        ema_decay=0.0,
        betas=(0.9, 0.999),
        decay="constant",
    )


PUBLISHED_RECIPES: Mapping[str, Callable[[], PublishedRecipe]] = {
    "localizer": localizer,
    "keyframes": keyframes,
    "interpolation": interpolation,
}
