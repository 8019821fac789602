"""One evaluation of each published network at its full size, with random weights: `make test-full-size`.

Not part of `make test`: a GPU does it in seconds, two CPU cores take minutes, and 7 GB of memory are needed.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import TYPE_CHECKING

import pytest
import torch
from accelerate import init_empty_weights

from model.conditioning import AudioTokens, Conditioning, StageConditioning
from model.config import keyvid_512
from model.memory_plan import plan_memory
from model.networks.unet import UNet

if TYPE_CHECKING:
    from model.networks.unet import UNetConfig

pytestmark = [pytest.mark.full_size, pytest.mark.timeout(3600)]

CONFIG = keyvid_512()
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# A CPU has no arithmetic of its own for float16.
DTYPE = torch.float16 if DEVICE.type == "cuda" else torch.bfloat16
LATENT = (40, 64)
PLAN = tuple(range(0, 48, 4))


def random_unet(config: UNetConfig) -> UNet:
    """The published network with weights that keep values in range."""
    with init_empty_weights():
        unet = UNet(config)
    unet = unet.to(DTYPE).to_empty(device=DEVICE).eval().requires_grad_(requires_grad=False)
    torch.manual_seed(0)
    for name, parameter in unet.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=parameter[0].numel() ** -0.5)
        else:
            parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return unet


def conditions() -> Conditioning:
    """Random conditions of the published sizes."""
    trunk = CONFIG.audio_encoder
    text, image = torch.randn(1, 77, 1024, device=DEVICE), torch.randn(1, 48, 16, 1024, device=DEVICE)
    tokens = torch.randn(1, trunk.num_tokens, trunk.dim, device=DEVICE)
    audio = AudioTokens(tokens, trunk.grid, CONFIG.audio_layout, CONFIG.video.frames)
    return Conditioning(text, text, image, image, audio, audio)


def peak_bytes() -> int:
    """Most memory so far: of the device, or of the process."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def run(unet: UNet, seen: StageConditioning, capsys: pytest.CaptureFixture[str], *, phase: str) -> None:
    """Evaluate the full branch once, say what it took, and hold it to the plan."""
    x = torch.randn(seen.concat.shape, device=DEVICE)
    started = time.monotonic()
    velocity = seen.predictor(unet)(["full"], x, 999)[0]
    is_finite = bool(torch.isfinite(velocity).all())  # also waits for the device
    seconds, peak = time.monotonic() - started, peak_bytes()

    with capsys.disabled():
        sys.stdout.write(f"\n{phase}: {seconds:.1f} s, peak {peak / 1e9:.2f} GB on {DEVICE.type} in {DTYPE}\n")
    assert is_finite
    assert velocity.shape == x.shape
    assert velocity.std() > 0
    assert peak <= plan_memory(CONFIG, unet_dtype=DTYPE).peak_bytes(phase, offload=True)


@torch.inference_mode()
def test_keyframe_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve keyframes, one guidance branch."""
    unet = random_unet(CONFIG.keyframes_unet)
    concat = torch.randn(1, 4, len(PLAN), *LATENT, device=DEVICE)
    seen = conditions().at_keyframes([PLAN], concat=concat, fps=6, residual_scale=(1.0,) * 4)

    run(unet, seen, capsys, phase="keyframes")


@torch.inference_mode()
def test_interpolation_step(capsys: pytest.CaptureFixture[str]) -> None:
    """All 48 frames at once, one guidance branch."""
    unet = random_unet(CONFIG.interpolation_unet)
    concat = torch.randn(1, 4, CONFIG.video.frames, *LATENT, device=DEVICE)
    seen = conditions().at_all_frames(concat=concat, fps=24, residual_scale=(1.0,) * 4)

    run(unet, seen, capsys, phase="interpolation")
