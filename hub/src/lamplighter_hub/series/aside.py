"""Quarantine in the embedded store: what was set aside, what was released of it, and letting the oldest go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from lamplighter_hub.series import rows
from lamplighter_hub.series.columns import relation, size_of
from lamplighter_hub.series.engine import Cursor, append
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Quarantined, Release

_COLUMNS: Final = ("id", "set_aside", "agent", "device", "channel", "reason", "field", "detail", "payload", "held")
_SHOWN: Final = ", ".join((*_COLUMNS, "release"))
_ADDED: Final = ("held", "release")
"""Columns that files of an earlier version lack; what they hold cannot be released."""

_PAGE: Final = f"""
SELECT n, {_SHOWN} FROM quarantine
WHERE ($agent IS NULL OR agent = $agent) AND ($reason IS NULL OR reason = $reason)
  AND ($device IS NULL OR device = $device)
"""  # noqa: S608
_NEWEST: Final = _PAGE + "AND n < $n ORDER BY n DESC LIMIT $limit"
_OLDEST: Final = _PAGE + "AND n > $n ORDER BY n LIMIT $limit"
_ONE: Final = f"SELECT {_SHOWN} FROM quarantine WHERE id = $id LIMIT 1"  # noqa: S608
_RELEASE: Final = "UPDATE quarantine SET release = freed.text FROM freed WHERE quarantine.id = freed.id"
_EVICTABLE: Final = """
SELECT max(n), count(*), coalesce(sum(size), 0)::BIGINT, count(*) FILTER (release <> '') FROM (
    SELECT n, size, release, row_number() OVER newest AS place, sum(size) OVER newest AS reach FROM quarantine
    WINDOW newest AS (ORDER BY n DESC ROWS UNBOUNDED PRECEDING))
WHERE place > $rows OR reach > $bytes
"""


class Gone(NamedTuple):
    """How many entries had to go, how large they were, and how many of them had been released."""

    entries: int
    size: int
    released: int


def widen(db: Cursor) -> None:
    """Bring the table of an earlier version up to date; one that is in order is not written to."""
    found = db.execute("SELECT column_name FROM duckdb_columns() WHERE table_name = 'quarantine'").fetchall()
    for name in _ADDED:
        if (name,) not in found:
            db.execute(f"ALTER TABLE quarantine ADD COLUMN {name} VARCHAR DEFAULT ''")


def write(db: Cursor, first: int, entries: Sequence[Quarantined], releases: Sequence[Release]) -> None:
    """Put entries in, numbered from `first`, and note what is released, inside the caller's transaction."""
    found = [(first + n, size_of(entry), *entry[:9], rows.as_text(entry.held)) for n, entry in enumerate(entries)]
    append(db, "quarantine", relation(found, ("n", "size", *_COLUMNS)))
    if releases:
        texts = [(release.entry, rows.as_text(release)) for release in releases]
        db.register("freed", relation(texts, ("id", "text")))
        db.execute(_RELEASE)


def page(db: Cursor, asked: Mapping[str, Any], *, oldest_first: bool, cursor: str | None) -> list[Any]:
    """Return numbered rows of a list that begins behind a cursor; `entry` reads what follows the number."""
    beyond = BEGINNING if oldest_first else END_OF_TIME
    n = rows.read_numbers(cursor, 1)[0] if cursor else beyond
    return db.execute(_OLDEST if oldest_first else _NEWEST, {**asked, "n": n}).fetchall()


def one(db: Cursor, name: str) -> Quarantined | None:
    """Return an entry by its id."""
    row = db.execute(_ONE, {"id": name}).fetchone()
    return entry(row) if row else None


def entry(row: Sequence[Any]) -> Quarantined:
    """Return the entry of a row."""
    *facts, held, release = row
    return Quarantined._make((*facts, rows.held(held), rows.release(release)))


def evict(db: Cursor, most_rows: int, most_bytes: int) -> Gone:
    """Let the oldest go until the rest is within both bounds, inside the caller's transaction."""
    keep = {"rows": most_rows, "bytes": most_bytes}
    oldest, *gone = db.execute(_EVICTABLE, keep).fetchall()[0]
    db.execute("DELETE FROM quarantine WHERE n <= $n", {"n": oldest})
    db.execute("UPDATE meta SET value = value + $n WHERE name = 'quarantine_evicted'", {"n": gone[0]})
    return Gone(*gone)
