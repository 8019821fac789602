"""The weights that ship in the package hear, see, and fit in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from model.evaluation.sync import score_video
from model.generation import GenerationParams
from model.localization.plan import plan_keyframes
from model.media.audio import read_audio
from model.media.image import read_image
from model.pipeline import KeyVIDPipeline
from model.pretrained import weights_folder

EXAMPLES = Path(__file__).parents[3] / "examples"
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def pipeline() -> KeyVIDPipeline:
    """The model that ships."""
    return KeyVIDPipeline.from_pretrained("keyvid-mini")


def test_weights_stay_under_twenty_megabytes() -> None:
    """The package must stay small enough to be cloned by anyone."""
    size = sum(path.stat().st_size for path in weights_folder("keyvid-mini").rglob("*") if path.is_file())

    assert size < 20 * MEGABYTE


def test_unknown_words_change_nothing(pipeline: KeyVIDPipeline) -> None:
    """A prompt of words that no training clip had is the empty prompt; one that it had is not."""
    unknown, empty, known = pipeline.components.text_encoder.encode(["quux frobnicate", "", "hammering"])

    assert torch.equal(unknown, empty)
    assert not torch.equal(known, empty)


@pytest.mark.parametrize("name", ["hammer", "dog"])
def test_example_moves_when_it_is_heard(pipeline: KeyVIDPipeline, name: str) -> None:
    """Every event of the example has a motion peak within two frames, and hardly any peak is without one."""
    described = json.loads((EXAMPLES / f"{name}.json").read_text())
    height, width = pipeline.config.video.height, pipeline.config.video.width
    image = read_image(EXAMPLES / f"{name}.png", height=height, width=width)

    generation = pipeline(image, read_audio(EXAMPLES / f"{name}.wav"), described["prompt"], GenerationParams(seed=1))

    score = score_video(generation.video.frames, described["event_times_s"])
    assert score.recall == 1
    assert score.precision >= 0.75


@pytest.mark.parametrize("name", ["hammer", "dog", "violin"])
def test_half_precision_plans_the_same_keyframes(pipeline: KeyVIDPipeline, name: str) -> None:
    """Only the UNets run in half precision: what is heard, and where keyframes lie, does not depend on it."""
    half = KeyVIDPipeline.from_pretrained("keyvid-mini", dtype=torch.bfloat16)
    sound = read_audio(EXAMPLES / f"{name}.wav")

    plans = [plan_keyframes(each.localize(sound)) for each in (pipeline, half)]

    assert plans[0] == plans[1]


@pytest.mark.parametrize("name", ["hammer", "dog"])
def test_every_event_of_an_example_lies_between_keyframes(pipeline: KeyVIDPipeline, name: str) -> None:
    """The calm before a hit and the hit itself are painted: one keyframe in the three frames before, one at it."""
    events = [
        round(time * pipeline.config.fps)
        for time in json.loads((EXAMPLES / f"{name}.json").read_text())["event_times_s"]
    ]

    planned = plan_keyframes(pipeline.localize(read_audio(EXAMPLES / f"{name}.wav"))).indices

    for event in events:
        assert any(event - 3 <= frame < event for frame in planned), event
        assert any(event <= frame <= event + 1 for frame in planned), event
