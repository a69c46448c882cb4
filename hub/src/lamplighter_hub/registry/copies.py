"""A registry copied into another one, whatever database each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Table, func, insert, select, text

from lamplighter_hub.registry.database import Database
from lamplighter_hub.registry.models import Base

ROWS: Final = 1_000


def copy(source: Database, target: Database) -> dict[str, int]:
    """Copy every row as of one moment, not before the call; all or nothing. Returns the number of rows by table."""
    with source.read() as reading, target.write() as writing:
        return {
            table.name: _copy(table, reading.connection(), writing.connection())
            for table in Base.metadata.sorted_tables
        }


def count(database: Database) -> dict[str, int]:
    """Return the number of rows by table."""
    with database.read() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
        }


def _copy(table: Table, source: Connection, target: Connection) -> int:
    found = source.execution_options(yield_per=ROWS).execute(select(table).order_by(*table.primary_key)).mappings()
    copied = sum(_put(table, rows, target) for rows in found.partitions(ROWS))
    if copied and target.dialect.name == "postgresql":
        _count_on(table, target)
    return copied


def _put(table: Table, rows: Sequence[RowMapping], target: Connection) -> int:
    values: list[dict[str, Any]] = [dict(row) for row in rows]
    target.execute(insert(table), values)
    return len(values)


def _count_on(table: Table, target: Connection) -> None:
    """Let the key that PostgreSQL counts up go on after the copied ones."""
    for column in table.primary_key:
        if table.autoincrement_column is column:
            next_key = f"pg_get_serial_sequence('{table.name}', '{column.name}')"
            target.execute(text(f"SELECT setval({next_key}, max({column.name})) FROM {table.name}"))  # noqa: S608
