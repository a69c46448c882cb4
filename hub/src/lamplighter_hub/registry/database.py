"""The registry's engine: SQLite in the data folder, or PostgreSQL by URL.

Nothing outside this package knows which database it is, and both behave alike: a writing transaction takes the one
write lock when it begins, so that it never fails half-way; reading never waits; a commit is durable when it returns.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url, text
from sqlalchemy.orm import Session

from lamplighter_hub.errors import Unavailable
from lamplighter_hub.registry.migrations import upgrade
from lamplighter_protocols.errors import LamplighterError

SQLITE_FILE: Final = "registry.sqlite"
_WRITES: Final = "lamplighter_writes"
_WRITE_LOCK: Final = 0x6C616D70
"""The number of PostgreSQL's advisory lock that a writing transaction holds: "lamp"."""
_READ_ONLY: Final = "25006"
"""SQLSTATE read_only_sql_transaction: a standby, or a server whose owner lets nobody write for now."""
_SESSION: Final = (
    "SET lock_timeout = '30s'",
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
)


class BadRegistry(LamplighterError):
    """The registry's URL cannot be used; the text says why."""


def sqlite_url(data: Path) -> str:
    """Return the URL of the registry in a data folder."""
    return f"sqlite:///{data / SQLITE_FILE}"


class Database:
    """One registry. Threads share it; a session belongs to the thread that opened it. Raises BadRegistry."""

    def __init__(self, url: str) -> None:
        self._url = _parsed(url)
        self._engine = _engine(self._url)
        self._reading_engine = self._engine
        if self.kind == "postgresql":
            self._reading_engine = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._writing_engine = self._engine.execution_options(**{_WRITES: True})
        self._turn = threading.Lock()

    @property
    def kind(self) -> str:
        """The database's kind: sqlite or postgresql."""
        return self._engine.dialect.name

    @property
    def where(self) -> str:
        """The URL without its password, for people."""
        return self._url.render_as_string(hide_password=True)

    def upgrade(self) -> None:
        """Make the tables, or bring older ones up to date. Raises BadRegistry, NewerRegistry or Unavailable."""
        try:
            with self._turn, self._answering():
                upgrade(self._writing_engine)
        except exc.DBAPIError as error:
            raise BadRegistry(f"the registry {self.where} cannot be used: {self._line(error)}") from error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session for one consistent look; whatever is written in it is lost."""
        with self._answering(), Session(self._reading_engine, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session whose changes are durable after the block, all or none.

        Writers take turns, so never wait for another thread inside; opening a second one inside deadlocks.
        """
        with (
            self._turn,
            self._answering(),
            Session(self._writing_engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def size(self) -> int:
        """Return about how many bytes it takes."""
        if self.kind == "sqlite":
            return Path(self._url.database or "").stat().st_size
        with self.read() as session:
            return session.scalar(text("SELECT pg_database_size(current_database())")) or 0

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Say in our words that the database is away, full, locked or read-only: trying again may help."""
        try:
            yield
        except (exc.DBAPIError, exc.TimeoutError) as error:
            if not _is_away(error):
                raise
            raise Unavailable(f"the registry does not answer now: {self._line(error)}") from error

    def _line(self, error: exc.DBAPIError | exc.TimeoutError) -> str:
        said = str(error.orig if isinstance(error, exc.DBAPIError) else error)
        line = " ".join(said.split())[:300]
        return line.replace(str(self._url.password), "***") if self._url.password else line


def _is_away(error: exc.DBAPIError | exc.TimeoutError) -> bool:
    if not isinstance(error, exc.DBAPIError):
        return True
    read_only = getattr(error.orig, "sqlstate", "") == _READ_ONLY
    return read_only or isinstance(error, exc.OperationalError) or error.connection_invalidated


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
    except (exc.ArgumentError, ValueError):
        raise BadRegistry("--registry-url must look like postgresql://user@host:5432/database") from None
    if kind in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise BadRegistry(f"--registry-url: {kind} is not supported; use SQLite or PostgreSQL")
    return parsed


def _engine(url: URL) -> Engine:
    # Parameters are never shown: some are hashes and documents that no log shall hold.
    if url.get_backend_name() == "sqlite":
        timeout = {"timeout": 30.0}
        engine = create_engine(url, pool_size=8, max_overflow=40, connect_args=timeout, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    named = {"connect_timeout": "10", "application_name": "lamplighter"}
    try:
        engine = create_engine(
            url.set(query=named | dict(url.query)),
            pool_size=8,
            max_overflow=12,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ModuleNotFoundError:
        raise BadRegistry("PostgreSQL needs its driver: pip install 'lamplighter-hub[postgres]'") from None
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, and too late; `_begin_sqlite` does it.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(connection: Any, _record: object) -> None:
    for statement in _SESSION:
        connection.execute(statement)
    connection.commit()


def _begin_postgresql(connection: Connection) -> None:
    # The driver begins the transaction with its first statement.
    if connection.get_execution_options().get(_WRITES):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")
