"""Temporary files that killed processes left: each process sweeps the folder that it sees, which may be its own."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from workers.settings import Settings

logger = structlog.get_logger(__name__)

TEMP_LIFE_S = 86_400.0  # longer than any job or upload takes: their files must not be swept under them


def sweep_temp_dir(settings: Settings) -> None:
    """Remove what was last changed more than `TEMP_LIFE_S` ago; what cannot be removed is logged and left."""
    if not settings.temp_dir.is_dir():
        return
    before = time.time() - TEMP_LIFE_S
    for entry in settings.temp_dir.iterdir():
        try:
            if entry.stat().st_mtime >= before:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        except FileNotFoundError:  # its owner, or another process that sweeps, has just removed it
            continue
        except OSError as error:
            logger.warning("temporary_file_left", name=entry.name, reason=type(error).__name__)
