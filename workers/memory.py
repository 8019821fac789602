"""How the memory of a process that runs for months stays what it was in its first hour."""

from __future__ import annotations

import ctypes
import gc
import sys

_M_MMAP_THRESHOLD = -3  # glibc's malloc.h
_LARGE_BYTES = 128 * 1024  # where glibc begins; it raises that as large buffers are freed
_INTERNED = 90_000  # more than fit into Python's table of names before it takes three times what is in use


def settle_memory() -> None:
    """Have garbage found and large buffers given back soon; to be called once what stays has been loaded.

    Python looks for old cycles only once they may be a quarter of all objects, which imports make a lot: within an hour
    or two they took 2 MB. What is there now is not counted any more.

    glibc would keep freed buffers of 128 KiB and more between small ones that live on: 200 uploads at once left the API
    80 to 170 MB larger, in place of 50. Asking the kernel for them anew costs 6 % of the uploads a second. Other C
    libraries stay as they are. A runner computes in such buffers, and must not call this.

    The table of interned names counts those that are gone until it makes itself anew, which after 4,000 jobs takes 2 MB
    once and for all. That happens now instead.
    """
    if sys.version_info < (3, 12):  # later ones may keep such names for good
        for number in range(_INTERNED):
            sys.intern(f"{number}th")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    gc.collect()
    gc.freeze()
    gc.collect()  # only a full collection counts anew what is old
