"""Run a program that ends with its parent, also when the parent is killed: `python tether.py PARENT PROGRAM ARGS...`.

Linux sends the signal (prctl PR_SET_PDEATHSIG) when the thread that forked ends, so a parent starts its children from a
thread that lives as long as itself. Elsewhere the program simply runs. Only the standard library is imported, and the
program replaces this process: it costs some 20 ms at the start and nothing later.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Tie this process to its parent, then become the program."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the tie was made
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - becoming the program is the point


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
