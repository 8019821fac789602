"""How much memory a conversion takes beside the mapped files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import published

MODEL_CHANNELS = 32
MOST_SHARDS = 1.3  # of the largest file that is written

CONVERSION = """
import sys, threading, time
from pathlib import Path
from model.checkpoints.assembly import ConversionRequest, convert_checkpoints
from tests.published import scaled_config

def private_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

def watch():
    while not done.wait(0.002):
        seen.append(private_bytes())

def convert(out):
    files = tuple(folder / f"{stage}.ckpt" for stage in ("keyframes", "interpolation"))
    config = scaled_config(model_channels=int(sys.argv[2]))
    convert_checkpoints(ConversionRequest(files, config=config), out)

folder, done = Path(sys.argv[1]), threading.Event()
convert(folder / "first")  # what is imported on the way is there now
seen = [private_bytes()]
watcher = threading.Thread(target=watch)
watcher.start()
convert(folder / "second")
done.set()
watcher.join()
print(max(seen) - seen[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="private memory is read from Linux's /proc")
def test_conversion_stays_below_the_largest_shard(tmp_path: Path) -> None:
    """No component stands in memory as a whole, although both files together are several times as large."""
    config = published.scaled_config(model_channels=MODEL_CHANNELS)
    for stage in ("keyframes", "interpolation"):
        tensors = published.stage_tensors(stage, config=config)
        torch.save({"epoch": 1, "state_dict": tensors}, tmp_path / f"{stage}.ckpt")
    published.write_vocabulary(tmp_path)

    command = [sys.executable, "-c", CONVERSION, str(tmp_path), str(MODEL_CHANNELS)]
    reply = subprocess.run(command, capture_output=True, text=True, check=False)

    assert reply.returncode == 0, reply.stderr
    largest = max(file.stat().st_size for file in (tmp_path / "second").rglob("*.safetensors"))
    assert largest > 40e6
    assert int(reply.stdout) <= MOST_SHARDS * largest
