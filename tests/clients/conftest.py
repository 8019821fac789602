"""The service that every client is tried against: `keyvid serve` as it ships, with a quick double of the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from examples.demo import running_service

if TYPE_CHECKING:
    from collections.abc import Iterator

DOUBLES = Path(__file__).parents[1] / "integration"


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running service; its model is `paced_engine`, whose prompts are scripts."""
    folder = tmp_path_factory.mktemp("clients")
    settings = {
        "KEYVID_ENGINE": "paced_engine:load",
        "KEYVID_RETRY_BACKOFF_SECONDS": "[0, 0, 0]",
        "PYTHONPATH": str(DOUBLES),
    }
    with running_service(folder, settings) as service:
        yield service.url
