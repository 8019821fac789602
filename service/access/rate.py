"""How many requests a minute each key may send: the generic cell rate algorithm, in this process's memory.

Several API processes count each for itself. What must be exact over all of them (new videos, running and waiting ones,
computing time) is counted in the database instead: see `workers.quota`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from service.errors import RateLimited, rate_fields

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S = 60.0
MAX_CALLERS = 10_000  # how many are remembered before those with a whole allowance are forgotten
POLICY = "requests"


class RateLimiter:
    """Counts requests by caller. Lives on the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._whole_at: dict[str, float] = {}  # when the allowance of a caller is whole again

    def count(self, caller: str, *, per_minute: int, policy: str = POLICY) -> dict[str, str]:
        """Count one request (or what `policy` names in the plural); returns the headers that tell what is left.

        Raises: RateLimited when a whole minute's allowance is used up.
        """
        now = self._clock()
        interval_s = WINDOW_S / per_minute
        whole_at = max(self._whole_at.get(caller, now), now) + interval_s
        if whole_at - now > WINDOW_S + 1e-6:
            wait_s = whole_at - now - WINDOW_S
            raise RateLimited(
                f"At most {per_minute} {policy} a minute.",
                policy=policy,
                limit=per_minute,
                retry_after_s=wait_s,
                window_s=WINDOW_S,
            )
        if caller not in self._whole_at and len(self._whole_at) >= MAX_CALLERS:
            self._whole_at = {name: moment for name, moment in self._whole_at.items() if moment > now}
        self._whole_at[caller] = whole_at
        left = int((WINDOW_S - (whole_at - now)) / interval_s + 1e-6)
        return rate_fields(policy, limit=per_minute, left=left, wait_s=whole_at - now, window_s=WINDOW_S)
