"""The fork server: a process that has all decoders loaded and forks a sandbox for every request.

To load the decoders takes a hundred times longer than to fork. `python -I -m service.media.forkserver` gets
connections through the socket that is its standard input, one byte with each, and forks a child that answers on it;
once the child has ended, the last line of the connection says how. It has one thread, and neither settings, secrets,
network nor files of requests: a child inherits nothing but its own connection. When whoever sends connections ends,
so does it, with all children.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from service.media.confinement import prepare_confinement
from service.media.probe import load_canonicalizers, probe

if TYPE_CHECKING:
    from collections.abc import Callable

WALL_SECONDS = 60.0  # the processor limit ends hostile files long before; this one means that the machine is overloaded

_PR_SET_PDEATHSIG = 1
_MAX_DESCRIPTORS = 256  # one for each child
_BROKEN = 1


@dataclass(slots=True)
class Child:
    """A sandbox that works: its connection, to say how it ended, and when it has had its time (monotonic)."""

    connection: socket.socket
    overdue_at: float
    is_overdue: bool = False


def main() -> None:
    """Fork sandboxes until nobody can ask for them any more."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # requests that are under way are answered when a whole group is told
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = _MAX_DESCRIPTORS if most == resource.RLIM_INFINITY else min(_MAX_DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
    confinement = prepare_confinement()
    canonicalizers = load_canonicalizers()
    gc.collect()
    gc.freeze()  # what is here stays, and collections of children need not touch its pages
    with socket.socket(fileno=sys.stdin.fileno()) as control:
        serve(control, lambda connection: probe(connection, canonicalizers, confinement))


def serve(control: socket.socket, work: Callable[[socket.socket], bool]) -> None:
    """Fork a child for each connection that comes through `control`, and have it `work`; ends all when that ends."""
    children: dict[int, Child] = {}
    wakeups, wake = socket.socketpair()
    for end in (wakeups, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler of any kind: the byte in `wake` is what counts
    signal.set_wakeup_fd(wake.fileno())
    while True:
        soonest = min((child.overdue_at for child in children.values() if not child.is_overdue), default=None)
        patience_s = None if soonest is None else max(0.0, soonest - time.monotonic())
        readable, _, _ = select.select([control, wakeups], [], [], patience_s)
        if wakeups in readable:
            wakeups.recv(_MAX_DESCRIPTORS)
        _reap(children)
        if control in readable:
            asked, received, _, _ = socket.recv_fds(control, 1, 1)
            if not asked:
                break
            for descriptor in received:
                _fork(socket.socket(fileno=descriptor), children, work)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _fork(connection: socket.socket, children: dict[int, Child], work: Callable[[socket.socket], bool]) -> None:
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:  # no process to be had: the connection ends unanswered, and its request is told to come again
        connection.close()
        return
    if pid == 0:
        _be_child(connection.detach(), parent, work)
    children[pid] = Child(connection, time.monotonic() + WALL_SECONDS)


def _be_child(descriptor: int, parent: int, work: Callable[[socket.socket], bool]) -> NoReturn:
    """Keep nothing of the fork server but the connection, as standard input; work, and end."""
    is_whole = False
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        with suppress(AttributeError):  # Linux has it; elsewhere the processor limit ends who is left alone
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(descriptor, 0)
        os.dup2(1, 2)  # nowhere: a hostile file could make a library write without end
        os.closerange(3, _MAX_DESCRIPTORS)
        if os.getppid() == parent:
            is_whole = work(socket.socket(fileno=0))
    finally:
        os._exit(0 if is_whole else _BROKEN)  # to take the decoders down in order would take longer than to use them


def _reap(children: dict[int, Child]) -> None:
    """Say of each child that has ended how it did, and kill those that are overdue."""
    for pid, child in list(children.items()):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _say_end(child, exit_status=os.waitstatus_to_exitcode(status))
            del children[pid]
        elif not child.is_overdue and time.monotonic() >= child.overdue_at:
            child.is_overdue = True
            os.kill(pid, signal.SIGKILL)


def _say_end(child: Child, *, exit_status: int) -> None:
    end = {"exit_status": exit_status, "is_overdue": child.is_overdue}
    with child.connection as connection, suppress(OSError):  # whoever asked may have gone
        connection.setblocking(False)
        connection.send(b"\n" + json.dumps(end).encode() + b"\n")  # the child may have died within a line


if __name__ == "__main__":
    main()
