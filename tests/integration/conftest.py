"""The API that several suites talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from access_door import Door, opened
from http_service import Service, serving

from service.settings import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with nothing in it."""
    with serving(ServiceSettings(data_dir=tmp_path, event_poll_seconds=0.02)) as running:
        yield running


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """An API where everyone needs a key."""
    with opened(tmp_path, auth="required") as running:
        yield running
