from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from lamplighter_hub.errors import Invalid, Unavailable
from lamplighter_hub.registry.database import BadRegistry, Database, sqlite_url
from lamplighter_hub.registry.models import Device, Refusal
from lamplighter_hub.registry.paging import read_cursor, write_cursor
from services.ports import free_port
from services.postgres import Postgres, postgres


@pytest.fixture
def url(tmp_path: Path, registry_url: str) -> str:
    """The URL of an empty registry, one on each database."""
    return registry_url or sqlite_url(tmp_path)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url)
    made.upgrade()
    yield made
    made.close()


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


def test_references_are_checked(database: Database) -> None:
    def orphan() -> None:
        with database.write() as session:
            session.add(Device(id="d", agent="nobody", profile="p", first_seen=1))

    with pytest.raises(IntegrityError):
        orphan()


def test_writers_take_turns_and_readers_do_not_wait(database: Database, url: str) -> None:
    other = Database(url)
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
    other.close()


def test_what_is_committed_survives_kill_9(url: str) -> None:
    script = f"""
from lamplighter_hub.registry.database import Database
from lamplighter_hub.registry.models import Refusal
database = Database({url!r})
database.upgrade()
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
    database = Database(url)
    with database.read() as session:
        found = len(session.scalars(select(Refusal)).all())
    assert found in {said, said + 1}
    database.close()


def test_what_is_committed_survives_the_servers_kill_9_and_the_hub_goes_on(tmp_path: Path) -> None:
    with postgres() as server:
        database = Database(server.url(server.create()))
        database.upgrade()
        for number in range(20):
            with database.write() as session:
                session.add(refusal(str(number)))
        server.kill()
        with (
            pytest.raises(Unavailable, match=r"^the registry does not answer now: [^\n]+$"),
            database.write() as session,
        ):
            session.add(refusal("lost"))
        server.start()
        with database.read() as session:
            assert len(session.scalars(select(Refusal)).all()) == 20
        with database.write() as session:
            session.add(refusal("after"))
        database.close()


def test_a_registry_that_lets_nobody_write_is_waited_for(postgres_server: Postgres, postgres_template: str) -> None:
    name = postgres_server.create(postgres_template)
    database = Database(postgres_server.url(name))
    postgres_server.write(name, allowed=False)
    with pytest.raises(Unavailable, match="read-only"), database.write() as session:
        session.add(refusal("not yet"))
    postgres_server.write(name, allowed=True)
    with database.write() as session:
        session.add(refusal("now"))
    database.close()


def test_a_connection_that_is_cut_inside_a_transaction_loses_all_of_it(
    postgres_server: Postgres, postgres_template: str
) -> None:
    name = postgres_server.create(postgres_template)
    database = Database(postgres_server.url(name))

    def cut() -> None:
        with database.write() as session:
            session.add(refusal("half"))
            session.flush()
            with postgres_server.connect() as admin:
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            session.add(refusal("whole"))

    with pytest.raises(Unavailable):
        cut()
    with database.write() as session:
        assert session.scalars(select(Refusal)).all() == []
    database.close()


def test_a_look_is_one_moment_on_every_database(database: Database) -> None:
    with database.read() as reading:
        assert reading.get(Refusal, ("late", "x")) is None
        with database.write() as session:
            session.add(refusal("late"))
        reading.expire_all()
        assert reading.scalars(select(Refusal)).all() == []


def test_texts_sort_and_survive_alike_on_every_database(database: Database) -> None:
    names = ["a-1", "a1", "a-2", "B", "b", "é", "Z", "\U0001f6b2", "nul\x00byte"]
    with database.write() as session:
        session.add_all([refusal(name) for name in names])
    with database.read() as session:
        found = list(session.scalars(select(Refusal.who).order_by(Refusal.who)))
        at = session.scalars(select(Refusal.who).where(Refusal.who == "nul\x00byte")).all()
    assert found == sorted(name.replace("\x00", "\ufffd") for name in names)
    assert at == ["nul\ufffdbyte"]


def test_the_password_is_in_no_error_and_no_log(postgres_server: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    secret = "s3cret-of-nobody"
    port = free_port()
    good = postgres_server.url("postgres")
    for url in (
        good.replace(postgres_server.password, secret),
        f"postgresql://lamp:{secret}@127.0.0.1:{port}/registry",
        f"postgresql://lamp:{secret}@127.0.0.1:{postgres_server.port}/no-such-database",
        f"postgresql://lamp:{secret}@no-such-host.invalid/registry",
    ):
        database = Database(url)
        with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable) as caught:
            database.upgrade()
        said = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(vars(database)) + database.where
        assert secret not in said
        assert "\n" not in str(caught.value)
        database.close()


@pytest.mark.parametrize(
    "url", ["registry", "mysql://host/registry", "postgresql://lamp:s3cret@host:port/registry", ""]
)
def test_an_address_that_is_none_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(BadRegistry, match=r"^--registry-url[^\n]*$") as caught:
        Database(url)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_values_are_in_no_error(database: Database) -> None:
    with pytest.raises(IntegrityError) as caught, database.write() as session:
        session.add(Device(id="d", agent="s3cret-value", profile="p", first_seen=1))
    assert "s3cret-value" not in str(caught.value).partition("DETAIL")[0]


@pytest.mark.parametrize("cursor", ["x", "%%%", "W10", "WzFd", "WyJhIiwgMV0", "bnVsbA", "WzFlOTk5XQ", "\ud800", "é"])
def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        read_cursor(cursor, str)


def test_a_cursor_carries_a_place() -> None:
    assert read_cursor(write_cursor("ä/+", -(2**60)), str, int) == ["ä/+", -(2**60)]
    assert read_cursor("", str) == []
