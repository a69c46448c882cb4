"""When to send something again that has not been answered: after 2 s, 4 s, ... 30 s.

Shared by commands and configuration. Keys are the ids of what waits; memory holds one entry each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

FIRST_MS: Final = 2_000
LAST_MS: Final = 30_000


@dataclass(slots=True)
class _Waiting:
    agent: str
    due_at: int
    pause_ms: int


class Repeats:
    """What waits for an answer, per agent. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._of_agent: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, key: str, agent: str, due_at: int) -> None:
        """Begin (again) to wait: due at a time (ms), then after growing pauses."""
        with self._lock:
            self._drop(key)
            self._waiting[key] = _Waiting(agent, due_at, FIRST_MS)
            self._of_agent.setdefault(agent, set()).add(key)

    def drop(self, keys: Iterable[str]) -> None:
        """Stop waiting."""
        with self._lock:
            for key in keys:
                self._drop(key)

    def wake(self, agent: str, now: int) -> None:
        """Make everything of an agent due now, with short pauses again."""
        with self._lock:
            for key in self._of_agent.get(agent, ()):
                waiting = self._waiting[key]
                waiting.due_at, waiting.pause_ms = now, FIRST_MS

    def due(self, now: int, limit: int, online: Callable[[str], bool]) -> list[str]:
        """Return up to `limit` keys that are due and whose agent is online, the longest due first."""
        with self._lock:
            there = [keys for agent, keys in self._of_agent.items() if online(agent)]
            found = [(self._waiting[key].due_at, key) for keys in there for key in keys]
        return [key for due_at, key in sorted(found)[:limit] if due_at <= now]

    def sent(self, key: str, now: int) -> None:
        """Note a sending; the pause after it is twice the one before."""
        with self._lock:
            if waiting := self._waiting.get(key):
                waiting.due_at = now + waiting.pause_ms
                waiting.pause_ms = min(2 * waiting.pause_ms, LAST_MS)

    def _drop(self, key: str) -> None:
        if waiting := self._waiting.pop(key, None):
            mine = self._of_agent[waiting.agent]
            mine.discard(key)
            if not mine:
                del self._of_agent[waiting.agent]
