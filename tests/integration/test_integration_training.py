"""Training under `accelerate launch`: two processes learn what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from model.config import tiny
from model.datasets.procedural import write_procedural_clip
from model.training.smoke import write_tiny_start

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 240
_FIRST_SEED = 2**30 + 2**28


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small films with motion scores in `data`, tiny start weights in `start`."""
    folder = tmp_path_factory.mktemp("world")
    video = tiny().video
    for seed in range(_FIRST_SEED, _FIRST_SEED + 4):
        write_procedural_clip(folder / "data", seed, height=video.height, width=video.width)
    write_tiny_start(folder / "start")
    return folder


def arguments(world: Path, out: Path, *settings: str) -> list[str]:
    """A run of the localizer, whose loss draws no random numbers at this size."""
    changes = [part for setting in ("batch_size=4", "held_out=0", *settings) for part in ("--set", setting)]
    folders = ["--data", str(world / "data"), "--start", str(world / "start"), "--cache", str(world / "cache")]
    return ["keyvid", "train", "localizer", "--out", str(out), *folders, *changes]


def environment() -> dict[str, str]:
    """One thread each; no accelerator settings of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE")}
    return kept | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def test_two_processes_learn_what_one_does(world: Path, tmp_path: Path) -> None:
    """The gradients of two halves of a batch, averaged, are those of the batch."""
    settings = ("steps=3", "learning_rate=0.001", "max_gradient_norm=1")
    launch = ["accelerate.commands.launch", "--cpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no"]
    launch += ["--dynamo_backend=no", "--main_process_port=0", "--module"]

    for name, launcher in (("one", []), ("two", launch)):
        command = [sys.executable, "-m", *launcher, *arguments(world, tmp_path / name, *settings)]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=_SECONDS, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    start = load_file(world / "start" / "localizer" / "model.safetensors")
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, atol=1e-4, rtol=0, msg=key)
    moved = one["localizer.head.curve.weight"] - start["head.curve.weight"]
    assert float(moved.abs().max()) > 5e-4
