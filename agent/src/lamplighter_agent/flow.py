"""What of a stream is on the wire, and when to say it again. Arithmetic only: no clock, no socket, no disk.

A bounded window is in flight. A receipt moves it on. What was overtaken by its successors is sent again alone. When no
receipt comes until the deadline, everything that is still held counts as lost, and single batches probe at growing
distances (at most 30 s, jittered) until the hub answers again. A new connection starts with the whole window at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from lamplighter_agent.pace import LONGEST_DEADLINE_S, Deadline, Share

MOST_RANGES: Final = 512
"""Ranges remembered to be sent again; the hub asks for the others once more."""


@dataclass(slots=True)
class Sent:
    """A batch on the wire since `at`, lost at `due` if it was overtaken. `fresh`: sent for the first time."""

    first: int
    last: int
    at: float
    due: float
    fresh: bool
    overtaken: bool = False


class Wanted(NamedTuple):
    """What goes out next: the records beyond number `after`; `upto` bounds what is sent again."""

    after: int
    upto: int | None = None


class Flow:
    """One stream of one connection after another. Times are those of a monotonic clock, in seconds.

    `jitter` returns a number from 0 to 1; deadlines are shortened by up to a quarter of themselves. With `share` one
    batch is in flight at a time and a pause follows each receipt, so that the stream has that part of the link's time.
    """

    def __init__(self, limit: int, jitter: Callable[[], float], share: Share | None = None) -> None:
        self.after = 0
        """The last number that was sent, or needs no sending."""
        self.attempt = 0
        self.held_until = 0.0
        self.share = share
        self._limit = limit if share is None else 1
        self._jitter = jitter
        self._through = 0
        self._newest = 0
        self._flying: list[Sent] = []
        self._again: list[tuple[int, int]] = []
        self._silent_at: float | None = None
        self._deadline = Deadline()

    def connected(self) -> None:
        """Begin anew on a new connection: all that is held goes out again, a whole window at once."""
        self._all_again()
        self.attempt = 0
        self._deadline.reset()

    def may_send(self, now: float) -> bool:
        """True when another batch may go out now."""
        window = self._limit if self.attempt == 0 else 1
        return now >= self._waits_until() and len(self._flying) < window

    def wanted(self) -> Wanted:
        """Return what goes out next: what must be sent again before what never was."""
        if self._again:
            first, last = self._again[0]
            return Wanted(first - 1, last)
        return Wanted(self.after)

    def sent(self, first: int, last: int, now: float, *, again: bool = False) -> None:
        """Remember a batch that went out."""
        patience = self._patience()
        self._flying.append(Sent(first, last, now, now + patience, first > self._newest))
        self._newest = max(self._newest, last)
        self.strike(first, last)
        if not again or first <= self.after + 1:
            self.after = max(self.after, last)
        if self._silent_at is None:
            self._silent_at = now + patience

    def received(self, through: int, also: Sequence[tuple[int, int]], now: float) -> bool:
        """Take a receipt; return True when it brought news of this stream."""
        news = through > self._through
        self._through = max(self._through, through)
        self.after = max(self.after, self._through)
        self.strike(1, self._through)
        done = [batch for batch in self._flying if _covered(batch, self._through, also)]
        if not (done or news):
            return False
        self._flying = [batch for batch in self._flying if batch not in done]
        newest = max((batch.at for batch in done), default=0.0)
        for batch in self._flying:
            batch.overtaken = batch.overtaken or batch.at < newest
        self._learn(done, now)
        self.attempt = 0
        self._silent_at = now + self._patience() if self._flying else None
        return True

    def overdue(self, now: float) -> bool:
        """True when something is due again: what was overtaken, or after a silence everything, one batch at a time."""
        if self._silent_at is not None and now >= self._silent_at:
            self._all_again()
            self.attempt += 1
            self._deadline.missed()
            return True
        lost = [batch for batch in self._flying if batch.overtaken and now >= batch.due]
        self._flying = [batch for batch in self._flying if batch not in lost]
        self._repeat((batch.first, batch.last) for batch in lost)
        return bool(lost)

    def asked(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Send these numbers again: the hub misses them, so nothing with them is on the wire any more."""
        self._flying = [
            b for b in self._flying if not any(b.first <= last and first <= b.last for first, last in ranges)
        ]
        self._repeat(ranges)

    def strike(self, first: int, last: int) -> None:
        """Strike numbers from what must be sent again: they were sent, or are not there."""
        if self._again:
            parts = [((a, min(b, first - 1)), (max(a, last + 1), b)) for a, b in self._again]
            self._again = [(a, b) for pair in parts for a, b in pair if a <= b]

    def hold(self, until: float) -> None:
        """Send nothing before this time: the hub asked for it."""
        self.held_until = max(self.held_until, until)

    def wake_at(self, now: float) -> float | None:
        """Return when something becomes due by itself; None when nothing will."""
        waits = self._waits_until()
        times = [batch.due for batch in self._flying if batch.overtaken]
        times += [t for t in (self._silent_at, waits if waits > now else None) if t is not None]
        return min(times, default=None)

    @property
    def flying(self) -> int:
        """Number of batches without receipt."""
        return len(self._flying)

    def _waits_until(self) -> float:
        return self.held_until if self.share is None else max(self.held_until, self.share.rests_until)

    def _all_again(self) -> None:
        self._flying = []
        self._again = []
        self._silent_at = None
        self.after = self._through

    def _repeat(self, ranges: Iterable[tuple[int, int]]) -> None:
        # What was never sent comes by itself.
        wanted = [*self._again, *((first, min(last, self.after)) for first, last in ranges)]
        self._again = _joined(pair for pair in wanted if pair[0] <= pair[1])[:MOST_RANGES]

    def _learn(self, done: Sequence[Sent], now: float) -> None:
        for batch in done:
            if batch.fresh:
                self._deadline.learn(now - batch.at)
        if done and self.share is not None:
            self.share.taken(now - min(batch.at for batch in done), now)

    def _patience(self) -> float:
        return min(LONGEST_DEADLINE_S, self._deadline.seconds) * (1 - self._jitter() / 4)


def _covered(batch: Sent, through: int, also: Sequence[tuple[int, int]]) -> bool:
    return batch.last <= through or any(first <= batch.first and batch.last <= last for first, last in also)


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found
