"""Memory that a model needs, planned without weights or a device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from model.config import keyvid_512, tiny
from model.errors import CheckpointMissing
from model.live_memory import LiveMemory, live_memory
from model.memory_plan import CARDS_GIB, MemoryPlan, plan_memory, planned_config
from model.networks.unet import UNet

GIB = 2**30
SQUARE_BYTES = 1000 * 1000 * 4


@pytest.fixture(scope="module")
def published() -> MemoryPlan:
    """The plan of the published model."""
    return plan_memory(keyvid_512())


def test_only_what_lives_at_one_time_is_counted() -> None:
    """Views cost nothing, results that are let go are given back, and attention holds no matrix of weights."""
    with live_memory() as memory:
        x = torch.empty(1000, 1000, device="meta")
        for _ in range(5):
            x = (x @ x).view(1000, 1000)
        attended = functional.scaled_dot_product_attention(x[None], x[None], x[None])

    assert attended.shape == (1, 1000, 1000)
    assert memory.peak_bytes == 2 * SQUARE_BYTES


def test_a_planned_network_holds_what_a_real_one_does() -> None:
    """The same evaluation with values, on the CPU, holds as much as the plan says, but for small change."""
    config = tiny(height=128, width=192)
    unet = UNet(config.interpolation_unet).eval().requires_grad_(requires_grad=False)

    with torch.inference_mode(), LiveMemory() as memory:
        frames = config.video.frames
        unet(
            torch.randn(1, 8, frames, 16, 24),
            torch.tensor([999]),
            context=unet.read(
                text=torch.randn(1, 8, 32),
                image=torch.randn(1, frames, 4, 32),
                audio=torch.randn(1, frames, 12, 32),
            ),
            fps=torch.tensor([24]),
        )

    planned = plan_memory(config, unet_dtype=torch.float32).working["interpolation"]
    assert memory.peak_bytes == pytest.approx(planned, rel=0.15)


def test_published_model_fits_common_cards(published: MemoryPlan) -> None:
    """8 GB need offload, 12, 16 and 24 GB do not, 6 GB are too few; weights are counted in their types."""
    values = {name: part.parameters for name, part in published.weights.items()}

    assert (values["keyframes_unet"], values["interpolation_unet"]) == (1_467_252_052, 1_465_201_492)
    assert published.weights["keyframes_unet"].bytes == 2 * 1_467_252_052
    assert published.weights["codec"].bytes == 4 * values["codec"]
    assert [published.verdict(gib * GIB) for gib in (6, *CARDS_GIB)] == [
        "does not fit",
        "fits with offload",
        "fits",
        "fits",
        "fits",
    ]


def test_a_phase_with_offload_needs_its_own_components_only(published: MemoryPlan) -> None:
    """Every phase needs less, and still what it holds itself."""
    for phase, working in published.working.items():
        offloaded = published.peak_bytes(phase, offload=True)
        assert working < offloaded < published.peak_bytes(phase, offload=False)
    assert published.peak_bytes("keyframes", offload=True) > published.weights["keyframes_unet"].bytes


def test_encoders_are_not_there_while_frames_are_denoised(published: MemoryPlan) -> None:
    """A GPU holds UNets and codec throughout, and one encoder at a time; a CPU holds everything."""
    sizes = {name: part.bytes for name, part in published.weights.items()}
    lasting = sum(sizes[name] for name in ("keyframes_unet", "interpolation_unet", "codec"))
    gpu, cpu = (published.peak_bytes("keyframes", offload=False, device=torch.device(name)) for name in ("cuda", "cpu"))

    assert cpu - gpu == pytest.approx(1.1 * (sum(sizes.values()) - lasting), rel=1e-6)
    encoding = published.peak_bytes("encoding", offload=False)
    assert encoding > 1.1 * (lasting + sizes["image_encoder"])
    assert encoding < 1.1 * (lasting + sizes["image_encoder"] + sizes["text_encoder"])


def test_guidance_branches_share_an_evaluation_where_there_is_room(published: MemoryPlan) -> None:
    """All four at once, in pairs, or one after the other, by the memory that each takes."""
    needed = [published.needed_bytes(offload=False, guidance_batch=size) for size in (1, 2, 4)]

    assert needed[0] == published.needed_bytes(offload=False)
    assert needed[2] - needed[1] == pytest.approx(2 * (needed[1] - needed[0]), abs=4)
    assert [published.guidance_batch(memory, offload=False) for memory in (needed[0] - 1, *needed)] == [1, 1, 2, 4]


def test_precision_costs_memory() -> None:
    """Half-precision weights are half as large; at work bfloat16, whose frames flow in float32, is in between."""
    types = (torch.float16, torch.bfloat16, torch.float32)
    half, mixed, single = (plan_memory(tiny(), unet_dtype=dtype) for dtype in types)

    assert single.weights["keyframes_unet"].bytes == 2 * half.weights["keyframes_unet"].bytes
    assert mixed.weights == {
        name: replace(part, dtype=part.dtype.replace("float16", "bfloat16")) for name, part in half.weights.items()
    }
    assert half.working["interpolation"] < mixed.working["interpolation"] < single.working["interpolation"]
    assert plan_memory(replace(tiny(), localizer=None)).working["localization"] == 0


def test_models_are_planned_by_name() -> None:
    """Published ones without their weights, packaged ones by theirs; anything else is an error."""
    assert planned_config("keyvid-512") == keyvid_512()
    assert planned_config("keyvid-mini").name == "keyvid-mini"
    with pytest.raises(CheckpointMissing):
        planned_config("keyvid-9000")
