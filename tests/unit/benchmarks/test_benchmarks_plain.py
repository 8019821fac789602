"""What the benchmarks compare with: the plain path gives what the pipeline gives, and is timed in turn with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from benchmarks import cli
from benchmarks.plain_clip import plain_frames, plain_latents
from benchmarks.start import installed_bytes
from benchmarks.subjects import Subject, load_subject, narrow
from benchmarks.timing import in_turn
from model.config import keyvid_mini, tiny
from model.generation import GenerationParams
from model.pipeline import KeyVIDPipeline

CPU = torch.device("cpu")


def subject_of(model: str) -> Subject:
    """A small model with random weights, guided, and a request for it."""
    made = load_subject("tiny", device=CPU, dtype=torch.float32)
    config = tiny(height=32, width=64)
    if model == "mini":
        mini = keyvid_mini()
        unet = replace(mini.keyframes_unet, model_channels=16, head_width=8)
        stages = {
            name: replace(getattr(mini, name), num_inference_steps=2, guidance=config.keyframes.guidance)
            for name in ("keyframes", "interpolation")
        }
        config = replace(mini, keyframes_unet=unet, interpolation_unet=unet, **stages)
    pipeline = KeyVIDPipeline.from_config(config)
    generator = torch.Generator().manual_seed(0)
    for part in pipeline.components.modules().values():
        for parameter in part.parameters():
            if not parameter.any():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    size = config.video.height, config.video.width
    image = replace(made.image, pixels=torch.rand(3, *size, generator=generator) * 2 - 1)
    return Subject(pipeline, image, made.audio, made.prompt, GenerationParams(seed=3))


@pytest.mark.parametrize(("model", "tolerance"), [("tiny", 2e-3), ("mini", 1e-4)])
def test_the_plain_path_gives_the_same_latents(model: str, tolerance: float) -> None:
    """Both stages, four branches, pinned or windowed; the tiny model hands its keyframes on in 8 bits."""
    subject = subject_of(model)

    request = subject.image, subject.audio, subject.prompt, subject.params
    expected = plain_latents(subject.pipeline, *request)
    actual = subject.pipeline.generate_latents(*request).latents

    assert expected.std() > 0.1
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def test_the_plain_path_draws_the_same_frames() -> None:
    """Resizing in another order of sums may round a pixel the other way, and no more."""
    subject = subject_of("mini")
    latents = torch.randn(1, 4, 48, 10, 16, generator=torch.Generator().manual_seed(0))

    expected = plain_frames(subject.pipeline, latents, subject.image)
    actual = torch.cat(list(subject.pipeline.decode(latents, subject.image)))

    assert expected.float().std() > 10
    assert (actual.int() - expected.int()).abs().max() <= 1


def test_variants_run_in_turn() -> None:
    """Each once to warm up, then one after the other in every round."""
    ran: list[str] = []

    timings = in_turn({name: lambda name=name: ran.append(name) for name in "ab"}, rounds=2, device=CPU)  # type: ignore[misc]

    assert ran == ["a", "b"] * 3
    assert [len(timing.wall) for timing in timings.values()] == [2, 2]


def test_the_narrow_network_has_the_published_layers() -> None:
    """Only widths differ."""
    published = replace(narrow().keyframes_unet, model_channels=320, head_width=64, init_attention_heads=8)

    assert published.channel_mult == (1, 2, 4, 4)
    assert replace(published, num_groups=32, context_dim=1024, audio_dim=768) == type(published)()


def test_the_worker_container_is_larger_than_the_api_container() -> None:
    """It alone holds torch."""
    api, worker = (installed_bytes(frozenset({extra, "postgres"})) for extra in ("service", "worker"))

    assert worker > api + 100e6 > 100e6


@pytest.mark.parametrize(
    ("arguments", "words"), [(["speed"], "No part 'speed'"), (["--model", "keyvid-512"], "--device cpu")]
)
def test_what_cannot_be_measured_is_said(arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown parts, and the published network without a GPU, end with a sentence."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    result = CliRunner().invoke(cli.app, arguments)

    assert result.exit_code == 2
    assert words in result.output
