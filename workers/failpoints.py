"""Places where a test lets a process die as `kill -9` would, to prove that nothing is lost at any of them.

`KEYVID_FAILPOINTS` names a folder, in tests only. While it holds a file named like a failpoint, the first process that
gets there removes the file and is gone. Without the variable, reaching a failpoint costs one comparison.

Besides the places named here there are two for every transaction that writes, just before and just behind its commit:
they are named after the function that opened it, so a new transaction is a new failpoint without anybody's doing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path

FOLDER = os.environ.get("KEYVID_FAILPOINTS")


class Failpoint(StrEnum):
    """Boundaries that are no commit."""

    FORM_RECEIVED = "form-received"  # the API has a request's files on disk, unchecked
    INPUT_UPLOADING = "input-uploading"
    INPUT_UPLOADED = "input-uploaded"  # stored, and no row names it
    RESULT_COPIED = "result-copied"  # for a job that has no row yet
    BLOB_DRAFTED = "blob-drafted"  # the local store has all bytes under another name
    BLOB_RENAMED = "blob-renamed"
    TICKET_SENDING = "ticket-sending"
    TICKET_SENT = "ticket-sent"
    JOB_SENT = "job-sent"  # the runner has been told of a job
    JOB_RECEIVED = "job-received"
    CHECKPOINT_UPLOADING = "checkpoint-uploading"
    CHECKPOINT_UPLOADED = "checkpoint-uploaded"
    CHECKPOINT_TOLD = "checkpoint-told"
    VIDEO_UPLOADING = "video-uploading"
    VIDEO_UPLOADED = "video-uploaded"
    THUMBNAIL_UPLOADED = "thumbnail-uploaded"
    RESULT_TOLD = "result-told"  # the supervisor may have read it or not
    BLOBS_PURGED = "blobs-purged"  # and the row still says that they are there
    WEBHOOK_SENT = "webhook-sent"  # and nothing says so


def reach(name: str) -> None:
    """Die here if a test wants that."""
    if FOLDER is not None:
        _die_if_armed(FOLDER, name)


def transaction_name() -> str:
    """The qualified name of the function that opened the transaction that is asked from; empty when tests are off."""
    if FOLDER is None:
        return ""
    frame = sys._getframe(1)  # noqa: SLF001 - the one way to tell callers apart without asking each for a name
    passed = {frame.f_code.co_filename, contextlib.__file__}
    while frame.f_back is not None and frame.f_code.co_filename in passed:
        frame = frame.f_back
    return frame.f_code.co_qualname


def before_commit(transaction: str) -> str:
    """The failpoint just before the commit of a function's transaction."""
    return f"{transaction}.before-commit"


def after_commit(transaction: str) -> str:
    """The failpoint just behind it."""
    return f"{transaction}.after-commit"


def _die_if_armed(folder: str, name: str) -> None:
    try:
        Path(folder, name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
