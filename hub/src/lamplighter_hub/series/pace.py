"""Work in the background at a share of one core: after each piece it rests for as long as the share asks."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from lamplighter_hub.series.store import SeriesError


class Stopped(SeriesError):
    """The store is being closed: what was not finished is done at the next start."""


class Moment(NamedTuple):
    """Time that went by, and processor time of this thread (s)."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        return cls(time.perf_counter(), time.thread_time())


class Pace:
    """Lets whoever works in the background take `share` of a core, beside `threads` of the database."""

    def __init__(self, share: float, threads: int) -> None:
        self._share = share
        self._threads = threads
        self._stop = threading.Event()

    def stop(self) -> None:
        """End whatever rests, and what begins to."""
        self._stop.set()

    def pause(self, seconds: float) -> bool:
        """Wait; return whether it is time to end."""
        return self._stop.wait(max(0.0, seconds))

    def rest(self, began: Moment, least_s: float = 0.0) -> float:
        """Rest after a piece of work, in all `least_s` from its begin; return how long it took (s). Raises Stopped."""
        wall, cpu = (now - then for now, then in zip(Moment.now(), began, strict=True))
        # The other threads of the database work as much as this one, at most; waiting for the disk costs nobody.
        if self.pause(max(cpu * self._threads / self._share, least_s) - wall):
            raise Stopped("the store is being closed")
        return wall
