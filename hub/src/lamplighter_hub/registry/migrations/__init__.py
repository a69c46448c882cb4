"""Brings a registry's tables from any earlier version to the present one (docs/decisions/0056).

`versions/` holds one revision a file, run by Alembic. An empty database gets the present tables, a present
one is left as it is: both do without Alembic, whose modules would stay in the hub's memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from lamplighter_hub.registry.models import Base
from lamplighter_protocols.errors import LamplighterError

HEAD: Final = "0004"
"""The newest revision, that of `models.py`; a test keeps it so."""
FIRST: Final = "0001"
"""The revision of registries that were made before revisions were written down."""
KNOWN: Final = frozenset({"0001", "0002", "0003", "0004"})
VERSION_TABLE: Final = "alembic_version"
FOLDER: Final = Path(__file__).parent


class NewerRegistry(LamplighterError):
    """The registry was written by a later version of Lamplighter."""


class UnsuitableDatabase(LamplighterError):
    """The database cannot hold a registry; the text says why."""


def upgrade(engine: Engine) -> None:
    """Make the tables, or change older ones, all or nothing. Raises NewerRegistry or UnsuitableDatabase."""
    with engine.connect() as connection:
        found = _revision(connection)
    if found == HEAD:
        return
    with engine.begin() as connection:  # holds the write lock: of two hubs that start together one waits here
        _check(connection)
        if inspect(connection).get_table_names():
            revise(connection)
        else:
            _make(connection)


def revise(connection: Connection) -> None:
    """Run the revisions that the tables lack, all of them on an empty database. Raises NewerRegistry."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    if not _revision(connection) and "agents" in inspect(connection).get_table_names():
        command.stamp(config, FIRST)
    command.upgrade(config, "head")


def _make(connection: Connection) -> None:
    Base.metadata.create_all(connection)
    connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:head)"), {"head": HEAD})  # noqa: S608 - our own name


def _revision(connection: Connection) -> str:
    """Return what a registry says of itself; empty when it says nothing. Raises NewerRegistry."""
    if VERSION_TABLE not in inspect(connection).get_table_names():
        return ""
    found = str(connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")) or "")  # noqa: S608 - our own name
    if found and found not in KNOWN:
        raise NewerRegistry(
            f"the registry has revision {found}, this version of Lamplighter knows {HEAD} at most: "
            "start the newer version that wrote it, or restore a backup of before"
        )
    return found


def _check(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        return
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise UnsuitableDatabase(
            f"the registry's database has the encoding {encoding}: make one with CREATE DATABASE ... ENCODING 'UTF8'"
        )
