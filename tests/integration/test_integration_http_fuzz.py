"""Short runs of the fuzzing that `python -m benchmarks.faults.fuzz` does at length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.faults.fuzz import (
    CANARY,
    SETTINGS,
    Findings,
    leak_in,
    look_around,
    run_schemathesis,
    send_forms,
)
from benchmarks.faults.fuzzed_forms import fuzzed_form
from tests.api_process import api_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.api_process import ApiProcess

SEED = 2  # the long run has another


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiProcess]:
    """A real API with nothing behind it, and a canary beside its data; new for each test, since keys get made there."""
    (tmp_path / "canary").write_text(CANARY)
    with api_process(tmp_path, **SETTINGS) as running:
        yield running


def test_fuzzed_forms_cost_nothing(api: ApiProcess) -> None:
    """Of 500 broken forms none is answered with a 5xx, none is told anything, and none leaves a file."""
    findings = Findings()

    send_forms(api, range(500), seed=SEED, findings=findings)
    look_around(api, findings)

    assert findings.violations == []
    assert findings.answers.total() == 500
    assert {"400 malformed_multipart", "413 payload_too_large", "422 validation_failed"} <= findings.answers.keys()


def test_every_operation_answers_as_documented(api: ApiProcess) -> None:
    """What schemathesis makes of the schemas gets documented answers of the documented shapes, never a 5xx."""
    found = run_schemathesis(api, examples=3, seed=SEED, phases="fuzzing")

    assert not found, "\n".join(found)


def test_form_follows_from_seed_and_number() -> None:
    """A form that found something can be sent again."""
    assert fuzzed_form(1, 17) == fuzzed_form(1, 17)
    assert len({fuzzed_form(1, number).body for number in range(50)}) > 40


@pytest.mark.parametrize(
    "text",
    ['File "/srv/x.py", line 1', "Traceback (most recent call last):", "sqlalchemy.exc", CANARY, "in /data/here"],
)
def test_leaks_are_seen(text: str) -> None:
    """A trace, a library, the canary and the data folder in an answer are violations, and so is a 500."""
    findings = Findings()

    findings.note("form 1", 200, text.encode(), secrets=["/data/here"])
    findings.note("form 2", 500, b'{"code": "internal"}')

    assert len(findings.violations) == 2
    assert leak_in("The picture is damaged or incomplete.") is None
