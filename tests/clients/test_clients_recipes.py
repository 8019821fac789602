"""docs/recipes.md as it stands: every operation of the API with curl and with httpie, against a running service."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from examples.demo import running_service
from service.app import create_app
from tests.conftest import missing
from tests.servers import free_port, wait_until
from tests.uploads import wav

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "recipes.md"
DOUBLES = ROOT / "tests" / "integration"
SCOPES = ("videos:read", "videos:write", "videos:priority", "files", "webhooks", "metrics", "admin")
HEARING_TIMEOUT_S = 120.0  # loading the localizer takes a while on a busy machine


@dataclass(frozen=True)
class Installation:
    """A service that asks for keys, and a key of every scope."""

    url: str
    api_key: str

    def answered(self) -> Counter[tuple[str, str]]:
        """How often each method of each route was answered well so far, as the service counts."""
        reply = httpx.get(f"{self.url}/metrics", headers=self.authorization).raise_for_status()
        counts: Counter[tuple[str, str]] = Counter()
        for family in text_string_to_metric_families(reply.text):
            for sample in family.samples:
                labels = sample.labels
                if sample.name == "keyvid_http_request_seconds_count" and labels["status"] < "400":
                    counts[labels["method"], labels["route"].replace(":path}", "}")] += int(sample.value)
        return counts

    @property
    def authorization(self) -> dict[str, str]:
        """The header that shows the key."""
        return {"Authorization": f"Bearer {self.api_key}"}


@pytest.fixture(params=["curl", "httpie"])
def tool(request: pytest.FixtureRequest) -> str:
    """The program whose recipes are run."""
    for program in ("jq", "curl"):
        if shutil.which(program) is None:
            missing(program)
    return str(request.param)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A service with a quick double of the model, and the shipped localizer, which is ready to hear."""
    folder = tmp_path_factory.mktemp("recipes")
    scopes = [argument for scope in SCOPES for argument in ("--scope", scope)]
    command = [sys.executable, "-m", "keyvid", "keys", "create", "recipes", "--json", "--data-dir", str(folder)]
    made = subprocess.run([*command, *scopes], check=True, capture_output=True, text=True)
    settings = {
        "KEYVID_ENGINE": "paced_engine:load",
        "PYTHONPATH": str(DOUBLES),
        "KEYVID_WEBHOOK_PRIVATE_HOSTS": '["127.0.0.1"]',
    }
    with running_service(folder, settings) as service:
        installation = Installation(service.url, json.loads(made.stdout)["secret"])
        wait_until(lambda: can_hear(installation), timeout_s=HEARING_TIMEOUT_S, what="hearing")
        yield installation


def can_hear(installation: Installation) -> bool:
    """Whether the localizer is loaded."""
    reply = httpx.post(
        f"{installation.url}/v1/localizations",
        files={"audio": ("tone.wav", wav(1.0))},
        headers=installation.authorization,
        timeout=60,
    )
    return reply.is_success


def script(tool: str) -> str:
    """All recipes of one program, one after another."""
    return "\n".join(re.findall(rf"^```sh {tool}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE))


@pytest.mark.timeout(900)  # httpie starts sixty times, a third of a second of computing each
def test_recipes_work_and_miss_nothing(installation: Installation, tool: str, tmp_path: Path) -> None:
    """Run from top to bottom, every command succeeds, and every documented operation was answered."""
    before = installation.answered()
    (tmp_path / "examples").symlink_to(ROOT / "examples")

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script(tool)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "KEYVID_URL": installation.url,
            "KEYVID_API_KEY": installation.api_key,
            "WEBHOOK_URL": f"http://127.0.0.1:{free_port()}/keyvid",
        },
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, (done.stdout[-1500:] + done.stderr[-1500:]).decode(errors="replace")
    documented = {
        (method.upper(), path) for path, operations in create_app().openapi()["paths"].items() for method in operations
    }
    assert documented - (installation.answered() - before).keys() == set(), "docs/recipes.md lacks these operations"
    assert b"ftyp" in (tmp_path / "dog.mp4").read_bytes()[:16]
    assert (tmp_path / "shared.mp4").read_bytes() == (tmp_path / "dog.mp4").read_bytes()
    assert (tmp_path / "head.bin").stat().st_size == 1000
