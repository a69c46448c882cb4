"""CSV of any length, row by row out of the store: nothing is held, nothing is cut off.

Numbers are written so that they read back exactly, times as ISO 8601 in UTC and as milliseconds since the epoch.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from lamplighter_hub.series.store import StoredEvent
from lamplighter_protocols.readings import Reading, Value

READING_COLUMNS: Final = ("device", "metric", "time", "t", "value", "quality", "type")
EVENT_COLUMNS: Final = ("device", "time", "t", "name", "data")


def readings_csv(chunks: Iterable[Sequence[Reading]]) -> Iterator[bytes]:
    """Yield the CSV of readings: a header, and a line for each; `type` tells the text `true` from the truth value."""
    yield _lines([READING_COLUMNS])
    for chunk in chunks:
        times = iso_times([item.t for item in chunk])
        yield _lines(
            (*item[:2], time, item.t, as_text(item.value), item.quality.value, type_of(item.value))
            for item, time in zip(chunk, times, strict=True)
        )


def events_csv(chunks: Iterable[Sequence[StoredEvent]]) -> Iterator[bytes]:
    """Yield the CSV of events: a header, and a line for each; `data` is JSON."""
    yield _lines([EVENT_COLUMNS])
    for chunk in chunks:
        times = iso_times([item.t for item in chunk])
        yield _lines(
            (item.device, time, item.t, item.name, json.dumps(item.data, ensure_ascii=False))
            for item, time in zip(chunk, times, strict=True)
        )


def iso_times(times: Sequence[int]) -> list[str]:
    """Return milliseconds since the epoch as ISO 8601 in UTC.

    >>> iso_times([1795476600005])
    ['2026-11-23T23:30:00.005Z']
    """
    found: list[str] = np.datetime_as_string(np.array(times, dtype="datetime64[ms]"), timezone="UTC").tolist()
    return found


def as_text(value: Value | None) -> str:
    """Return a value as it stands in a file; nothing for no value.

    >>> as_text(0.1), as_text(True), as_text("on"), as_text(None)
    ('0.1', 'true', 'on', '')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def type_of(value: Value | None) -> str:
    """Return number, truth or text; nothing for no value."""
    if value is None:
        return ""
    return "truth" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Return the same chunks with the first two made already, so that a store that fails does so before the answer."""
    ahead = [chunk for _, chunk in zip(range(2), chunks, strict=False)]
    return chain(ahead, chunks)


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as lines. A carriage return ends a line too, unless it is quoted, which `csv` forgets at times."""
    text = io.StringIO()
    given = list(rows)
    returns = any(isinstance(cell, str) and "\r" in cell for row in given for cell in row)
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL).writerows(given)
    return text.getvalue().encode()
