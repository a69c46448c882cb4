"""The simulator as a process: ends on a signal, and when whoever started it is gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable


def stop_on_signals() -> asyncio.Event:
    """Return an event of the running loop that SIGTERM and SIGINT set."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def orphan_watch(*, stay: bool) -> Callable[[], bool]:
    """Return a function that says whether the parent of now is gone (then the system gives us another).

    A parent's death signal (PR_SET_PDEATHSIG) is not used: it fires when the *thread* ends that started us.
    """
    parent = os.getppid()
    if stay or parent == 1:
        return lambda: False
    return lambda: os.getppid() != parent
