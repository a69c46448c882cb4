from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable

from lamplighter_hub.errors import Invalid
from lamplighter_hub.registry.database import Database, sqlite_url
from lamplighter_hub.registry.models import Base, Device, Refusal
from lamplighter_hub.registry.paging import read_cursor, write_cursor


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(sqlite_url(tmp_path))
    made.create()
    return made


def refusal(who: str, count: int = 1) -> Refusal:
    return Refusal(who=who, why="x", count=count, first_at=1, last_at=1)


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(refusal("a"))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as session:
        assert session.get(Refusal, ("a", "x")) is None
    database.close()


def test_references_are_checked(database: Database) -> None:
    def orphan() -> None:
        with database.write() as session:
            session.add(Device(id="d", agent="nobody", profile="p", first_seen=1))

    with pytest.raises(IntegrityError):
        orphan()
    database.close()


def test_writers_take_turns_and_readers_do_not_wait(database: Database, tmp_path: Path) -> None:
    other = Database(sqlite_url(tmp_path))
    with database.write() as session:
        session.add(refusal("counter", 0))

    def count(target: Database) -> None:
        for _ in range(25):
            with target.write() as session:
                row = session.get_one(Refusal, ("counter", "x"))
                row.count += 1

    threads = [threading.Thread(target=count, args=(target,)) for target in (database, database, other, other)]
    for thread in threads:
        thread.start()
    with database.write() as writing:
        writing.add(refusal("unseen"))
        writing.flush()
        with database.read() as reading:
            assert reading.get(Refusal, ("unseen", "x")) is None
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.get_one(Refusal, ("counter", "x")).count == 100
    database.close()
    other.close()


def test_what_is_committed_survives_kill_9(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from lamplighter_hub.registry.database import Database, sqlite_url
from lamplighter_hub.registry.models import Refusal
database = Database(sqlite_url(Path({str(tmp_path)!r})))
database.create()
number = 0
while True:
    number += 1
    with database.write() as session:
        session.add(Refusal(who=str(number), why="x", count=1, first_at=1, last_at=1))
    print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        for _ in range(50):
            said = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        said = max([said, *(int(line) for line in child.stdout if line.endswith("\n"))])
    database = Database(sqlite_url(tmp_path))
    with database.read() as session:
        found = len(session.scalars(select(Refusal)).all())
    assert found in {said, said + 1}
    database.close()


def test_every_table_can_be_made_in_postgresql() -> None:
    for table in Base.metadata.sorted_tables:
        made = str(CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
        assert "BIGINT" in made or "BIGSERIAL" in made, made


@pytest.mark.parametrize("cursor", ["x", "%%%", "W10", "WzFd", "WyJhIiwgMV0", "bnVsbA", "WzFlOTk5XQ", "\ud800", "é"])
def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        read_cursor(cursor, str)


def test_a_cursor_carries_a_place() -> None:
    assert read_cursor(write_cursor("ä/+", -(2**60)), str, int) == ["ä/+", -(2**60)]
    assert read_cursor("", str) == []
