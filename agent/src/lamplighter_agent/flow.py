"""What of a stream is on the wire, and when to say it again. Arithmetic only: no clock, no socket, no disk.

A bounded window is in flight. A receipt moves it on. When none comes until the deadline, everything that is still held
counts as lost, and single batches probe at growing distances (at most 30 s, jittered) until the hub answers again. A
new connection starts with the whole window at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

FIRST_DEADLINE_S: Final = 5.0
LONGEST_DEADLINE_S: Final = 30.0


class Sent(NamedTuple):
    """A batch on the wire."""

    first: int
    last: int


class Flow:
    """One stream of one connection after another. Times are those of a monotonic clock, in seconds.

    `jitter` returns a number from 0 to 1; deadlines are shortened by up to a quarter of themselves.
    """

    def __init__(self, limit: int, jitter: Callable[[], float]) -> None:
        self.after = 0
        """The last number that was sent, or needs no sending."""
        self.attempt = 0
        self.held_until = 0.0
        self._limit = limit
        self._jitter = jitter
        self._through = 0
        self._flying: deque[Sent] = deque()
        self._deadline: float | None = None

    def connected(self) -> None:
        """Begin anew on a new connection: all that is held goes out again, a whole window at once."""
        self._again()
        self.attempt = 0

    def may_send(self, now: float) -> bool:
        """True when another batch may go out now."""
        window = self._limit if self.attempt == 0 else 1
        return now >= self.held_until and len(self._flying) < window

    def sent(self, first: int, last: int, now: float) -> None:
        """Remember a batch that went out."""
        self._flying.append(Sent(first, last))
        self.after = max(self.after, last)
        if self._deadline is None:
            self._deadline = now + self._patience()

    def received(self, through: int, also: Sequence[tuple[int, int]], now: float) -> bool:
        """Take a receipt; return True when it brought news of this stream."""
        before = len(self._flying)
        news = through > self._through
        self._through = max(self._through, through)
        self.after = max(self.after, self._through)
        self._flying = deque(batch for batch in self._flying if not _covered(batch, self._through, also))
        news = news or len(self._flying) < before
        if news:
            self.attempt = 0
            self._deadline = now + self._patience() if self._flying else None
        return news

    def overdue(self, now: float) -> bool:
        """True once when the deadline has passed; from then on single batches probe."""
        if self._deadline is None or now < self._deadline:
            return False
        self._again()
        self.attempt += 1
        return True

    def go_back(self, first: int) -> None:
        """Send again from this number on: the hub misses it."""
        self.after = min(self.after, first - 1)

    def hold(self, until: float) -> None:
        """Send nothing before this time: the hub asked for it."""
        self.held_until = max(self.held_until, until)

    def wake_at(self, now: float) -> float | None:
        """Return when something becomes due by itself; None when nothing will."""
        times = [t for t in (self._deadline, self.held_until if self.held_until > now else None) if t is not None]
        return min(times, default=None)

    @property
    def flying(self) -> int:
        """Number of batches without receipt."""
        return len(self._flying)

    def _again(self) -> None:
        self._flying.clear()
        self._deadline = None
        self.after = self._through

    def _patience(self) -> float:
        deadline = min(LONGEST_DEADLINE_S, FIRST_DEADLINE_S * 2.0 ** min(self.attempt, 10))
        return deadline * (1 - self._jitter() / 4)


def _covered(batch: Sent, through: int, also: Sequence[tuple[int, int]]) -> bool:
    return batch.last <= through or any(first <= batch.first and batch.last <= last for first, last in also)
