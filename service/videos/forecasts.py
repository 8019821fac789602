"""The present pace of each model, measured again every few seconds and not for every caller who asks."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from workers.forecast import Pace, read_pace

if TYPE_CHECKING:
    from workers.database import Database

FRESH_S = 3.0


class Forecasts:
    """Paces by model. Called from many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._paces: dict[str, tuple[float, Pace]] = {}

    def pace(self, model: str) -> Pace:
        """The pace of a model, at most a few seconds old. Raises: StoreUnavailable."""
        now = time.monotonic()
        with self._lock:  # those who come meanwhile wait for the same answer
            known = self._paces.get(model)
            if known is None or now - known[0] > FRESH_S:
                known = self._paces[model] = (now, read_pace(self._database, model))
            return known[1]
