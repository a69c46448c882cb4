"""InfluxQL: the questions to the store and its answers as rows. Flux was three times slower (docs/decisions/0045)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from lamplighter_hub.series.columns import QUALITIES as QUALITY
from lamplighter_hub.series.influx.client import Table
from lamplighter_hub.series.influx.lines import NS, QUALITIES, joined
from lamplighter_hub.series.store import StoredEvent
from lamplighter_protocols.readings import Reading, Value

EARLIEST_NS: Final = -(2**63) + 2
LATEST_NS: Final = 2**63 - 2
_ESCAPES: Final = (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", " "), ("\x00", "\ufffd"))
"""A NUL would end the statement; no name holds one."""
VALUES: Final = "value_f, value_b, value_s, stamp"
Row = list[Any]
"""A row of readings: time (ns), value_f, value_b, value_s, stamp, and the metric where several are asked for."""
Select = Callable[[int, int, int | None], list[Row]]
"""Rows from a start up to an end (ms) in order, at most so many."""


def literal(text: str) -> str:
    r"""Return a text as InfluxQL writes it.

    >>> print(literal("it's"), literal("a\\b"))
    'it\'s' 'a\\b'
    """
    for plain, written in _ESCAPES:
        text = text.replace(plain, written)
    return f"'{text}'"


def within(start: int, end: int) -> str:
    """Return the condition for times from `start` up to `end` (ms)."""
    first, last = (min(max(ms * NS, EARLIEST_NS), LATEST_NS) for ms in (start, end))
    return f"time >= {first} AND time < {last}"


def any_of(tag: str, values: Iterable[str]) -> str:
    """Return the condition that a tag has one of some values.

    >>> any_of("metric", ["a", "b"])
    "(metric = 'a' OR metric = 'b')"
    """
    return "(" + " OR ".join(f"{tag} = {literal(value)}" for value in values) + ")"


def one_series(device: str, metric: str) -> str:
    """Return the condition of one series."""
    return f"device = {literal(device)} AND metric = {literal(metric)}"


def rows(tables: Sequence[Table]) -> list[Row]:
    """Return the rows of a statement without groups."""
    return tables[0].rows if tables else []


def named(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return rows by the names of their columns."""
    return [dict(zip(table.columns, row, strict=True)) for table in tables for row in table.rows]


def select(what: str, measurement: str, *conditions: str, more: str = "") -> str:
    """Return a statement; every text of a person in its conditions went through `literal`.

    >>> select("stamp", "readings", "device = 'a'", "stamp < 16", more="LIMIT 1")
    "SELECT stamp FROM readings WHERE device = 'a' AND stamp < 16 LIMIT 1"
    """
    return " ".join(("SELECT", what, "FROM", measurement, "WHERE", " AND ".join(conditions), more)).rstrip()


def limited(limit: int | None) -> str:
    """Return the clause for at most so many rows."""
    return "" if limit is None else f"LIMIT {limit}"


def value(row: Row) -> Value | None:
    """Return what a row of readings holds; Go writes 5.0 as 5."""
    found: Value | None = row[1]
    if found is not None:
        return float(found)
    found = row[2]
    return row[3] if found is None else found


def reading(device: str, metric: str, row: Row) -> Reading:
    """Return the reading of a row."""
    return Reading(device, metric, row[0] // NS, value(row), QUALITY[row[4] % QUALITIES])


def event(row: dict[str, Any]) -> StoredEvent:
    """Return the event of a row."""
    return StoredEvent(row["device"], row["time"] // NS, row["name"], json.loads(joined("data", row)))


def whole(select: Select, start: int, end: int, limit: int) -> list[Row]:
    """Return at least `limit` rows, or all there are; the last millisecond is always complete."""
    found = select(start, end, limit)
    if len(found) < limit:
        return found
    edge = found[-1][0] // NS
    kept = [row for row in found if row[0] // NS != edge]
    return kept + select(edge, edge + 1, None)
