"""Readings out of a file into a store: what is there already is left out, so that a file may be given again.

A piece of a file is taken as a whole or not at all. It must not end between rows of one series and time: of those it
stores as many as the store lacks, so true duplicates of an export come back as often as they were there.
"""

from __future__ import annotations

import csv
import io
import math
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from lamplighter_hub.errors import invalid, invalid_fields
from lamplighter_hub.series.columns import storable
from lamplighter_hub.series.store import Commit, TimeSeries
from lamplighter_protocols.configuration import FieldError
from lamplighter_protocols.ids import NAME_PATTERN
from lamplighter_protocols.model import EARLIEST, LATEST
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import MAX_TEXT, Quality, Reading, Value

NEEDED: Final = ("device", "metric", "value")
PAGE: Final = 10_000
MOST_FAULTS: Final = 20
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
Series = tuple[str, str]


class Taken(NamedTuple):
    """How many readings of a piece were stored, and how many the store had already."""

    stored: int
    already_there: int


class Importer:
    """Stores pieces one at a time: two that bring the same must not both find that it is missing."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def take(self, series: TimeSeries, readings: Sequence[Reading]) -> Taken:
        """Store the readings that the store lacks, all or none. Raises SeriesError, Unstorable."""
        with self._turn:
            fresh = missing(series, readings)
            if fresh:
                series.commit(Commit(samples=columns(fresh)))
        return Taken(len(fresh), len(readings) - len(fresh))


def missing(series: TimeSeries, readings: Sequence[Reading]) -> list[Reading]:
    """Return what a store lacks, in order; of equal readings as many as it has fewer."""
    grouped: dict[Series, list[Reading]] = defaultdict(list)
    for reading in readings:
        grouped[reading.device, reading.metric].append(reading)
    newest = series.latest(sorted({device for device, _ in grouped}))
    held: Counter[tuple[object, ...]] = Counter()
    for (device, metric), group in grouped.items():
        last = newest.get(device, {}).get(metric)
        if last and (doubtful := [one.t for one in group if one.t <= last.t]):
            held.update(_held(series, (device, metric), min(doubtful), max(doubtful) + 1))
    return [reading for reading in readings if not _found(held, _key(reading))]


def columns(readings: Iterable[Reading]) -> list[Samples]:
    """Return readings as columns of one series each, in their order."""
    grouped: dict[Series, list[Reading]] = defaultdict(list)
    for reading in readings:
        grouped[reading.device, reading.metric].append(reading)
    return [
        Samples(*name, [one.t for one in group], [one.value for one in group], [one.quality for one in group])
        for name, group in grouped.items()
    ]


def read_rows(body: bytes, first_row: int, latest: int = LATEST) -> list[Reading]:
    """Return the readings of a CSV with a header; rows are counted from `first_row`, none may lie behind `latest` (ms).

    Raises Invalid that names row and column of what is wrong, and how it must be.
    """
    try:
        table = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        check_header(table.fieldnames or ())
        return _rows(table, first_row, latest)
    except UnicodeDecodeError as error:
        raise invalid("body", f"is not UTF-8 at byte {error.start}") from None
    except csv.Error as error:
        raise invalid("body", f"is no CSV: {error}") from None


def _rows(table: Iterable[Mapping[str | None, str | None]], first_row: int, latest: int) -> list[Reading]:
    readings: list[Reading] = []
    faults: list[FieldError] = []
    for number, row in enumerate(table, first_row):
        try:
            readings.append(_reading(row, latest))
        except _Fault as fault:
            faults.append(FieldError(field=f"row {number}, {fault.column}", detail=fault.detail))
            if len(faults) == MOST_FAULTS:
                break
    if faults:
        raise invalid_fields(faults)
    return readings


class _Fault(Exception):
    def __init__(self, column: str, detail: str) -> None:
        super().__init__(detail)
        self.column = column
        self.detail = detail


def check_header(names: Sequence[str]) -> None:
    """Raise Invalid when a table lacks a column that an import needs."""
    if lacking := [name for name in NEEDED if name not in names]:
        raise invalid("header", f"lacks {', '.join(lacking)}; an export has device,metric,time,t,value,quality,type")
    if "t" not in names and "time" not in names:
        raise invalid("header", "lacks t (milliseconds since 1970) or time (ISO 8601)")


def _reading(row: Mapping[str | None, str | None], latest: int) -> Reading:
    if None in row or None in row.values():
        raise _Fault("row", "has not as many cells as the header")
    cells = {str(name): str(cell) for name, cell in row.items()}
    quality = _quality(cells.get("quality") or Quality.GOOD)
    value = _value(cells["value"], cells.get("type", ""))
    if value is None and quality is Quality.GOOD:
        raise _Fault("value", "is empty, which needs a quality such as no_data")
    return Reading(cells["device"], _metric(cells["metric"]), _time(cells, latest), value, quality)


def _metric(text: str) -> str:
    if not re.fullmatch(NAME_PATTERN, text) or len(text) > 64:
        raise _Fault("metric", f"{text[:70]!r} is no name of a metric (a-z 0-9 _ .)")
    return text


def _time(cells: Mapping[str, str], latest: int) -> int:
    column = "t" if cells.get("t") else "time"
    try:
        t = int(cells["t"]) if column == "t" else _calendar(cells.get("time", ""))
    except ValueError:
        how = "milliseconds since 1970" if column == "t" else "ISO 8601 such as 2026-11-24T08:00:00Z"
        raise _Fault(column, f"{cells.get(column, '')[:40]!r} is no time: write {how}") from None
    if not EARLIEST <= t <= LATEST:
        raise _Fault(column, "lies outside of the years 1 to 9999")
    if t > latest:
        raise _Fault(column, "lies in the future by the hub's clock: it would hide what the device reports until then")
    return t


def _calendar(text: str) -> int:
    when = datetime.fromisoformat(text)
    past = (when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return round(past.total_seconds() * 1000)


def _quality(text: str) -> Quality:
    try:
        return Quality(text)
    except ValueError:
        raise _Fault("quality", f"{text[:40]!r} is none of {', '.join(Quality)}") from None


def _value(text: str, kind: str) -> Value | None:
    if kind not in _KINDS:
        raise _Fault("type", f"{kind[:40]!r} is none of number, truth, text")
    return _KINDS[kind](text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text) or not math.isfinite(number := float(text)):
        raise _Fault("value", f"{text[:40]!r} is no number; write 1.5, or give the row the type text")
    return number


def _truth(text: str) -> bool:
    if text not in {"true", "false"}:
        raise _Fault("value", f"{text[:40]!r} is no truth value; write true or false")
    return text == "true"


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise _Fault("value", f"has {len(text)} characters; at most {MAX_TEXT} are kept")
    return str(storable(text))


def _guessed(text: str) -> Value | None:
    """Return what a value without a type is: nothing, a truth value, a number, else a text."""
    if text in {"true", "false"}:
        return text == "true"
    if _NUMBER.fullmatch(text):
        return _number(text)
    return _text(text) if text else None


_KINDS: Final[Mapping[str, Callable[[str], Value | None]]] = {
    "number": _number,
    "truth": _truth,
    "text": _text,
    "": _guessed,
}


def _held(series: TimeSeries, name: Series, start: int, end: int) -> Iterable[tuple[object, ...]]:
    cursor: str | None = None
    while True:
        page, cursor = series.readings(name[0], [name[1]], start, end, limit=PAGE, cursor=cursor)
        yield from map(_key, page)
        if not cursor:
            return


def _key(reading: Reading) -> tuple[object, ...]:
    """Return what makes readings the same: True is not 1.0 here, and -0.0 not 0.0."""
    value = reading.value
    return (*reading[:3], type(value), repr(value), reading.quality)


def _found(held: Counter[tuple[object, ...]], key: tuple[object, ...]) -> bool:
    there = held[key] > 0
    held[key] -= there
    return there
