"""The records of an outbox, by number, and what is counted of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from lamplighter_agent.epochs import CERTAIN
from lamplighter_agent.tables import BASE, MASK, OVERHEAD
from lamplighter_protocols.records import Stream

Span = tuple[int | None, int | None]
"""First and last time of a record in ms, where they are known."""
_COUNT: Final = "SELECT count(*) FROM records WHERE id > ? AND id <= ?"
_LOWEST: Final = "SELECT min(id) FROM records WHERE id > ? AND id <= ?"
_INSERT: Final = "INSERT INTO records (id, from_t, to_t, epoch, body) VALUES (?, ?, ?, ?, ?)"


class Holdings:
    """What the database holds, counted in memory; after a transaction that was undone it must be loaded again.

    By stream: `last` is the number given last, `held` how many records are kept, `freed` up to which number none is.
    `size` is how many bytes all of them take.
    """

    def __init__(self) -> None:
        self.size = 0
        self.last: dict[Stream, int] = {}
        self.held: dict[Stream, int] = {}
        self.freed: dict[Stream, int] = {}

    def load(self, db: sqlite3.Connection) -> None:
        """Count what is there."""
        self.last = dict.fromkeys(Stream, 0)
        self.last |= {Stream(name): last for name, last in db.execute("SELECT name, last FROM streams")}
        self.held = {stream: db.execute(_COUNT, (base, base | MASK)).fetchone()[0] for stream, base in BASE.items()}
        self.find_freed(db)
        bodies = db.execute("SELECT coalesce(sum(length(body)), 0) FROM records").fetchone()[0]
        self.size = bodies + OVERHEAD * sum(self.held.values())

    def keep_numbers(self, db: sqlite3.Connection) -> None:
        """Write down which numbers were given: they are never given again, whatever becomes of their records."""
        db.executemany("INSERT OR REPLACE INTO streams VALUES (?, ?)", [(str(k), v) for k, v in self.last.items()])

    def find_freed(self, db: sqlite3.Connection) -> None:
        """Look again up to which number nothing is kept: to be called when records have gone."""
        lowest = {stream: db.execute(_LOWEST, (base, base | MASK)).fetchone()[0] for stream, base in BASE.items()}
        self.freed = {stream: self.last[stream] if n is None else (n & MASK) - 1 for stream, n in lowest.items()}

    def insert(self, db: sqlite3.Connection, stream: Stream, span: Span, body: bytes, epoch: int = CERTAIN) -> int:
        """Add a record and return its number, the next of its stream."""
        number = self.last[stream] + 1
        db.execute(_INSERT, (BASE[stream] | number, *span, epoch, body))
        self.last[stream] = number
        self.held[stream] += 1
        self.size += len(body) + OVERHEAD
        return number

    def rewrite(self, db: sqlite3.Connection, record: int, span: Span, body: bytes) -> None:
        """Change the record with this id."""
        old = db.execute("SELECT length(body) FROM records WHERE id = ?", (record,)).fetchone()[0]
        db.execute("UPDATE records SET body = ?, from_t = ?, to_t = ? WHERE id = ?", (body, *span, record))
        self.size += len(body) - old

    def delete(self, db: sqlite3.Connection, stream: Stream, first: int, last: int) -> int:
        """Delete a range of numbers; return how many records that were."""
        bounds = (BASE[stream] | max(first, 1), BASE[stream] | max(last, 0))
        count, size = db.execute(
            "SELECT count(*), coalesce(sum(length(body) + ?), 0) FROM records WHERE id BETWEEN ? AND ?",
            (OVERHEAD, *bounds),
        ).fetchone()
        if count:
            db.execute("DELETE FROM records WHERE id BETWEEN ? AND ?", bounds)
            self.subtract(stream, count, size)
        return int(count)

    def subtract(self, stream: Stream, records: int, size: int) -> None:
        """Count records of so many bytes as gone: they were deleted from the database."""
        self.held[stream] -= records
        self.size -= size


def following(
    db: sqlite3.Connection, stream: Stream, after: int, upto: int, most: int
) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, epoch and body of at most so many records beyond number `after`, and not beyond `upto`."""
    base = BASE[stream]
    rows = db.execute(
        "SELECT id, epoch, body FROM records WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
        (base | after, base | upto, most),
    )
    yield from ((record & MASK, epoch, body) for record, epoch, body in rows)
