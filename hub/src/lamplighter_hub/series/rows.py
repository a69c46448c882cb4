"""Stored rows as the values of the seam, and places in a list as cursors."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from lamplighter_hub.series.columns import QUALITIES
from lamplighter_hub.series.store import BadCursor, Bucket, Held, Release, StoredEvent
from lamplighter_protocols.readings import Reading

_MOST: Final = 2**62


class Place(NamedTuple):
    """Where a page of readings ended: `skip` readings of `metric` at `t` (ms) are given."""

    t: int
    skip: int
    metric: str


def reading(device: str, metric: str, row: Sequence[Any]) -> Reading:
    """Return the reading of a stored row: t, number, truth, text, quality."""
    t, number, truth, text, quality = row
    value = number if number is not None else truth if truth is not None else text
    return Reading(device, metric, t, value, QUALITIES[quality])


def bucket(row: Sequence[Any]) -> Bucket:
    """Return the bucket of a row of `queries.buckets`. A mean that is beyond a double's range is left out."""
    t, count, low, high, mean, last, flagged = row
    if mean is not None and not math.isfinite(mean):
        mean = None
    newest = None if last is None else next((value for value in last.values() if value is not None), None)
    return Bucket(t, count, low, high, mean, newest, flagged)


def event(device: str, row: Sequence[Any]) -> StoredEvent:
    """Return the event of a row: t, name, data."""
    t, name, data = row
    return StoredEvent(device, t, name, json.loads(data))


def as_text(part: Held | Release | None) -> str:
    """Return a part of an entry of quarantine as one text; `held` and `release` read it."""
    return "" if part is None else json.dumps(part, separators=(",", ":"))


def held(text: str) -> Held | None:
    """Return what `as_text` wrote."""
    return Held(*json.loads(text)) if text else None


def release(text: str) -> Release | None:
    """Return what `as_text` wrote."""
    return Release(*json.loads(text)) if text else None


def place_after(found: Sequence[Reading], before: Place | None) -> Place:
    """Return the place behind the last of some readings, which follow the place `before`."""
    last = found[-1]
    same = 0
    for item in reversed(found):
        if (item.t, item.metric) != (last.t, last.metric):
            break
        same += 1
    if before and same == len(found) and (before.t, before.metric) == (last.t, last.metric):
        same += before.skip
    return Place(last.t, same, last.metric)


def write_cursor(*parts: int | str) -> str:
    """Return the cursor of a place.

    >>> write_cursor(1795476600000, 1, "pm25.raw")
    '1795476600000~1~pm25.raw'
    """
    return "~".join(map(str, parts))


def read_place(cursor: str) -> Place:
    """Return the place of a cursor of readings. Raises BadCursor."""
    t, _, rest = cursor.partition("~")
    skip, _, metric = rest.partition("~")
    if not metric:
        raise BadCursor("the cursor is not one of readings")
    numbers = read_numbers(f"{t}~{skip}", 2)
    return Place(numbers[0], numbers[1], metric)


def read_numbers(cursor: str, parts: int) -> list[int]:
    """Return the numbers of a cursor. Raises BadCursor."""
    try:
        numbers = [int(part) for part in cursor.split("~")]
    except ValueError:
        raise BadCursor("the cursor holds something else than numbers") from None
    if len(numbers) != parts or any(abs(number) > _MOST for number in numbers):
        raise BadCursor("the cursor belongs to another list")
    return numbers
