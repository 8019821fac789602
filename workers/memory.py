"""How the memory of a process that runs for months stays what it was in its first hour."""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # glibc's malloc.h
_LARGE_BYTES = 128 * 1024  # where glibc begins; it raises that as large buffers are freed
_INTERNED = 90_000  # more than fit into Python's table of names before it takes three times what is in use


def settle_memory() -> None:
    """Take now what is taken once in any case, and have large buffers given back as soon as they are freed.

    To be called when what stays has been loaded. Python's table of interned names is full of names that are gone after
    4,000 jobs, and then makes itself anew in twice the size, 2 MB more, once and for all: that happens here instead.

    glibc would keep freed buffers of 128 KiB and more between small ones that live on: 200 uploads at once left the API
    80 to 170 MB larger, in place of 50. Asking the kernel for them anew costs 6 % of the uploads a second. Other C
    libraries stay as they are. A runner computes in such buffers, and must not call this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    if sys.version_info < (3, 12):  # later ones may keep such names for good
        for number in range(_INTERNED):
            sys.intern(f"{number}th")
