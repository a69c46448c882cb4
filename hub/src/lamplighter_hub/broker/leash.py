"""Children that cannot outlive their parent, not even when it is killed with -9.

The kernel's parent-death signal belongs to the *thread* that forked: start a leashed child from a thread that lives as
long as the child shall. The signal is asked for by the child itself, in a small Python program that then becomes the
real one, because code between fork and exec (`preexec_fn`) is not safe in a process with threads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

_WRAPPER: Final = """\
import ctypes, os, signal, sys
parent, program, *rest = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of <sys/prctl.h>
if os.getppid() != int(parent):
    sys.exit("the parent is gone")
os.execv(program, [program, *rest])
"""


def leashed(command: Sequence[str]) -> list[str]:
    """Return a command that runs `command` (an absolute path first) under the same process id, on the leash.

    The child gets SIGKILL: a graceful end could be delayed for as long as it holds the port that a successor needs.
    Elsewhere than on Linux the child runs without a leash.
    """
    return [sys.executable, "-I", "-S", "-c", _WRAPPER, str(os.getpid()), *command]
