"""Samples of many series as the columns of one bulk append."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamplighter_hub.series.store import Quarantined, Unstorable
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Quality, Value

CODES: Final = {
    Quality.GOOD: 0,
    Quality.SENSOR_FAULT: 1,
    Quality.NO_DATA: 2,
    Quality.WARMING_UP: 3,
    Quality.OVERFLOW: 4,
    Quality.OUT_OF_RANGE: 5,
    Quality.SUSPECT: 6,
    Quality.STALE: 7,
    Quality.RATE_OF_CHANGE: 8,
    Quality.STUCK: 9,
    Quality.SPIKE: 10,
    Quality.GAP: 11,
    Quality.CROSS_FIELD: 12,
}
"""Quality as it is stored: a number never changes its meaning."""
QUALITIES: Final = {code: quality for quality, code in CODES.items()}
_NUMBERS: Final = frozenset({float, int, np.float64})


class Points(NamedTuple):
    """Equally long columns, in order of arrival.

    `number` is NaN where the value is none; `truth` and `text` hold None there, and are absent when nobody needs them.
    """

    series: NDArray[np.int32]
    t: NDArray[np.int64]
    number: NDArray[np.float64]
    truth: NDArray[np.object_] | None
    text: NDArray[np.object_] | None
    quality: NDArray[np.uint8]

    def relation(self) -> dict[str, NDArray[Any]]:
        """Return the columns that are there, by name."""
        return {name: column for name, column in zip(self._fields, self, strict=True) if column is not None}

    def where(self, mask: NDArray[np.bool_]) -> Points:
        """Return the points that a mask selects."""
        return Points(
            self.series[mask],
            self.t[mask],
            self.number[mask],
            None if self.truth is None else self.truth[mask],
            None if self.text is None else self.text[mask],
            self.quality[mask],
        )


def pack(samples: Sequence[Samples], numbers_of: Callable[[Sequence[tuple[str, str]]], list[int]]) -> Points:
    """Return the points of samples; `numbers_of` gives the numbers of series named (device, metric).

    A number that is not finite becomes no value with the quality sensor_fault. Raises Unstorable.
    """
    try:
        points = _columns(samples, numbers_of)
    except (OverflowError, TypeError, ValueError) as error:
        raise Unstorable(f"samples that are no samples: {error}") from None
    there = (points.quality != 0) | ~np.isnan(points.number)
    for column in (points.truth, points.text):
        if column is not None:
            there |= column != np.array(None)
    return points if there.all() else points.where(there)


def _columns(samples: Sequence[Samples], numbers_of: Callable[[Sequence[tuple[str, str]]], list[int]]) -> Points:
    devices, metrics, times, found, flags = zip(*samples, strict=True) if samples else ((),) * 5
    sizes = list(map(len, times))
    if sizes != list(map(len, found)):
        raise ValueError("a column has not as many values as times")
    values: list[Value | None] = list(chain.from_iterable(found))
    t = np.fromiter(chain.from_iterable(times), np.int64, len(values))
    quality = _qualities(flags, sizes)
    number, truth, text, claimed = _typed(values)
    lost = claimed & ~np.isfinite(number)
    if lost.any():
        number[lost] = np.nan
        quality[lost & (quality == 0)] = CODES[Quality.SENSOR_FAULT]
    numbers = np.array(numbers_of(list(zip(devices, metrics, strict=True))), dtype=np.int32)
    return Points(np.repeat(numbers, sizes), t, number, truth, text, quality)


class _Typed(NamedTuple):
    """Values apart by type; `claimed` says which ones are numbers, finite or not."""

    number: NDArray[np.float64]
    truth: NDArray[np.object_] | None
    text: NDArray[np.object_] | None
    claimed: NDArray[np.bool_]


def _typed(values: list[Value | None]) -> _Typed:
    kinds = set(map(type, values))
    if kinds <= _NUMBERS:
        return _Typed(np.array(values, dtype=np.float64), None, None, np.ones(len(values), dtype=np.bool_))
    claimed = np.array([type(value) in _NUMBERS for value in values], dtype=np.bool_)
    number = np.array([value if type(value) in _NUMBERS else np.nan for value in values], dtype=np.float64)
    return _Typed(number, _objects(values, bool, kinds), _objects(values, str, kinds), claimed)


def _objects(values: list[Value | None], kind: type, kinds: set[type]) -> NDArray[np.object_] | None:
    if kind not in kinds:
        return None
    column = np.empty(len(values), dtype=np.object_)
    column[:] = [storable(value) if type(value) is kind else None for value in values]
    return column


def storable(value: Any) -> Any:
    """Return a text that UTF-8 can hold: half of a surrogate pair becomes U+FFFD. Other values stay."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _qualities(flags: Sequence[Sequence[Quality | None] | None], sizes: list[int]) -> NDArray[np.uint8]:
    quality = np.zeros(sum(sizes), dtype=np.uint8)
    if flags.count(None) == len(flags):
        return quality
    place = 0
    for column, size in zip(flags, sizes, strict=True):
        if column is not None:
            if len(column) != size:
                raise ValueError("a column has not as many qualities as times")
            quality[place : place + size] = [0 if flag is None else CODES[flag] for flag in column]
        place += size
    return quality


def relation(items: Sequence[Sequence[Any]], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return rows as named columns; none at all when there are no rows."""
    return {name: array(column) for name, column in zip(names, zip(*items, strict=True), strict=bool(items))}


def array(values: Sequence[Any]) -> NDArray[Any]:
    """Return values as DuckDB takes them fast: integers as int64, texts and bytes as objects."""
    if not len(values) or isinstance(values[0], int):
        return np.array(values, dtype=np.int64)
    column = np.empty(len(values), dtype=np.object_)
    column[:] = [storable(value) for value in values]
    return column


def as_json(data: Mapping[str, Any]) -> str:
    """Return an event's payload as text; floats are written so that they read back the same."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def size_of(entry: Quarantined) -> int:
    """Return about how many bytes an entry of quarantine takes."""
    return len(entry.payload) + len(entry.detail) + 200
