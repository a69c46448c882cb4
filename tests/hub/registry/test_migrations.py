"""Registries of every age become those of today; the models and the revisions say the same."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Inspector, create_engine, event, func, inspect, select, text

from hub.registry import history
from hub.registry.rig import rig
from lamplighter_hub.registry.database import BadRegistry, Database, sqlite_url
from lamplighter_hub.registry.migrations import FOLDER, HEAD, KNOWN, NewerRegistry, UnsuitableDatabase, revise
from lamplighter_hub.registry.models import Base
from services.postgres import Postgres

AGES = sorted(path.name for path in history.FOLDER.iterdir())


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table, one of each kind."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    server: Postgres = request.getfixturevalue("postgres_server")
    return server.url(server.create())


def upgraded(url: str) -> Database:
    database = Database(url)
    database.upgrade()
    return database


def looking(url: str, look: Callable[[Connection], Any]) -> Any:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = look(connection)
    engine.dispose()
    return found


def revised(url: str) -> None:
    """Make the tables by the revisions alone."""
    engine = create_engine(url)
    with engine.begin() as connection:
        revise(connection)
    engine.dispose()


def version(connection: Connection) -> Any:
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


def described(connection: Connection) -> dict[str, Any]:
    """Say all that matters of every table, in no order."""
    seen = inspect(connection)
    return {name: _table(seen, name) for name in seen.get_table_names() if name != "alembic_version"}


def _table(seen: Inspector, name: str) -> dict[str, Any]:
    columns = {
        column["name"]: (repr(column["type"]), column["nullable"], column["default"])
        for column in seen.get_columns(name)
    }
    key = seen.get_pk_constraint(name)
    others = (seen.get_foreign_keys(name), seen.get_unique_constraints(name), seen.get_indexes(name))
    return {
        "columns": columns,
        "key": (key["name"], key["constrained_columns"]),
        "others": [sorted(repr(item) for item in some) for some in others],
    }


def test_the_revisions_are_one_line_and_end_where_the_code_says() -> None:
    script = ScriptDirectory(str(FOLDER))
    assert script.get_heads() == [HEAD]
    assert {revision.revision for revision in script.walk_revisions()} == KNOWN


def test_every_revision_left_a_registry_that_is_kept() -> None:
    kept = {name.partition(".")[0] for name in AGES}
    assert kept == KNOWN | {"unversioned"}
    assert {f"{revision}{kind}" for revision in KNOWN for kind in (history.SQLITE, history.POSTGRESQL)} <= {*AGES}


def test_models_and_revisions_say_the_same(empty_url: str) -> None:
    revised(empty_url)
    differences = looking(empty_url, lambda c: compare_metadata(MigrationContext.configure(c), Base.metadata))
    assert differences == []


def test_the_revisions_make_what_the_models_would(empty_url: str, tmp_path: Path, postgres_server: Postgres) -> None:
    upgraded(empty_url).close()
    folder = tmp_path / "revised"
    folder.mkdir()
    other = sqlite_url(folder) if "sqlite" in empty_url else postgres_server.url(postgres_server.create())
    revised(other)
    assert looking(empty_url, described) == looking(other, described)
    assert looking(empty_url, version) == looking(other, version) == HEAD


@pytest.mark.parametrize("age", AGES)
def test_a_registry_of_any_age_goes_on(age: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres_server") if age.endswith(history.POSTGRESQL) else None
    url = server.url(server.create()) if server else sqlite_url(tmp_path)
    history.load((history.FOLDER / age).read_text(encoding="utf-8"), url, server)
    before = looking(url, _counts)
    with rig(tmp_path, url) as made:
        assert looking(url, _counts).items() >= before.items(), "tables that came later are empty"
        assert set(made.hub.devices.counts()) == {"online", "offline", "unknown"}
        assert sum(made.hub.devices.counts().values()) == len(history.DEVICES)
        view = made.hub.configuration.view("lamp-1")
        assert (view.layer["label"], view.desired.version, view.state()) == ("路灯", 1, "applied")
        (command,) = made.hub.commands.page("lamp-1", None, None, "", 10)
        assert (command.name, command.args["on"]) == ("switch", True)
        made.hub.configuration.put("lamp-1", {"interval_s": 7}, "test")
        assert [change.version for change in made.hub.configuration.history("lamp-1", 2**62, 10)] == [2, 1, 1]
    assert looking(url, version) == HEAD


def _counts(connection: Connection) -> dict[str, int]:
    tables = {*inspect(connection).get_table_names()} & Base.metadata.tables.keys()
    return {
        name: connection.scalar(select(func.count()).select_from(Base.metadata.tables[name])) or 0 for name in tables
    }


def test_a_newer_registry_is_refused_in_one_line_and_left_alone(empty_url: str) -> None:
    database = upgraded(empty_url)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerRegistry, match=r"^the registry has revision 9999, [^\n]*newer version[^\n]*$"):
        database.upgrade()
    with database.read() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    database.close()


def test_hubs_that_start_together_make_the_tables_once(empty_url: str) -> None:
    made = [Database(empty_url) for _ in range(4)]
    failures: list[Exception] = []

    def start(database: Database) -> None:
        try:
            database.upgrade()
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=start, args=(database,)) for database in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for database in made:
        database.close()


def test_an_upgrade_that_breaks_leaves_nothing_half_done(empty_url: str) -> None:
    database = Database(empty_url)

    def breaks(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "ix_devices_profile" in statement:
            raise ZeroDivisionError

    event.listen(database._engine, "before_cursor_execute", breaks)
    with pytest.raises(ZeroDivisionError):
        database.upgrade()
    event.remove(database._engine, "before_cursor_execute", breaks)
    assert looking(empty_url, lambda c: inspect(c).get_table_names()) == []
    database.upgrade()
    assert Base.metadata.tables.keys() <= {*looking(empty_url, lambda c: inspect(c).get_table_names())}
    database.close()


def test_a_database_of_another_encoding_is_refused(postgres_server: Postgres) -> None:
    database = Database(postgres_server.url(postgres_server.create(encoding="LATIN1")))
    with pytest.raises(UnsuitableDatabase, match="LATIN1"):
        database.upgrade()
    database.close()


def test_a_file_that_is_no_registry_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "registry.sqlite").write_bytes(b"no database" * 1000)
    database = Database(sqlite_url(tmp_path))
    with pytest.raises(BadRegistry, match=r"^[^\n]*not a database[^\n]*$"):
        database.upgrade()
    database.close()


def test_a_first_start_and_the_usual_one_do_without_alembic(empty_url: str) -> None:
    script = f"""
import sys
from lamplighter_hub.registry.database import Database
Database({empty_url!r}).upgrade()
print("alembic" in sys.modules, "psycopg" in sys.modules)
"""
    for _start in range(2):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", str("postgresql" in empty_url)]
