"""Which records are given up for room: the oldest of a stream, but none that tells of a loss."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import NamedTuple

from lamplighter_agent.epochs import Epochs
from lamplighter_agent.losses import Run, widen
from lamplighter_agent.notes import fence
from lamplighter_agent.tables import BASE, MASK, OVERHEAD
from lamplighter_protocols.records import Stream


class GivenUp(NamedTuple):
    """What was deleted: its runs, how many records that were, and how many bytes."""

    runs: list[Run]
    records: int
    size: int


def give_up(db: sqlite3.Connection, stream: Stream, excess: int, epochs: Epochs, borders: Collection[int]) -> GivenUp:
    """Delete the oldest records of a stream until so many bytes are free, or none is left but those that tell."""
    base = BASE[stream]
    rows = db.execute(
        "SELECT id, from_t, to_t, epoch, length(body) FROM records"
        " WHERE id > ? AND id <= ? AND NOT dropped ORDER BY id",
        (base, base | MASK),
    )
    runs: list[Run] = []
    count = size = 0
    apart = fence(db, stream, borders)
    for record, from_t, to_t, epoch, length in rows:
        if size >= excess:
            break
        count += 1
        size += length + OVERHEAD
        widen(runs, _gone(epochs, record & MASK, from_t, to_t, epoch), apart)
    for run in runs:
        db.execute("DELETE FROM records WHERE id BETWEEN ? AND ?", (base | run.first, base | run.last))
    return GivenUp(runs, count, size)


def _gone(epochs: Epochs, number: int, from_t: int | None, to_t: int | None, epoch: int) -> Run:
    """Return the run of one record; it stays of its epoch while its times cannot be corrected yet."""
    if not epochs.known(epoch):
        return Run(number, number, from_t, to_t, epoch)
    return Run(number, number, epochs.right(epoch, from_t), epochs.right(epoch, to_t))
