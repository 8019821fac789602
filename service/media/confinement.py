"""What a process gives up for good before it decodes bytes of others: other files, processes, the network, resources.

Resource limits hold on every Unix, and keep files and sockets away by themselves: no descriptor may be opened any more.
The filter of system calls needs Linux and libseccomp (part of Debian and Ubuntu), and no rights. A network namespace
needs a kernel that lets users make one. Whatever a machine does not have is left out.
"""

from __future__ import annotations

import ctypes
import errno
import resource
import sys
from dataclasses import dataclass

MEMORY_BYTES = 1 << 30  # address space: a 25 MP picture with alpha needs about 0.5 GB of it
CPU_SECONDS = 15  # the slowest allowed file takes about 2 s
OUTPUT_BYTES = 64 << 20  # per file: canonical pictures and sounds stay under 13 MB

MEASURES = ("limits", "network", "calls")

_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000
_SECCOMP = "libseccomp.so.2"
_ALLOW, _REFUSE = 0x7FFF_0000, 0x0005_0000 | errno.EPERM  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM)
# To compute, to read and write what is open, and to end. No file, process, signal to others, socket or new program.
_SYSTEM_CALLS = (
    *("read", "readv", "pread64", "write", "writev", "pwrite64", "lseek", "close", "fstat", "newfstatat"),
    *("mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "futex", "sched_yield", "sched_getaffinity"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "getpid", "gettid", "getrandom"),
    *("clock_gettime", "clock_nanosleep", "gettimeofday", "restart_syscall", "exit", "exit_group"),
)


def confine() -> tuple[str, ...]:
    """Give up everything that decoding open files does not need; returns what holds: `limits`, `network`, `calls`."""
    return prepare_confinement().put_on()


def prepare_confinement() -> Confinement:
    """Leave the network, for this process and all that it forks, and make ready what each of them gives up itself."""
    return Confinement(is_without_network=_leave_network(), filtering=_prepared_filter())


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a process can give up from one moment to the next, without opening anything for it."""

    is_without_network: bool
    filtering: _Filter | None

    def put_on(self) -> tuple[str, ...]:
        """Give everything up, for good; returns what holds: `limits`, `network`, `calls`."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES, OUTPUT_BYTES))
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))  # no thread and no process; root is not bound by this one
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))  # open files stay usable; no new file, pipe or socket
        held = {
            "limits": True,
            "network": self.is_without_network,
            "calls": self.filtering is not None and self.filtering(),
        }
        return tuple(name for name in MEASURES if held[name])


def _leave_network() -> bool:
    """Move into a network namespace without any interface that is up; False where the kernel does not let us."""
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    if unshare is None:
        return False
    return bool(unshare(_CLONE_NEWNET) == 0 or unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)


class _Filter:
    """A filter of system calls that is ready to be put on; it can never be taken off."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_REFUSE)))
        for name in _SYSTEM_CALLS:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:  # some of them exist only on other machines
                library.seccomp_rule_add(self._context, ctypes.c_uint32(_ALLOW), ctypes.c_int(number), ctypes.c_uint(0))

    def __call__(self) -> bool:
        """Put the filter on; False where the kernel does not let us."""
        return bool(self._library.seccomp_load(self._context) == 0)


def _prepared_filter() -> _Filter | None:
    try:
        return _Filter(ctypes.CDLL(_SECCOMP))
    except OSError:
        return None


if __name__ == "__main__":
    sys.stdout.write(" ".join(confine()))  # `measures_that_hold` reads it
