"""The example of how an installation is scraped, its alerts, and the manual: they name metrics that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from service.metrics import InstallationMetrics
from tests.conftest import missing
from workers import metrics
from workers.database import Database, upgrade

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
MANUAL = ROOT / "docs" / "operations.md"
PARTS = ("_bucket", "_count", "_sum", "_created")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of all metrics of ours, as a scrape tells them."""
    assert metrics.STEPS  # all of them are defined there
    url = f"sqlite:///{tmp_path_factory.mktemp('census')}/keyvid.db"
    upgrade(url)
    database = Database(url)
    found = {metric.name + ("_total" if metric.type == "counter" else "") for metric in REGISTRY.collect()}
    found |= {
        metric.name + ("_info" if metric.type == "info" else "") for metric in InstallationMetrics(database).collect()
    }
    database.close()
    return {name for name in found if name.startswith("keyvid_")}


def _named(text: str) -> set[str]:
    names = set(re.findall(r"\bkeyvid_[a-z_]+[a-z]\b", text))
    return {name.removesuffix(part) for name in names for part in (*PARTS, "") if name.endswith(part)} - {
        name for name in names if name.endswith(PARTS)
    }


def test_alerts_name_metrics_that_there_are(told: set[str]) -> None:
    """An alert on a metric that was renamed would be silent for ever."""
    named = _named((FOLDER / "alerts.yaml").read_text()) | _named((FOLDER / "alerts_test.yaml").read_text())

    assert len(named) > 10
    assert named - told == set()


def test_manual_tells_every_metric(told: set[str]) -> None:
    """Each by its name as it is scraped, and none that there is not."""
    table = MANUAL.read_text().partition("### Metrics")[2].partition("### Logs")[0]

    assert _named(table) ^ told == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yaml"),
        ("check", "rules", "alerts.yaml"),
        ("test", "rules", "alerts_test.yaml"),
    ],
    ids=" ".join,
)
def test_prometheus_accepts_them(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Its own tool reads the files, and fires the alerts where there is trouble and only there."""
    promtool = shutil.which("promtool") or missing("promtool")
    assert promtool is not None
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "keyvid-metrics-key").touch()

    reply = subprocess.run([promtool, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert reply.returncode == 0, reply.stdout + reply.stderr
