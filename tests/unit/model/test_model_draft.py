"""The motion draft is a sum of time curves times spatial bases."""

from dataclasses import replace

import torch

from model.networks.draft import DraftConfig, MotionDraft

SMALL = DraftConfig(audio_dim=8, text_dim=8, feature_dim=8, width=16, basis_width=8, num_products=3, num_groups=4)


def small_draft(config: DraftConfig = SMALL) -> MotionDraft:
    """A draft of width 16 with fixed weights."""
    torch.manual_seed(0)
    return MotionDraft(config).eval()


def inputs(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Audio tokens, text tokens and picture features."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(batch, 49, 8, generator=generator),
        torch.randn(batch, 8, 8, generator=generator),
        torch.randn(batch, 8, 10, 16, generator=generator),
    )


def test_first_frame_is_exactly_still() -> None:
    """Frame 0 is the caller's picture, whatever is heard."""
    latents = small_draft()(*inputs())

    assert latents.shape == (2, 4, 48, 10, 16)
    assert latents[:, :, 0].count_nonzero() == 0
    assert latents[:, :, 1:].count_nonzero() > 0


def test_rank_in_time_is_the_number_of_products() -> None:
    """Motion factorises: frames span no more dimensions than there are products."""
    latents = small_draft()(*inputs(1))

    matrix = latents[0].transpose(0, 1).flatten(1).double()

    assert torch.linalg.matrix_rank(matrix, rtol=1e-5) <= 3


def test_clips_of_a_batch_do_not_influence_each_other() -> None:
    """A clip's draft is the same alone and in a batch."""
    draft = small_draft()
    audio, text, features = inputs()

    together = draft(audio, text, features)[1:]
    alone = draft(audio[1:], text[1:], features[1:])

    assert torch.allclose(together, alone, atol=1e-5)


def test_sound_words_and_picture_all_matter() -> None:
    """Replacing any one input changes the motion."""
    draft = small_draft()
    parts = inputs()
    before = draft(*parts)

    for position in range(3):
        changed = [part.flip(0) if index == position else part for index, part in enumerate(parts)]
        assert not torch.allclose(draft(*changed), before, atol=1e-4)


def test_integrated_curves_travel_while_a_velocity_is_heard() -> None:
    """With a constant velocity the integrated products move by the same amount every frame."""
    draft = small_draft(replace(SMALL, num_integrated=3))
    with torch.no_grad():
        draft.curves.out.weight.zero_()

        steps = draft(*inputs()).diff(dim=2)

    assert torch.allclose(steps, steps[:, :, :1].expand_as(steps), atol=1e-6)
    assert steps.abs().max() > 1e-4


def test_coarse_bases_are_spread_smoothly_over_the_grid() -> None:
    """With a stride of 2 the drafted field has the grid of the latents and no detail finer than two cells."""
    latents = small_draft(replace(SMALL, basis_stride=2))(*inputs())

    assert latents.shape == (2, 4, 48, 10, 16)
    pairs = torch.nn.functional.avg_pool2d(latents[:, :, -1], 2)
    spread = torch.nn.functional.interpolate(pairs, scale_factor=2, mode="bilinear")
    assert (spread - latents[:, :, -1]).std() < 0.5 * latents[:, :, -1].std()
