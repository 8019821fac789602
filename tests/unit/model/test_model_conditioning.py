"""Which branch sees what, and how audio reaches frames."""

from __future__ import annotations

import pytest
import torch

from model.audio_context import aligned_tokens
from model.conditioning import AudioTokens, Conditioning, StageConditioning
from model.diffusion.guidance import BRANCHES, Branch

GRID = (1, 48)


class Recorder(torch.nn.Module):
    """Stands where the network does and keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[str, torch.Tensor] = {}
        self.times_read = 0

    def read(self, **told: torch.Tensor) -> None:
        """Record the conditions."""
        self.seen |= told
        self.times_read += 1

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        """Record the inputs."""
        self.seen |= {"x": x, "timesteps": timesteps, **inputs}
        return x[:, :4]


def _conditioning() -> Conditioning:
    def audio(value: float) -> AudioTokens:
        return AudioTokens(torch.full((1, 49, 3), value), GRID, "aligned", 48)

    return Conditioning(
        text=torch.full((1, 2, 5), 1.0),
        null_text=torch.full((1, 2, 5), -1.0),
        image=torch.full((1, 48, 2, 5), 2.0),
        null_image=torch.full((1, 48, 2, 5), -2.0),
        audio=audio(3.0),
        null_audio=audio(-3.0),
        draft=torch.full((1, 4, 48, 2, 2), 4.0),
        features=torch.full((1, 6, 2, 2), 5.0),
    )


def _stage() -> StageConditioning:
    return _conditioning().at_all_frames(concat=torch.zeros(1, 4, 48, 2, 2), fps=24, residual_scale=(0.5,) * 4)


@pytest.mark.parametrize(
    ("branch", "text", "image", "audio"),
    [("uncond", -1, -2, -3), ("image", -1, 2, -3), ("image_text", 1, 2, -3), ("full", 1, 2, 3)],
)
def test_conditions_enter_branch_by_branch(branch: Branch, text: int, image: int, audio: int) -> None:
    """Picture, then text, then sound, as Appendix H nests them; what is missing is its null."""
    unet = Recorder()

    _stage().predictor(unet)([branch], torch.zeros(1, 4, 48, 2, 2), 7)  # type: ignore[arg-type]

    assert (unet.seen["text"] == text).all()
    assert (unet.seen["image"] == image).all()
    assert (unet.seen["audio"] == audio).all()
    assert unet.seen["timesteps"].tolist() == [7]
    assert unet.seen["fps"].tolist() == [24]


def test_branches_go_together_and_conditions_are_read_once() -> None:
    """All branches are rows of one evaluation, in order, each with its own channels; steps share what was read."""
    unet, x = Recorder(), torch.ones(1, 4, 48, 2, 2)
    predict = _stage().predictor(unet)  # type: ignore[arg-type]

    predict(BRANCHES, x, 999)
    predictions = predict(BRANCHES, x, 7)

    assert unet.times_read == 1
    assert [prediction.shape for prediction in predictions] == [x.shape] * 4
    assert unet.seen["text"][:, 0, 0].tolist() == [-1, -1, 1, 1]
    assert unet.seen["timesteps"].tolist() == [7] * 4
    torch.testing.assert_close(unet.seen["x"], torch.cat([_stage().channels(branch, x) for branch in BRANCHES]))


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_draft_goes_with_the_sound_and_features_with_the_picture(branch: Branch) -> None:
    """Channels are noisy latents, concat, draft in units of the residual, and features."""
    channels = _stage().channels(branch, torch.ones(1, 4, 48, 2, 2))

    assert channels.shape == (1, 4 + 4 + 4 + 6, 48, 2, 2)
    assert (channels[:, 8:12] == (8.0 if branch == "full" else 0.0)).all()
    assert (channels[:, 12:] == (0.0 if branch == "uncond" else 5.0)).all()


def test_aligned_tokens_look_two_frames_both_ways() -> None:
    """Each frame has the class token and five columns, clamped at the ends."""
    tokens = torch.arange(49.0).view(1, -1, 1)

    context = aligned_tokens(tokens, grid=GRID, frames=[0, 10, 47])[0, :, :, 0]

    assert context.tolist() == [[0, 1, 1, 1, 2, 3], [0, 9, 10, 11, 12, 13], [0, 46, 47, 48, 48, 48]]


def test_keyframes_of_each_clip_are_its_own() -> None:
    """Two clips with different plans take their own frames of the same grid."""
    frame = torch.arange(48.0).view(1, 48, 1, 1).expand(2, -1, 1, 1)
    audio = AudioTokens(torch.arange(49.0).view(1, -1, 1).expand(2, -1, -1), GRID, "aligned", 48)
    both = Conditioning(
        text=torch.zeros(2, 1, 1),
        null_text=torch.zeros(2, 1, 1),
        image=frame,
        null_image=frame,
        audio=audio,
        null_audio=audio,
    )

    stage = both.at_keyframes([[0, 5], [0, 9]], concat=torch.zeros(2, 4, 2, 1, 1), fps=6, residual_scale=(1.0,) * 4)

    assert stage.image[:, :, 0, 0].tolist() == [[0, 5], [0, 9]]
    assert stage.frame_index.tolist() == [[0, 5], [0, 9]]
    assert stage.audio[:, 1, 3, 0].tolist() == [6, 10]
    assert stage.draft is None
