"""The supervising process of an installation on one machine, whose death its children do not outlive."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PARENT_VARIABLE = "KEYVID_PARENT_PID"
PARENT_PERIOD_S = 0.5


def end_with_parent(environment: Mapping[str, str]) -> None:
    """Send this process a SIGTERM when the process named in KEYVID_PARENT_PID is no longer its parent.

    Does nothing where the variable is absent.
    """
    parent = environment.get(PARENT_VARIABLE, "")
    if not parent.isdigit():
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(PARENT_PERIOD_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
