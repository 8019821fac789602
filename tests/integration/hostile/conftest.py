"""A real API with a canary beside its data, and a caller who means it no good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from hostile_caller import BODY_LIMIT, CANARY, Attacker

from tests.api_process import ApiProcess, api_process
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    """A real API, small and impatient."""
    folder = tmp_path_factory.mktemp("hostile")
    limits = {"max_body_bytes": str(BODY_LIMIT), "body_idle_seconds": "4", "body_total_seconds": "8"}
    with api_process(folder, **limits) as running:
        yield running


@pytest.fixture
def attacker(api: ApiProcess) -> Iterator[Attacker]:
    """Somebody who sends hostile input; whatever it is, it gets no 5xx, leaves no file, and never sees the canary."""
    canary = api.data_dir.parent / "canary"
    canary.write_text(CANARY)
    with httpx.Client(base_url=api.url, timeout=60) as client:
        attacking = Attacker(api, canary, client)
        yield attacking
    for answer in attacking.answers:
        assert answer.status_code < 500, answer.text
        assert CANARY not in answer.text
        assert str(api.data_dir.parent) not in answer.text
    wait_until(lambda: not api.files_in_the_making(), what="an empty folder of uploads")
    assert CANARY not in api.log
    assert "Traceback" not in api.log
    stored = [path for path in (api.data_dir / "blobs").rglob("*") if path.is_file()]
    assert not [path for path in stored if CANARY.encode() in path.read_bytes()]
