"""Room on the disk that is kept for the moment when there is none: SQLite must write before it can forget.

A file of SIZE bytes lies beside the outbox. When a receipt cannot be booked because the disk is full, the file is given
up and the receipt booked; what it frees takes new records, and the file is made again when the disk has room.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

SIZE: Final = 4 * 1024 * 1024
"""Twice what the write-ahead log holds between two checkpoints: it grows, and then the database does."""
LOG_PAGES: Final = 500
LEAST_PAGES: Final = 64
"""Free pages of the database with which new records are taken while the disk is full."""


class Spare:
    """The file at `path`. All methods wait for the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here = False

    def keep(self) -> bool:
        """Make the file if it is not there and twice its size is free; True when it is there."""
        if not self._here:
            self._here = self._path.exists() and self._path.stat().st_size >= SIZE
        if not self._here and self._free() >= 2 * SIZE:
            with suppress(OSError):
                self._make()
        return self._here

    def give_up(self) -> bool:
        """Leave its room to others; True when it was there."""
        was = self._here
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._here = False
        return was

    def room(self) -> bool:
        """True when the file is there, or the disk has room for it."""
        return self.keep() or self._free() >= SIZE

    def guard(self, db: sqlite3.Connection) -> None:
        """Let no new record into the room without which nothing could be forgotten. Raises sqlite3.OperationalError."""
        if self.room():
            return
        (free,) = db.execute("PRAGMA freelist_count").fetchone()
        if free < LEAST_PAGES:
            raise sqlite3.OperationalError("the disk is full; what is left of it is kept for receipts")

    def _make(self) -> None:
        try:
            self._path.write_bytes(os.urandom(SIZE))  # nothing that a file system could pack
            self._here = True
        except OSError:
            self._path.unlink(missing_ok=True)
            raise

    def _free(self) -> int:
        try:
            found = os.statvfs(self._path.parent)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize
