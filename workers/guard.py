"""Ends a runner's process group once its supervisor or the runner itself is gone. A program of its own.

The kernel ends a runner whose supervisor has died (PR_SET_PDEATHSIG), but not what the runner had started, and the
runner may be dead before it can do so itself. This program is in the runner's group and outlives both by a moment.
"""

import os
import select
import signal
import sys

if __name__ == "__main__":
    connection, runner = (int(number) for number in sys.argv[1:])
    ends = select.poll()
    ends.register(connection, 0)  # that it hangs up, and nothing else: what comes over it is for the runner
    ends.register(os.pidfd_open(runner), select.POLLIN)
    ends.poll()
    os.killpg(os.getpgrp(), signal.SIGKILL)
