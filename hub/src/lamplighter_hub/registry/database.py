"""The registry's engine: SQLite in the data folder, another database by URL.

Nothing outside this module knows which database it is. On SQLite a writing transaction takes the write lock when it
begins, so that it never fails half-way, and every commit is durable when it returns (WAL, synchronous=FULL).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from lamplighter_hub.errors import Unavailable
from lamplighter_hub.registry.models import Base

_WRITES: Final = "lamplighter_writes"


def sqlite_url(data: Path) -> str:
    """Return the URL of the registry in a data folder."""
    return f"sqlite:///{data / 'registry.sqlite'}"


class Database:
    """One registry. Threads share it; a session belongs to the thread that opened it."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._writing_engine = self._engine.execution_options(**{_WRITES: True})
        self._turn: AbstractContextManager[Any] = nullcontext()
        if self._engine.dialect.name == "sqlite":
            self._turn = threading.Lock()

    def create(self) -> None:
        """Make the tables that are not there yet."""
        Base.metadata.create_all(self._writing_engine)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session for one consistent look; whatever is written in it is lost."""
        with _answering(), Session(self._engine, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session whose changes are durable after the block, all or none.

        Writers take turns, so never wait for another thread inside; opening a second one inside deadlocks.
        """
        with (
            self._turn,
            _answering(),
            Session(self._writing_engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


@contextmanager
def _answering() -> Iterator[None]:
    """Say in our words that the database is away, full or locked: trying again may help."""
    try:
        yield
    except OperationalError as error:
        raise Unavailable(f"the registry does not answer now: {error.orig}") from error


def _engine(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, pool_size=8, max_overflow=40, connect_args={"timeout": 30.0})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, and too late; `_begin_sqlite` does it.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
