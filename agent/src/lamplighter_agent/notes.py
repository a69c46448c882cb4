"""The `dropped` records in an outbox database: those that may be told as one, and what they tell of."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from typing import Final

from lamplighter_agent.epochs import CERTAIN, Epochs
from lamplighter_agent.losses import Apart, Note, read_note
from lamplighter_agent.tables import BASE, MASK, OVERHEAD
from lamplighter_protocols.records import Stream

SHARE: Final = 8
"""Notes may weigh one part in so many of the outbox before they are gathered."""
_ALARMS: Final = (BASE[Stream.ALARM], BASE[Stream.ALARM] | MASK)


def weigh(db: sqlite3.Connection) -> int:
    """Return the bytes of all notes."""
    query = "SELECT coalesce(sum(length(body) + ?), 0) FROM records WHERE id > ? AND id <= ? AND dropped"
    weight: int = db.execute(query, (OVERHEAD, *_ALARMS)).fetchone()[0]
    return weight


def clusters(db: sqlite3.Connection, epochs: Epochs) -> Iterator[list[Note]]:
    """Yield the notes that follow each other with nothing else that is held between them, two or more at a time."""
    rows = db.execute("SELECT id, dropped, epoch, body FROM records WHERE id > ? AND id <= ? ORDER BY id", _ALARMS)
    cluster: list[Note] = []
    for record, dropped, epoch, body in rows.fetchall():
        if dropped:
            known = epochs.known(epoch)
            right = epochs.corrected(epoch, body) if known else body
            cluster.append(read_note(record & MASK, CERTAIN if known else epoch, right))
            continue
        if len(cluster) > 1:
            yield cluster
        cluster = []
    if len(cluster) > 1:
        yield cluster


def fence(db: sqlite3.Connection, stream: Stream, borders: Collection[int], gone: Collection[int] = ()) -> Apart:
    """Return what keeps runs of a stream apart: something between them is held, or they lie on two sides of a border.

    Beyond a border records may get other numbers (Outbox.settle). `gone` are numbers that are about to go.
    """
    base = BASE[stream]

    def apart(last: int, first: int) -> bool:
        if any(last <= border < first for border in borders):
            return True
        if first <= last + 1:
            return False
        between = db.execute("SELECT id FROM records WHERE id BETWEEN ? AND ?", (base | last + 1, base | first - 1))
        return any(record & MASK not in gone for (record,) in between)

    return apart


def fences(
    db: sqlite3.Connection, borders: Callable[[Stream], Collection[int]], gone: Collection[int]
) -> Callable[[str | None, Stream], Apart]:
    """Return a fence for a stream of an outbox; notes with the numbers `gone` are about to go.

    Of an earlier outbox (named, not None) nothing is held.
    """

    def fence_of(outbox: str | None, stream: Stream) -> Apart:
        if outbox is not None:
            return lambda _last, _first: False
        return fence(db, stream, borders(stream), gone if stream is Stream.ALARM else ())

    return fence_of


def delete(db: sqlite3.Connection, numbers: Collection[int]) -> int:
    """Delete notes; return their bytes."""
    ids = [(BASE[Stream.ALARM] | number,) for number in numbers]
    sizes = [
        db.execute("SELECT length(body) + ? FROM records WHERE id = ?", (OVERHEAD, *one)).fetchone() for one in ids
    ]
    db.executemany("DELETE FROM records WHERE id = ?", ids)
    return sum(size for (size,) in sizes)
