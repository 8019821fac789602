"""The short form of `make faults`: real processes die, and the invariants hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.faults import crashes, orders, storm

pytestmark = pytest.mark.timeout(600)


def _silent(_: str) -> None:
    """Tell nobody."""


def test_kill_storm_loses_nothing() -> None:
    """Jobs that are cancelled, poison and healthy all end as they should while their processes are killed."""
    figures = storm.blow(replace(storm.SHORT, jobs=10, cancels=2), on_servers=False, say=_silent)

    assert figures["broken"] == []
    assert figures["accepted"] == 10


def test_crash_at_a_boundary_loses_nothing() -> None:
    """A process that dies between a commit and what belongs to it is made good by the others."""
    figures = crashes.crash_everywhere(is_short=True, say=_silent)

    assert figures["broken"] == []


def test_no_order_of_acts_breaks_an_invariant() -> None:
    """Whatever callers, workers and the machine do, in whatever order, against the real stores."""
    assert orders.search(60, say=_silent)["broken"] == []
