"""The tables of an outbox database, and a look into them from outside."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from lamplighter_agent import epochs, lives
from lamplighter_protocols.records import Stream

OVERHEAD: Final = 48
"""Bytes that a record needs beside its text."""
BASE: Final = {stream: place << 56 for place, stream in enumerate((Stream.ALARM, Stream.LIVE, Stream.BACKLOG))}
"""A record's id is its stream's base plus its number."""
MASK: Final = (1 << 56) - 1
_SCHEMA: Final = f"""
{epochs.SCHEMA}
{lives.SCHEMA}
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS streams (name TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, from_t INTEGER, to_t INTEGER, dropped INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS positions (device TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables; give a database of an earlier release what it lacks."""
    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    if not any(row[1] == "epoch" for row in db.execute("PRAGMA table_info(records)")):
        db.execute("ALTER TABLE records ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0")


def read_only(path: Path) -> dict[str, Any]:
    """Return what an outbox holds, without changing it; an agent may be using it. Raises sqlite3.Error."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
    try:
        about = db.execute("SELECT value FROM about WHERE key = 'outbox'").fetchone()
        last = dict(db.execute("SELECT name, last FROM streams"))
        streams = {}
        size = 0
        for stream, base in BASE.items():
            held, first, newest, own = db.execute(
                "SELECT count(*), min(id), max(id), coalesce(sum(length(body)), 0) FROM records"
                " WHERE id > ? AND id <= ?",
                (base, base | MASK),
            ).fetchone()
            numbers = {"first": (first or 0) & MASK, "newest": (newest or 0) & MASK}
            streams[str(stream)] = {"held": held, **numbers, "last": last.get(str(stream), 0)}
            size += own + OVERHEAD * held
    finally:
        db.close()
    return {"outbox": about[0] if about else None, "bytes": size, "streams": streams}
