"""One stream of one outbox: which numbers are dealt with, which were given up, which are missing and for how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lamplighter_hub.ledger.intervals import Intervals
from lamplighter_hub.series.store import Mark


class Key(NamedTuple):
    """Whose account: an agent may have had several outboxes, each with its streams."""

    agent: str
    outbox: str
    stream: str


class Hole(NamedTuple):
    """Numbers `first` to `last` are missing; the hub has known so since `since` (ms)."""

    first: int
    last: int
    since: int

    @property
    def size(self) -> int:
        """How many numbers."""
        return self.last - self.first + 1


class Balance(NamedTuple):
    """`sent = stored + quarantined + dropped + held + unaccounted`, in records.

    `sent` is the number that the agent is known to have given last. `held` is what only the agent has; what it still
    keeps and the hub has too is counted once. `unaccounted` is 0 at rest.
    """

    sent: int
    held: int
    unaccounted: int


@dataclass(slots=True)
class Account:
    """The books of one stream. `held`, `freed` and `last` are the agent's last word; `told_at` (ms) is when it came.

    It is not kept over a restart of the hub: `told_at` is 0 until the agent says it again.
    `seen` are all numbers that are dealt with; `gone` those of them that the agent declared dropped and that did not
    arrive after all. `received` is counted apart from what became of it, so that one can be held against the other.
    """

    seen: Intervals = field(default_factory=Intervals)
    gone: Intervals = field(default_factory=Intervals)
    received: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    held: int = 0
    freed: int = 0
    holes: Sequence[Hole] = ()
    last: int = 0
    told_at: int = 0

    def copy(self) -> Account:
        """Return an independent copy."""
        return Account(
            self.seen.copy(),
            self.gone.copy(),
            self.received,
            self.stored,
            self.duplicate,
            self.quarantined,
            self.held,
            self.freed,
            self.holes,
            self.last,
            self.told_at,
        )

    def take(self, mark: Mark) -> None:
        """Book one mark. What was declared dropped and comes all the same is not dropped any more."""
        if mark.dropped:
            for first, last in self.seen.gaps(mark.first, mark.last):
                self.gone.add(first, last)
        elif len(self.gone):
            self.gone.remove(mark.first, mark.last)
        self.seen.add(mark.first, mark.last)
        self.stored += mark.stored
        self.duplicate += mark.duplicate
        self.quarantined += mark.quarantined

    def is_new(self, number: int) -> bool:
        """True when this record was never taken."""
        return number not in self.seen or number in self.gone

    @property
    def dropped(self) -> int:
        """How many records are declared dropped."""
        return self.gone.count()

    @property
    def booked(self) -> int:
        """What became of all that was received; must be equal to `received`."""
        return self.stored + self.duplicate + self.quarantined

    @property
    def highest(self) -> int:
        """The highest number that is known to have been given."""
        return max(self.seen.highest, self.freed)

    def balance(self) -> Balance:
        """Weigh what the agent numbered against what became of it, as far as its last word goes."""
        sent, seen = max(self.highest, self.last), self.seen.count()
        held = min(self.held, sent - seen - self._gone_before(self.freed)) if sent > seen else 0
        return Balance(sent, held, sent - self.stored - self.quarantined - self.dropped - held)

    def _gone_before(self, freed: int) -> int:
        """Count the numbers that are not dealt with, and not kept by the agent either."""
        return sum(last - first + 1 for first, last in self.seen.gaps(1, freed))

    def missing(self) -> list[tuple[int, int]]:
        """The numbers that were given, are not dealt with, and may still come."""
        return self.seen.gaps(1, self.highest)

    def grow_old(self, now_ms: int) -> None:
        """Bring `holes` up to what is missing; a hole that was known keeps its age."""
        if not self.holes and self.seen.through == self.highest:
            return  # nothing is and nothing was missing, as nearly always
        missing = self.missing()
        if missing or self.holes:
            self.holes = tuple(_aged(missing, self.holes, now_ms))


def _aged(missing: Sequence[tuple[int, int]], known: Sequence[Hole], now_ms: int) -> Iterator[Hole]:
    """Split the missing ranges where the known holes begin and end. Both are in order."""
    place = 0
    for first, last in missing:
        while place < len(known) and known[place].last < first:
            place += 1
        at = place
        while first <= last:
            old = known[at] if at < len(known) and known[at].first <= last else None
            if old is None:
                yield Hole(first, last, now_ms)
                break
            if first < old.first:
                yield Hole(first, old.first - 1, now_ms)
            yield Hole(max(first, old.first), min(last, old.last), old.since)
            first, at = old.last + 1, at + 1  # noqa: PLW2901 - what is left of this range
