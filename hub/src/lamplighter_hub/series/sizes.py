"""How much the embedded store holds, kept in memory and read from the file once, when it is opened."""

from __future__ import annotations

from dataclasses import dataclass

from lamplighter_hub.series.columns import size_of
from lamplighter_hub.series.store import Commit


@dataclass(slots=True)
class Sizes:
    """What would need a look through the file. `event_n` and `quarantine_n` number arrivals from 1."""

    points: int = 0
    events: int = 0
    event_n: int = 0
    marks: int = 0
    quarantined: int = 0
    quarantined_bytes: int = 0
    quarantine_n: int = 0
    evicted: int = 0
    released: int = 0
    loose_marks: int = 0

    def rows(self) -> tuple[int, int, int, int]:
        """Return how many rows there are; every commit adds some."""
        return self.points, self.events, self.marks, self.quarantined

    def took(self, commit: Commit, points: int) -> None:
        """Add a commit of so many points that is durable now."""
        self.points += points
        self.events += len(commit.events)
        self.event_n += len(commit.events)
        self.marks += len(commit.marks)
        self.loose_marks += len(commit.marks)
        self.quarantined += len(commit.quarantined)
        self.quarantine_n += len(commit.quarantined)
        self.quarantined_bytes += sum(map(size_of, commit.quarantined))
        self.released += len(commit.releases)
