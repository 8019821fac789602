"""The application as a process: what it loads and what it weighs."""

from __future__ import annotations

import subprocess
import sys

WEIGH = """
import sys
import service.app, service.cli
from fastapi.testclient import TestClient
import psutil
app = service.app.create_app()
app.openapi()
heavy = {"torch", "diffusers", "transformers", "model", "scipy", "av", "PIL"} & set(sys.modules)
print(sorted(heavy), psutil.Process().memory_info().rss)
"""


def test_api_loads_no_torch_and_stays_small() -> None:
    """The API process never imports torch, nor any decoder of uploads, and needs less than 250 MB."""
    reply = subprocess.run([sys.executable, "-c", WEIGH], capture_output=True, text=True, check=True, timeout=120)

    heavy, _, rss = reply.stdout.strip().rpartition(" ")
    assert heavy == "[]"
    assert int(rss) < 250e6
