"""Half precision from conditions to decoded frames, on the stored stages: filled weights, the published settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from model.evaluation.parity.runner import find_cases, read_case
from model.evaluation.parity.stage_cases import StageRun, prepare_stage

if TYPE_CHECKING:
    from torch import Tensor

LEAST_PSNR_DB = 35.0
STAGES = [case for case in find_cases(Path(__file__).parent / "data") if case.kind == "stage"]


def frames_of(run: StageRun, dtype: torch.dtype) -> Tensor:
    """Decoded frames uint8 of the first clip, with the network in `dtype`."""
    run.unet.to(dtype)
    latents = run.generate(run.start())
    size = (int(run.case.settings["height"]), int(run.case.settings["width"]))
    return torch.cat(list(run.codec.decode(latents[:1], torch.zeros(1, 3, *size))))


@pytest.mark.parametrize("stored", STAGES, ids=lambda stored: stored.name)
@torch.inference_mode()
def test_bfloat16_frames_are_those_of_float32(stored: object) -> None:
    """Guidance and four steps of noise amplify rounding; what is left of it stays invisible."""
    run = prepare_stage(read_case(stored))  # type: ignore[arg-type]

    single, half = (frames_of(run, dtype).double() for dtype in (torch.float32, torch.bfloat16))

    error = (single - half).square().mean()
    assert 10 * torch.log10(255**2 / error) >= LEAST_PSNR_DB
