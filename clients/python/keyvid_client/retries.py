"""When a request is sent again: only what may be repeated, no longer than is sensible, and as the service asks."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyvid_client.errors import ApiError, ConnectionFailed

if TYPE_CHECKING:
    from keyvid_client.errors import KeyVIDError

REPEATED_STATUSES = (408, 429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how long to try.

    Args:
        tries: how many times a request is sent at most; 1 never repeats.
        first_pause_s: pause before the second try; each one after doubles it, with up to a quarter of chance.
        longest_pause_s: no pause is longer; where the service asks for more, the error is raised at once.
    """

    tries: int = 5
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0

    def pause_s(self, tried: int, error: KeyVIDError) -> float | None:
        """Seconds to wait after `tried` tries of which the last ended with `error`; None is to give up."""
        if tried >= self.tries:
            return None
        if isinstance(error, ApiError):
            if error.status not in REPEATED_STATUSES or not error.should_retry:
                return None
            if error.retry_after_s is not None:
                return error.retry_after_s if error.retry_after_s <= self.longest_pause_s else None
        elif not isinstance(error, ConnectionFailed):
            return None
        pause_s: float = self.first_pause_s * 2 ** (tried - 1)
        return min(pause_s * random.uniform(1, 1.25), self.longest_pause_s)
