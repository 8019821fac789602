"""A generation that is stopped at any step, and goes on from what it left there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from model import AudioClip, GenerationParams, GenerationState, ImageFrame, KeyVIDPipeline
from model.config import keyvid_mini, tiny
from model.stage_watch import Keeping

if TYPE_CHECKING:
    from model.generation import InterpolationMode, Preset
    from model.pipeline import GeneratedLatents

STEPS = 3
SOUND = AudioClip(torch.randn(1, 32_000, generator=torch.Generator().manual_seed(2)).mul(0.1), 16_000)


class Killed(BaseException):
    """The process ended here."""


@pytest.fixture(scope="module")
def pipeline() -> KeyVIDPipeline:
    """A model as small as the published design allows, which draws noise at every step."""
    return awake(KeyVIDPipeline.from_config(tiny(height=32, width=64)))


def awake(pipeline: KeyVIDPipeline) -> KeyVIDPipeline:
    """The same model with weights also where training starts from zero: otherwise its networks say nothing."""
    generator = torch.Generator().manual_seed(0)
    for module in pipeline.components.modules().values():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return pipeline


def generate(
    pipeline: KeyVIDPipeline,
    *,
    mode: InterpolationMode = "released",
    preset: Preset = "exact",
    steps: int = STEPS,
    **options: object,
) -> GeneratedLatents:
    """Make the one video of these tests."""
    shape = pipeline.config.video
    picture = ImageFrame(torch.linspace(-1, 1, 3 * shape.height * shape.width).view(3, shape.height, shape.width))
    params = GenerationParams(seed=3, num_inference_steps=steps, interpolation_mode=mode, preset=preset)
    return pipeline.generate_latents(picture, SOUND, "a dog", params, **options)  # type: ignore[arg-type]


def left_by(pipeline: KeyVIDPipeline, keeping: Keeping, **options: object) -> tuple[GeneratedLatents, list[bytes]]:
    """The whole video, and every state that was left on the way."""
    states: list[bytes] = []
    made = generate(pipeline, keeping=keeping, on_state=lambda state: states.append(state.to_bytes()), **options)  # type: ignore[arg-type]
    return made, states


def places(states: list[bytes]) -> list[tuple[str, int] | None]:
    """Stage and step of states that were left within a stage."""
    left = [GenerationState.from_bytes(state).denoising for state in states]
    return [(part.stage, part.step) if part is not None else None for part in left]


@pytest.mark.parametrize(("mode", "preset"), [("released", "exact"), ("freenoise", "fast")], ids=["ddim", "dpm++"])
def test_every_step_can_be_the_last_of_an_attempt(
    pipeline: KeyVIDPipeline, mode: InterpolationMode, preset: Preset
) -> None:
    """Whichever step a process dies after, the next one does only what is left, and ends with the same bits.

    One of the solvers remembers the step before.
    """
    whole, states = left_by(pipeline, Keeping(every=1), mode=mode, preset=preset)

    assert places(states) == [
        None,
        *[("keyframes", step) for step in range(1, STEPS)],
        None,
        *[("interpolation", step) for step in range(1, STEPS + 1)],
    ]
    for state, place in zip(states, places(states), strict=True):
        steps: list[tuple[str, int]] = []
        resumed = generate(
            pipeline,
            mode=mode,
            preset=preset,
            state=GenerationState.from_bytes(state),
            on_step=lambda progress, steps=steps: steps.append((progress.stage, progress.step)),
        )
        assert torch.equal(resumed.latents, whole.latents), place
        assert resumed.plan == whole.plan
        assert place is None or steps[0] == place


def test_an_attempt_can_die_again_and_again(pipeline: KeyVIDPipeline) -> None:
    """Each attempt gets one step further; the last one ends with the same bits."""
    whole = generate(pipeline)
    state: GenerationState | None = None
    attempts = 0

    def die(left: GenerationState) -> None:
        nonlocal state
        state = GenerationState.from_bytes(left.to_bytes())
        raise Killed

    while True:
        attempts += 1
        try:
            made = generate(pipeline, keeping=Keeping(every=1), on_state=die, state=state)
        except Killed:
            continue
        break

    assert attempts == 1 + 2 * STEPS + 1
    assert torch.equal(made.latents, whole.latents)


def test_a_model_with_a_draft_goes_on_too() -> None:
    """Latent flow denoises what a draft leaves over; steps without noise of their own resume as well."""
    pipeline = awake(KeyVIDPipeline.from_config(keyvid_mini()))
    whole, states = left_by(pipeline, Keeping(every=1), steps=2, mode="freenoise")

    for state in states:
        resumed = generate(pipeline, steps=2, mode="freenoise", state=GenerationState.from_bytes(state))
        assert torch.equal(resumed.latents, whole.latents)


def test_states_are_left_as_often_as_asked(pipeline: KeyVIDPipeline) -> None:
    """Every so many steps, or when somebody wants one; a stage that is finished leaves the state of a finished one."""
    _, rarely = left_by(pipeline, Keeping(every=2))
    _, never = left_by(pipeline, Keeping())
    answers = iter([False, True, *[False] * 2 * STEPS])
    _, wanted = left_by(pipeline, Keeping(is_wanted=lambda: next(answers)))

    assert places(rarely) == [None, ("keyframes", 2), None, ("interpolation", 2)]
    assert places(never) == [None, None]
    assert places(wanted) == [None, ("keyframes", 2), None]


def test_a_state_of_another_request_is_refused(pipeline: KeyVIDPipeline) -> None:
    """What was left in some steps of one size is not gone on with in more, nor by a model of another size."""
    _, states = left_by(pipeline, Keeping(every=2))
    state = GenerationState.from_bytes(
        next(state for state, place in zip(states, places(states), strict=True) if place)
    )
    assert state.denoising is not None
    cropped = replace(state.denoising, latents=state.denoising.latents[..., :1])

    for foreign in (replace(state.denoising, total=STEPS + 1), cropped):
        with pytest.raises(ValueError, match="were begun"):
            generate(pipeline, state=replace(state, denoising=foreign))
