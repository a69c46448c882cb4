"""How often somebody may guess: failures per client and of all together within a window, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from lamplighter_hub.errors import TooMany
from lamplighter_hub.services import Clock

WINDOW_MS: Final = 60_000
PER_CLIENT: Final = 10
OF_ALL: Final = 300
MAX_CLIENTS: Final = 4_096


class Attempts:
    """Counts failures. A success costs nothing, so that a thousand honest clients behind one address pass."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, int] = OrderedDict()
        self._total = 0
        self._window_ends = 0

    def check(self, client: str) -> None:
        """Raise TooMany when the client, or all together, failed too often in this window."""
        with self._lock:
            self._turn_window()
            if self._failures.get(client, 0) < PER_CLIENT and self._total < OF_ALL:
                return
            wait_s = max(1, (self._window_ends - self._clock() + 999) // 1000)
        raise TooMany(f"too many wrong codes; try again in {wait_s} s", code="too_many_attempts", retry_after_s=wait_s)

    def failed(self, client: str) -> None:
        """Count a failure."""
        with self._lock:
            self._turn_window()
            self._total += 1
            self._failures[client] = self._failures.get(client, 0) + 1
            self._failures.move_to_end(client)
            if len(self._failures) > MAX_CLIENTS:
                self._failures.popitem(last=False)

    def _turn_window(self) -> None:
        now = self._clock()
        # A clock that was set back must not lengthen the window.
        if not self._window_ends - WINDOW_MS <= now < self._window_ends:
            self._failures.clear()
            self._total = 0
            self._window_ends = now + WINDOW_MS
