"""The newest point of each series, in memory, so that an overview of a city reads no history.

What was committed since the start is always here; what lies before is merged in once, when a series is first asked
for. So a late value never replaces a newer one, whoever comes first. 40 bytes a series, and its text if it has one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lamplighter_hub.series.columns import QUALITIES, Points
from lamplighter_protocols.readings import Quality, Reading, Value

_NEVER: Final = int(np.iinfo(np.int64).min)
Row = tuple[int, float | None, bool | None, str | None, int]
"""t, number, truth, text, quality: a point as it is stored."""
Point = tuple[int, Value | None, Quality]


class Newest:
    """Newest points by series number. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._t: NDArray[np.int64] = np.full(0, _NEVER, dtype=np.int64)
        self._number: NDArray[np.float64] = np.zeros(0)
        self._quality: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)
        self._complete: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._other: dict[int, bool | str] = {}

    def began(self, numbers: Iterable[int]) -> None:
        """Note series that are new: nothing lies before their first commit."""
        with self._lock:
            for number in numbers:
                self._reach(number)
                self._complete[number] = True

    def take(self, points: Points) -> None:
        """Take up points that are committed; of equal times the later one wins."""
        if not len(points.t):
            return
        with self._lock:
            self._reach(int(points.series.max()))
            order = np.argsort(points.t, kind="stable")
            order = order[points.t[order] >= self._t[points.series[order]]]
            # With an index that repeats, the last assignment stays: the newest point.
            self._place(points.series[order], points, order)

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Return the series whose history has not been looked at."""
        asked = np.asarray(numbers, dtype=np.int64)
        with self._lock:
            self._reach(int(asked.max(initial=0)))
            found: list[int] = asked[~self._complete[asked]].tolist()
        return found

    def merge(self, numbers: Iterable[int], rows: Iterable[tuple[Any, ...]]) -> None:
        """Take up what the history holds of series: rows of number, t, number, truth, text, quality."""
        with self._lock:
            for series, t, value, truth, text, quality in rows:
                self._reach(series)
                if t > self._t[series]:
                    self._set(series, (t, value, truth, text, quality))
            for number in numbers:
                self._reach(number)
                self._complete[number] = True

    def points(self, numbers: Sequence[int]) -> list[Point | None]:
        """Return time (ms), value and quality of the newest point of each series, None for one without points."""
        asked = np.asarray(numbers, dtype=np.int64)
        with self._lock:
            self._reach(int(asked.max(initial=0)))
            columns = (self._t[asked].tolist(), self._number[asked].tolist(), self._quality[asked].tolist())
            others = [self._other.get(number) for number in numbers] if self._other else [None] * len(asked)
        return [
            None if t == _NEVER else (t, _value(other, number), QUALITIES[quality])
            for t, number, quality, other in zip(*columns, others, strict=True)
        ]

    def _place(self, series: NDArray[np.int32], points: Points, order: NDArray[np.intp]) -> None:
        self._t[series] = points.t[order]
        self._number[series] = points.number[order]
        self._quality[series] = points.quality[order]
        if self._other or points.truth is not None or points.text is not None:
            self._place_others(series, points, order)

    def _place_others(self, series: NDArray[np.int32], points: Points, order: NDArray[np.intp]) -> None:
        last = {number: place for number, place in zip(series.tolist(), order.tolist(), strict=True)}  # noqa: C416
        for number, place in last.items():
            values = [column[place] for column in (points.truth, points.text) if column is not None]
            self._keep(number, next((value for value in values if value is not None), None))

    def _set(self, series: int, row: Row) -> None:
        self._t[series], number, truth, text, self._quality[series] = row
        self._number[series] = np.nan if number is None else number
        self._keep(series, text if truth is None else truth)

    def _keep(self, series: int, value: bool | str | None) -> None:  # noqa: FBT001
        if value is None:
            self._other.pop(series, None)
        else:
            self._other[series] = value

    def _reach(self, number: int) -> None:
        size = len(self._t)
        if number < size:
            return
        more = max(1024, number + 1 - size, size)
        self._t = np.concatenate([self._t, np.full(more, _NEVER, dtype=np.int64)])
        self._number = np.concatenate([self._number, np.full(more, np.nan)])
        self._quality = np.concatenate([self._quality, np.zeros(more, dtype=np.uint8)])
        self._complete = np.concatenate([self._complete, np.zeros(more, dtype=np.bool_)])


def newest_readings(
    series: Sequence[tuple[str, str, int]], points: Sequence[Point | None]
) -> dict[str, dict[str, Reading]]:
    """Return the points of series (device, metric, number) as readings by device and metric."""
    found: dict[str, dict[str, Reading]] = {}
    for (device, metric, _), point in zip(series, points, strict=True):
        if point:
            found.setdefault(device, {})[metric] = Reading(device, metric, *point)
    return found


def _value(other: bool | str | None, number: float) -> Value | None:  # noqa: FBT001
    """Return what a point holds; a number that is none (NaN) stands for no number."""
    return other if other is not None or number != number else number  # noqa: PLR0124 (so fast for 100,000 of them)
