"""What is done to the database file as a whole: taking over older versions, keeping marks and quarantine small."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from lamplighter_hub.series import aside, manifest, queries, rollups
from lamplighter_hub.series.engine import Cursor, Engine, EngineError, Limits, line
from lamplighter_hub.series.sizes import Sizes

log = logging.getLogger(__name__)


def upgrade(db: Cursor, facts: Mapping[str, int]) -> None:
    """Bring a file up to this version, inside the caller's transaction. A file that is in order is not written to."""
    version = facts.get("schema")
    if version == queries.VERSION:
        return
    if version is None:
        _begin(db)
    if version == 1:
        _rename_points(db)
    if version in {1, 2}:
        _name_rolled(db)
    db.execute("UPDATE meta SET value = $version WHERE name = 'schema'", {"version": queries.VERSION})


def _begin(db: Cursor) -> None:
    db.execute(manifest.HOT_TABLE.format(name=manifest.hot_name(0)))
    db.execute("INSERT INTO hot VALUES (0)")
    names = ("schema", "quarantine_evicted", "forgotten", "forgotten_events", manifest.LAST_SEQ)
    db.executemany("INSERT INTO meta VALUES (?, 0)", [[name] for name in names])


def _rename_points(db: Cursor) -> None:
    """Take over version 1, which sealed nothing."""
    db.execute(f"ALTER TABLE points RENAME TO {manifest.hot_name(0)}")
    db.execute("INSERT INTO hot VALUES (0)")
    db.execute("INSERT INTO meta VALUES ('forgotten', 0)")


def _name_rolled(db: Cursor) -> None:
    """Take over version 2, which let nothing go by age and knew no checksums of roll-ups."""
    for level in rollups.LEVELS:
        db.execute("INSERT INTO rolled SELECT seq, $level, 0, '', true FROM files", {"level": level})
    db.execute("INSERT INTO meta VALUES ('forgotten_events', 0), ('last_seq', 0)")


def tidy(engine: Engine, sizes: Sizes, limits: Limits) -> None:
    """Keep quarantine and marks small. What fails here is tried again after a later commit."""
    try:
        if sizes.quarantined > limits.quarantine_rows or sizes.quarantined_bytes > limits.quarantine_bytes:
            _evict(engine, sizes, limits)
        if sizes.loose_marks > max(limits.loose_marks, (sizes.marks - sizes.loose_marks) // 2):
            with engine.transaction() as db:
                sizes.marks = join_marks(db)
            sizes.loose_marks = 0
    except EngineError as error:
        log.warning("%s could not be tidied up: %s", engine.path.name, line(error))


def _evict(engine: Engine, sizes: Sizes, limits: Limits) -> None:
    """Let the oldest of quarantine go, down to nine tenths of its bounds."""
    with engine.transaction() as db:
        gone = aside.evict(db, limits.quarantine_rows * 9 // 10, limits.quarantine_bytes * 9 // 10)
    sizes.quarantined -= gone.entries
    sizes.quarantined_bytes -= gone.size
    sizes.evicted += gone.entries
    sizes.released -= gone.released


def join_marks(db: Cursor) -> int:
    """Replace the marks by the joined ones, inside the caller's transaction; return how many there are."""
    db.execute("CREATE OR REPLACE TEMP TABLE joined AS " + queries.JOINED_MARKS)
    db.execute("DELETE FROM marks")
    db.execute("INSERT INTO marks SELECT * FROM joined")
    db.execute("DROP TABLE joined")
    found: int = db.execute("SELECT count(*) FROM marks").fetchall()[0][0]
    return found
