"""Requests that wait for a command to change, without a thread for each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lamplighter_hub.errors import TooMany

MAX_WAITING: Final = 1_000


class Waiters:
    """Events by command. `waiting` belongs to an event loop, `wake` to any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._count = 0

    @contextmanager
    def waiting(self, command: str) -> Iterator[asyncio.Event]:
        """Register for changes of a command; the event is set at each. Raises TooMany beyond MAX_WAITING."""
        entry = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            if self._count >= MAX_WAITING:
                raise TooMany(f"{MAX_WAITING} requests wait for commands already", retry_after_s=5)
            self._count += 1
            self._events.setdefault(command, set()).add(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                self._count -= 1
                self._events[command].discard(entry)
                if not self._events[command]:
                    del self._events[command]

    def wake(self, command: str) -> None:
        """Tell everybody who waits for a command."""
        with self._lock:
            for loop, event in self._events.get(command, ()):
                # A loop that has been closed takes no calls, and nobody waits there any more.
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)
