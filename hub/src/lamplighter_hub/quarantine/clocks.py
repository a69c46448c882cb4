"""Which devices left entries that wait for their times, and whether their clocks are right again (decision 0016)."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final, NamedTuple

from lamplighter_hub.ingest.group import Group
from lamplighter_hub.ingest.times import REASON
from lamplighter_hub.quarantine.offsets import Run

MOST: Final = 10_000
"""Devices that are watched; entries of others wait for an operator."""
PROMPT_MS: Final = 60_000
"""Whoever is later than this may hold its records back, or have a clock that is behind."""


class Right(NamedTuple):
    """A device sends at once and with right times again, its newest `delay` ms before it is committed."""

    agent: str
    device: str
    delay: int


@dataclass(slots=True)
class _Watched:
    agent: str
    since: Run | None = None


class Clocks:
    """Told of every commit by the ingest thread; asked by others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[str, _Watched] = {}

    def watch(self, agent: str, device: str) -> None:
        """Begin to look out for a device; what it said until now proves nothing."""
        with self._lock:
            if device in self._watched or len(self._watched) < MOST:
                self._watched[device] = _Watched(agent)

    def forget(self, device: str) -> None:
        """Look out no more."""
        with self._lock:
            self._watched.pop(device, None)

    def notice(self, group: Group) -> None:
        """Take note of what is committed; what is released is no news of a device."""
        if self._watched and not group.releases:
            for device, newest in self._newest(group).items():
                self._see(device, Run.of(group.now_ms, newest, newest))
        for entry in group.quarantined:
            if entry.held and entry.reason == REASON:
                self.watch(entry.agent, entry.device)

    def right(self) -> list[Right]:
        """Return the devices that showed for long enough that they send at once and on a right clock."""
        with self._lock:
            seen = [(device, watched.agent, watched.since) for device, watched in self._watched.items()]
        return [Right(agent, device, run.low) for device, agent, run in seen if run and _proved(run)]

    def _newest(self, group: Group) -> dict[str, int]:
        found: dict[str, int] = {}
        for sample in group.samples:
            if sample.device in self._watched and sample.times:
                found[sample.device] = max(found.get(sample.device, sample.times[0]), *sample.times)
        return found

    def _see(self, device: str, now: Run) -> None:
        with self._lock:
            watched = self._watched.get(device)
            if watched is None:
                return
            if watched.since is not None and watched.since.steady_with(now):
                watched.since.take(now)
            else:
                watched.since = now


def _proved(run: Run) -> bool:
    return run.proves and -PROMPT_MS <= run.low <= PROMPT_MS
