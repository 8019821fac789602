"""Stopping a process of an installation on SQLite."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import psutil

_OTHERS_WRITE_S = 2.0  # who is not stopped has written by then


def freeze(process: psutil.Process, database: Path) -> None:
    """Stop a process between two of its writes: one that stops within a write holds up every writer on SQLite."""
    process.suspend()
    while not _is_free(database):
        process.resume()
        time.sleep(0.01)
        process.suspend()


def _is_free(database: Path) -> bool:
    """Whether the lock that every writer takes can be had."""
    with closing(sqlite3.connect(database, timeout=_OTHERS_WRITE_S, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True
