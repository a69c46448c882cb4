"""What is done to the database file as a whole: taking over older versions, joining marks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lamplighter_hub.series import manifest, queries, rollups
from lamplighter_hub.series.engine import Cursor

_GATHERS_NOTHING: Final = 3
"""A version that knew no gathered files; all else is as it is now."""


def upgrade(db: Cursor, facts: Mapping[str, int]) -> None:
    """Bring a file up to this version, inside the caller's transaction. A file that is in order is not written to."""
    if facts.get("schema") == queries.VERSION:
        return
    match facts.get("schema"):
        case None:
            db.execute(manifest.HOT_TABLE.format(name=manifest.hot_name(0)))
            db.execute("INSERT INTO meta VALUES ('schema', 0), ('quarantine_evicted', 0), ('forgotten', 0)")
            db.execute("INSERT INTO hot VALUES (0)")
        case 1:
            db.execute(f"ALTER TABLE points RENAME TO {manifest.hot_name(0)}")
            db.execute("INSERT INTO meta VALUES ('forgotten', 0)")
            db.execute("INSERT INTO hot VALUES (0)")
        case 2:
            for level in (rollups.MINUTE, manifest.HOUR):
                db.execute("INSERT INTO rolled SELECT seq, $level, 0, '', true FROM files", {"level": level})
    if facts.get("schema") != _GATHERS_NOTHING:
        db.execute("INSERT INTO meta VALUES ('forgotten_events', 0), ('last_seq', 0)")
    db.execute("UPDATE meta SET value = $version WHERE name = 'schema'", {"version": queries.VERSION})


def join_marks(db: Cursor) -> int:
    """Replace the marks by the joined ones, inside the caller's transaction; return how many there are."""
    db.execute("CREATE OR REPLACE TEMP TABLE joined AS " + queries.JOINED_MARKS)
    db.execute("DELETE FROM marks")
    db.execute("INSERT INTO marks SELECT * FROM joined")
    db.execute("DROP TABLE joined")
    found: int = db.execute("SELECT count(*) FROM marks").fetchall()[0][0]
    return found
