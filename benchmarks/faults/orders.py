"""Orders: thousands of lives of an installation, each another order of what callers, workers and the machine do."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from benchmarks.faults.job_life import JobLife

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SAY_ORDERS = 100


def search(examples: int, *, say: Callable[[str], None]) -> Mapping[str, object]:
    """Play that many orders of up to fifty acts; answers the figures, with the shortest counter-example if any."""
    say(f"{examples} orders of what may happen")
    chosen = settings(
        max_examples=examples, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
    )
    played = itertools.count(1)

    class CountedLife(JobLife):
        """A life that tells now and then which one it was."""

        def teardown(self) -> None:
            """End as ever, and count."""
            super().teardown()
            if (number := next(played)) % SAY_ORDERS == 0:
                say(f"{number} played")

    try:
        run_state_machine_as_test(CountedLife, settings=chosen)
    except Exception as error:  # noqa: BLE001 - whatever it raised, it is the counter-example
        notes = "\n".join(getattr(error, "__notes__", []))
        return {"runs": examples, "broken": [f"{type(error).__name__}: {error}\n{notes}"]}
    return {"runs": examples, "broken": []}
