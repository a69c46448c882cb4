"""Which numbers an outbox database holds and tells of, and how records get other ones."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from pydantic_core import to_json

from lamplighter_agent.losses import Ranges, Run, lengthen
from lamplighter_agent.tables import BASE, MASK
from lamplighter_protocols.records import Stream


def held_within(db: sqlite3.Connection, stream: Stream, ranges: Ranges) -> Ranges:
    """Return which of these numbers are held."""
    base = BASE[stream]
    runs: list[Run] = []
    for first, last in sorted(ranges):
        rows = db.execute("SELECT id FROM records WHERE id BETWEEN ? AND ? ORDER BY id", (base | first, base | last))
        for (record,) in rows:
            lengthen(runs, Run(record & MASK, record & MASK))
    return [(run.first, run.last) for run in runs]


def told_of(db: sqlite3.Connection, outbox: str | None, stream: Stream) -> Ranges:
    """Return the numbers that `dropped` records which are still held tell of."""
    base = BASE[Stream.ALARM]
    alarms = "SELECT body FROM records WHERE id > ? AND id <= ? AND dropped"
    notes = [json.loads(body) for (body,) in db.execute(alarms, (base, base | MASK))]
    mine = [note for note in notes if note["stream"] == stream and note.get("outbox") == outbox]
    return [(note["first"], note["last"]) for note in mine]


def move(db: sqlite3.Connection, stream: Stream, above: int, by: int) -> None:
    """Give the records above a number others that are higher by so much."""
    base = BASE[stream]
    rows = (by, base | above + 1, base | MASK)
    db.execute("UPDATE records SET id = -id - ? WHERE id BETWEEN ? AND ?", rows)  # no two may meet on the way
    db.execute("UPDATE records SET id = -id WHERE id < 0")


def tell_anew(db: sqlite3.Connection, above: Mapping[Stream, int], moved: Mapping[Stream, int]) -> None:
    """Let `dropped` records tell of the numbers that what they tell of has now."""
    for record, body in db.execute("SELECT id, body FROM records WHERE dropped").fetchall():
        note = json.loads(body)
        stream = Stream(note["stream"])
        if note.get("outbox") is None and stream in moved and note["first"] > above[stream]:
            note |= {"first": note["first"] + moved[stream], "last": note["last"] + moved[stream]}
            db.execute("UPDATE records SET body = ? WHERE id = ?", (to_json(note), record))
