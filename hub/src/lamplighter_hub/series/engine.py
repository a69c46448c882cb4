"""The one DuckDB database of a store: opening it, cursors on it, and what its errors mean."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import numpy as np

from lamplighter_hub.series.columns import array
from lamplighter_hub.series.store import SeriesError, StoreUnavailable

_CLOSING_S: Final = 5.0
_CLOSING_TRIES: Final = 100
Cursor = duckdb.DuckDBPyConnection
EngineError = duckdb.Error
NEVER_STORABLE: Final = (duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError, duckdb.NotSupportedError)
"""Errors of a commit whose content the database never takes."""


class Limits(NamedTuple):
    """What the store may use. Quarantine keeps the newest entries within both of its bounds.

    `loose_marks` may be added before neighbouring ones are joined again.
    """

    memory: str = "192MB"
    threads: int = 2
    quarantine_rows: int = 50_000
    quarantine_bytes: int = 64 * 1024 * 1024
    loose_marks: int = 50_000


class Engine:
    """A database file that can be let go of and opened again. Cursors may be used in any thread, one thread each."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.threads = limits.threads
        self._limits = limits
        self._handing = threading.Condition()
        self._database: Cursor | None = None
        self._used: list[Cursor] = []
        self._busy = 0
        self._closing = False

    @property
    def is_open(self) -> bool:
        """Whether there is a database to ask."""
        return self._database is not None

    def open(self) -> Cursor:
        """Open the file and return its first connection. Raises EngineError."""
        self._database = duckdb.connect(str(self.path), config=_config(self.path, self._limits))
        return self._database

    def drop(self) -> None:
        """Let go of the file. Cursors that are in use go on until they are closed."""
        with self._handing:
            database, self._database = self._database, None
        if database is not None:
            with suppress(EngineError):  # a reader is at work: the file is let go of when it has ended
                database.close()

    def close(self) -> None:
        """Let go of the file for good, and first end what is being asked, with an error for who asked.

        A process that ends while a thread is in the database is aborted by it.
        """
        self._closing = True
        with self._handing:
            database, self._database = self._database, None
            for _ in range(_CLOSING_TRIES):
                for cursor in self._used:
                    cursor.interrupt()
                if self._handing.wait_for(lambda: not self._busy, _CLOSING_S / _CLOSING_TRIES):
                    break
        if database is not None:
            with suppress(EngineError):  # somebody has stopped in the middle of a list
                database.close()

    def cursor(self) -> Cursor:
        """Return a new cursor. Raises StoreUnavailable when the file is closed."""
        with self._handing:
            if self._database is None:
                raise StoreUnavailable(f"{self.path.name} is closed")
            return self._database.cursor()

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Give a cursor whose changes become durable together. Raises EngineError."""
        with self._using() as db:
            db.execute("BEGIN")
            yield db
            db.execute("COMMIT")

    @contextmanager
    def read(self) -> Iterator[Cursor]:
        """Give a cursor that sees one state of the file all along. Raises SeriesError."""
        with self._using() as db:
            try:
                db.execute("BEGIN")
                yield db
            except EngineError as error:
                if self._closing:
                    raise StoreUnavailable(f"{self.path.name} is closed") from error
                raise SeriesError(f"{self.path.name} could not be read: {line(error)}") from error

    @contextmanager
    def _using(self) -> Iterator[Cursor]:
        with self._handing:
            db = self.cursor()
            self._used.append(db)
            self._busy += 1
        try:
            yield db
        finally:
            with self._handing:  # nobody interrupts it while it is being closed
                self._used = [one for one in self._used if one is not db]
            db.close()
            with self._handing:
                self._busy -= 1
                self._handing.notify_all()


def scratch() -> Cursor:
    """Return a small database in memory, to read and write files with. Raises EngineError."""
    return duckdb.connect(":memory:", config={"memory_limit": "256MB", "threads": 1, "async_threads": 1})


def want(db: Cursor, keys: Sequence[int | str], ranks: Sequence[int] | None = None) -> None:
    """Let a cursor know `wanted`: the keys asked for, with their rank in the answer."""
    order = range(len(keys)) if ranks is None else ranks
    db.register("wanted", {"key": array(keys), "rank": np.array(order, dtype=np.int64)})


def append(db: Cursor, table: str, incoming: Mapping[str, Any]) -> None:
    """Append equally long columns to a table, in their order. DuckDB finds `incoming` by its name in this frame."""
    if incoming and len(next(iter(incoming.values()))):
        names = ", ".join(incoming)
        db.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming")  # noqa: S608 (names of this package)


def unavailable(path: Path, error: EngineError) -> StoreUnavailable:
    """Return why a file cannot be opened, in one line."""
    if "could not set lock" in str(error).lower():
        return StoreUnavailable(f"{path} is used by another hub; stop it, or choose another folder with --data")
    if "no space left" in str(error).lower():
        return StoreUnavailable(f"{path} cannot be opened: the disk is full; make room")
    return StoreUnavailable(f"{path} cannot be opened: {line(error)}; restore a backup, or move the file away")


def line(error: EngineError) -> str:
    """Return the first line of an error of the database."""
    return str(error).splitlines()[0][:300]


def may_be_damage(error: SeriesError) -> bool:
    """Whether a read may have failed because of what a file holds."""
    cause = error.__cause__
    return isinstance(cause, EngineError) and not isinstance(
        cause, duckdb.OutOfMemoryException | duckdb.InterruptException
    )


def quoted(path: Path) -> str:
    """Return a path as a literal of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def _config(path: Path, limits: Limits) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "memory_limit": limits.memory,
        "threads": limits.threads,
        "async_threads": 1,
        # Else its allocator keeps what a query has used, for ever: 14 MB in an idle hub.
        "allocator_background_threads": True,
        "temp_directory": str(path.with_name(path.name + ".tmp")),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
