"""What an agent of a swarm kept while it was away: sent a batch at a time, with a rest after each receipt.

As the agent does it: a batch is smaller after a slow receipt and larger after a quick one, from 8 to 64 KiB of JSON,
and first 16 KiB; here in records of some 5 KiB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from lamplighter_firmware_sim.swarm.words import Load

ROWS: Final = 120
"""Samples in a record, as many as an agent puts into one that waits."""
FIRST: Final = 3
LARGEST: Final = 12
SLOW_S: Final = 2.0
QUICK_S: Final = 0.5
DEADLINE_S: Final = 30.0
"""How long a batch waits for its receipt before it is sent again."""


@dataclass(frozen=True)
class Past:
    """What every agent of a process kept: `records` records of a load, the last of which ends at `until_ms`."""

    load: Load
    records: int
    until_ms: int

    def end_of(self, number: int) -> int:
        """Return the time of the last sample of a record, in ms."""
        return self.until_ms - (self.records - number) * self.load.rows * self.load.row_ms


def past_of(live: Load, interval_s: float, seconds: float, until_ms: int) -> Past:
    """Return so many seconds of samples like the live ones, which come each `interval_s`."""
    step = max(1, round(interval_s * 1000 / live.rows))
    rows = max(1, round(seconds * 1000 / step))
    load = replace(live, points=min(ROWS, rows) * len(live.columns), row_ms=step)
    return Past(load, -(-rows // load.rows), until_ms)


class Piece(NamedTuple):
    """The records of one batch: the number of the first, and how many."""

    first: int
    records: int


class Backlog:
    """One agent's: what is still held, and when the next batch is due (monotonic seconds)."""

    __slots__ = ("_fresh", "_records", "_room", "_sent_at", "due", "through")

    def __init__(self, records: int) -> None:
        self._records = records
        self._sent_at = 0.0
        self._fresh = True
        self._room = FIRST
        self.through = 0
        self.due = 0.0 if records else float("inf")

    def take(self, now: float) -> tuple[Piece, bool]:
        """Return the batch that is due, and whether it goes out for the first time; it is due again at its deadline."""
        fresh, self._fresh = self._fresh, False
        self._sent_at = now
        self.due = now + DEADLINE_S
        return Piece(self.through + 1, min(self._room, self._records - self.through)), fresh

    def confirm(self, through: int, now: float, wait_s: float) -> int:
        """Take a receipt; return how many records it frees. The rest is as long as the receipt took: half the time."""
        freed = max(0, through - self.through)
        if freed:
            self.through = through
            self._fresh = True
            self._adapt(now - self._sent_at)
            self.due = 2 * now - self._sent_at if through < self._records else float("inf")
        if wait_s and self.due < float("inf"):
            self.due = max(self.due, now + wait_s)
        return freed

    def _adapt(self, took_s: float) -> None:
        if took_s > SLOW_S:
            self._room = max(1, self._room // 2)
        elif took_s < QUICK_S:
            self._room = min(LARGEST, self._room * 2)

    def reconnected(self) -> None:
        """Send what has no receipt again at once."""
        if self.through < self._records:
            self.due = 0.0
