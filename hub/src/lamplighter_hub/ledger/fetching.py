"""What is missing for longer than a while is asked for, until it is there or its agent says that it is gone.

An agent is asked at most once in a pause that doubles while the asking brings nothing, and begins anew when it does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lamplighter_hub.ledger.account import Hole, Key
from lamplighter_hub.ledger.ledger import Ledger
from lamplighter_protocols.commands import Fetch
from lamplighter_protocols.records import Stream
from lamplighter_protocols.topics import Channel, build

MAX_RANGES: Final = 100
"""Ranges in one fetch, as the contract bounds them; the oldest go first."""
A_TICK: Final = 500
"""Fetches sent at once at most."""
LONGEST_MS: Final = 30 * 60_000


@dataclass(slots=True)
class _Asked:
    """When an account may be asked again, how long the pause after that is, and how much was missing."""

    next_at: int
    pause_ms: int
    missing: int


class Fetcher:
    """Looks through the ledger's holes at each tick. `sign` makes a JWS; `downlink` may lose what it is given."""

    def __init__(
        self,
        ledger: Ledger,
        online: Callable[[str], bool],
        sign: Callable[[Fetch], bytes],
        downlink: Callable[[str, bytes], None],
        after_ms: int,
    ) -> None:
        self._ledger = ledger
        self._online = online
        self._sign = sign
        self._downlink = downlink
        self._after_ms = after_ms
        self._asked: dict[Key, _Asked] = {}
        self._oldest_since: int | None = None
        self.fetches = 0
        """Fetches sent since the start."""
        self.ranges = 0
        """Ranges asked for in them."""
        self.closed = 0
        """Records that were asked for and are there, or declared dropped, now."""

    def tick(self, now_ms: int, *, hold: Collection[str] = ()) -> None:
        """Ask for what is due. Streams in `hold` are spared: the hub has enough to do with what comes by itself."""
        holes = self._ledger.holes()
        self._oldest_since = min((hole.since for found in holes.values() for hole in found), default=None)
        self._settle(holes, now_ms)
        open_holes = [(key, found) for key, found in holes.items() if key.stream not in hold]
        due = [(key, old) for key, found in open_holes if (old := self._old(found, now_ms))]
        sent = 0
        for key, old in sorted(due, key=lambda item: item[1][0].since):
            if sent >= A_TICK:
                break
            if self._may_ask(key, now_ms):
                self._ask(key, old[:MAX_RANGES], now_ms)
                sent += 1

    def facts(self, now_ms: int) -> dict[str, Any]:
        """Return what the status says of it."""
        since = self._oldest_since
        return {
            "fetches": self.fetches,
            "fetched_ranges": self.ranges,
            "fetched_records": self.closed,
            "oldest_hole_s": 0 if since is None else max(0, now_ms - since) // 1000,
        }

    def _old(self, holes: Sequence[Hole], now_ms: int) -> list[Hole]:
        return sorted((hole for hole in holes if now_ms - hole.since >= self._after_ms), key=lambda hole: hole.since)

    def _settle(self, holes: dict[Key, list[Hole]], now_ms: int) -> None:
        """See what the asking brought: less is missing, so it may go on soon."""
        for key, asked in list(self._asked.items()):
            missing = sum(hole.size for hole in holes.get(key, ()))
            self.closed += max(0, asked.missing - missing)
            if not missing:
                del self._asked[key]
            elif missing < asked.missing:
                asked.next_at = min(asked.next_at, now_ms + self._after_ms)
                asked.pause_ms = self._after_ms
            asked.missing = missing

    def _may_ask(self, key: Key, now_ms: int) -> bool:
        asked = self._asked.get(key)
        return self._online(key.agent) and (asked is None or now_ms >= asked.next_at)

    def _ask(self, key: Key, holes: Sequence[Hole], now_ms: int) -> None:
        fetch = Fetch(
            agent=key.agent,
            issued_at=now_ms,
            outbox=key.outbox,
            stream=Stream(key.stream).value,
            ranges=[(hole.first, hole.last) for hole in sorted(holes)],
        )
        self._downlink(build(key.agent, Channel.FETCH), self._sign(fetch))
        asked = self._asked.setdefault(key, _Asked(0, self._after_ms, 0))
        asked.missing = sum(hole.size for hole in self._ledger.snapshot(key).holes)
        asked.next_at = now_ms + asked.pause_ms
        asked.pause_ms = min(2 * asked.pause_ms, LONGEST_MS)
        self.fetches += 1
        self.ranges += len(fetch.ranges)
