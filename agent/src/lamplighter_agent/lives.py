"""The lives of an agent that the hub has not met: from which number on each has recorded.

A life is from one start of the agent to the next. It hands nothing out before the hub has met it, and the hub meets it
only when its numbers lie beyond all that the hub knows. So of an outbox that is an older copy of itself, what was
recorded by lives of before the copy is settled with the hub, under the same numbers; and what was recorded by lives
that the hub has not met is new, however often the agent was started since.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from lamplighter_protocols.presence import Life
from lamplighter_protocols.records import MAX_LIVES, Stream

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS lives (
    place INTEGER PRIMARY KEY, life TEXT NOT NULL,
    alarm INTEGER NOT NULL, live INTEGER NOT NULL, backlog INTEGER NOT NULL
);
"""


class Settled(NamedTuple):
    """What the answer to a birth did: by how much numbers moved, and whether the hub has met the present life."""

    moved: dict[Stream, int]
    met: bool


class Lives:
    """The lives of one outbox that the hub has not met, the present one last; `db` is in a transaction."""

    def __init__(self) -> None:
        self._unmet: list[Life] = []

    def load(self, db: sqlite3.Connection) -> None:
        """Read what the database knows."""
        rows = db.execute("SELECT life, alarm, live, backlog FROM lives ORDER BY place")
        self._unmet = [Life(id=life, first=dict(zip(Stream, firsts, strict=True))) for life, *firsts in rows]

    def begin(self, db: sqlite3.Connection, life: str, last: Mapping[Stream, int]) -> None:
        """Begin a life. When there are too many already, the last one goes on: none of its records was handed out."""
        self.load(db)
        if len(self._unmet) < MAX_LIVES:
            self._unmet.append(Life(id=life, first={stream: last[stream] + 1 for stream in Stream}))
            self._keep(db)

    def unmet(self) -> list[Life]:
        """Return the lives that the hub has not met, for the birth; none once it has met the present one."""
        return list(self._unmet)

    def met(self, met: Collection[str]) -> Life | None:
        """Learn which of them the hub has met; return the first life whose records it cannot know, if there is one.

        Those before the last one that was met are settled. The present one has handed nothing out yet, met or not.
        """
        known = [place for place, life in enumerate(self._unmet[:-1]) if life.id in met]
        del self._unmet[: known[-1] + 1 if known else 0]
        return self._unmet[0] if self._unmet else None

    def starts(self, stream: Stream) -> set[int]:
        """Return the last number before each of them."""
        return {life.first[stream] - 1 for life in self._unmet}

    def is_met(self, met: Collection[str]) -> bool:
        """Whether the hub has met the present life."""
        return not self._unmet or self._unmet[-1].id in met

    def move(self, db: sqlite3.Connection, by: Mapping[Stream, int]) -> None:
        """Let all of them begin at numbers that are higher by so much."""
        self._unmet = [_moved(life, by) for life in self._unmet]
        self._keep(db)

    def forget(self, db: sqlite3.Connection) -> None:
        """Forget them: the hub has met the present one."""
        db.execute("DELETE FROM lives")
        self._unmet.clear()

    def _keep(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM lives")
        rows = [(place, life.id, *(life.first[stream] for stream in Stream)) for place, life in enumerate(self._unmet)]
        db.executemany("INSERT INTO lives VALUES (?, ?, ?, ?, ?)", rows)


def before(life: Life) -> dict[Stream, int]:
    """Return the number before a life's first record, in each stream."""
    return {stream: number - 1 for stream, number in life.first.items()}


def _moved(life: Life, by: Mapping[Stream, int]) -> Life:
    return life.model_copy(update={"first": {stream: n + by.get(stream, 0) for stream, n in life.first.items()}})
