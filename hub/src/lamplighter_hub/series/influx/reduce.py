"""Buckets of one series from its rows, a chunk at a time, so that memory does not grow with the range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lamplighter_hub.series.influx.asking import Row, value
from lamplighter_hub.series.influx.lines import NS, QUALITIES
from lamplighter_hub.series.influx.rolled import Rolled
from lamplighter_hub.series.store import BEGINNING, Bucket
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.readings import Value

_NOWHERE: Final = 1e-9
"""Directions whose mean vector is shorter than this have no mean."""


@dataclass(slots=True)
class _Sum:
    """What is known of one bucket so far. `x` are its good numbers, truth values as 0 and 1."""

    count: int = 0
    flagged: int = 0
    numbers: int = 0
    low: float = math.inf
    high: float = -math.inf
    first_sum: float = 0.0
    second_sum: float = 0.0
    last_x: float | None = None
    last: Value | None = None
    last_x_t: int = BEGINNING
    last_t: int = BEGINNING


class Reducer:
    """Takes roll-ups, and then rows in order of time and arrival; gives buckets of `width_ms`."""

    def __init__(self, width_ms: int, aggregation: Aggregation) -> None:
        self._width = width_ms
        self._aggregation = aggregation
        self._sums: dict[int, _Sum] = {}

    def take(self, rows: Sequence[Row]) -> None:
        """Take up a chunk."""
        if not rows:
            return
        t = np.array([row[0] for row in rows], dtype=np.int64) // NS
        good = np.array([row[4] for row in rows], dtype=np.int64) % QUALITIES == 0
        x = np.array([_number(row) for row in rows])
        bucket = t // self._width * self._width
        starts = np.flatnonzero(np.concatenate(([True], bucket[1:] != bucket[:-1])))
        for first, last in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
            self._add(int(bucket[first]), rows[first:last], good[first:last], x[first:last])

    def take_rolled(self, found: Iterable[Rolled]) -> None:
        """Take up what points come to that are no longer there."""
        for rolled in found:
            sums = self._sums.setdefault(rolled.t // self._width * self._width, _Sum())
            sums.count += rolled.good
            sums.flagged += rolled.flagged
            sums.numbers += rolled.n
            if rolled.good_t is not None and rolled.good_t >= sums.last_t:
                sums.last, sums.last_t = rolled.last, rolled.good_t
            if rolled.x_t is None or rolled.low is None or rolled.high is None:
                continue
            sums.low, sums.high = min(sums.low, rolled.low), max(sums.high, rolled.high)
            if rolled.x_t >= sums.last_x_t:
                sums.last_x, sums.last_x_t = rolled.x, rolled.x_t
            first, second = _rolled_sums(rolled, self._aggregation)
            sums.first_sum += first
            sums.second_sum += second

    def buckets(self) -> list[Bucket]:
        """Return the buckets of all that was taken."""
        return [self._bucket(t, found) for t, found in sorted(self._sums.items())]

    def _add(self, t: int, rows: Sequence[Row], good: NDArray[np.bool_], x: NDArray[np.float64]) -> None:
        sums = self._sums.setdefault(t, _Sum())
        places = np.flatnonzero(good)
        sums.count += len(places)
        sums.flagged += len(rows) - len(places)
        if len(places) and (last := rows[places[-1]])[0] // NS >= sums.last_t:
            sums.last, sums.last_t = value(last), last[0] // NS
        numbers = np.flatnonzero(good & ~np.isnan(x))
        x = x[numbers]
        if not len(x):
            return
        sums.numbers += len(x)
        sums.low, sums.high = min(sums.low, float(x.min())), max(sums.high, float(x.max()))
        if (t_x := rows[numbers[-1]][0] // NS) >= sums.last_x_t:
            sums.last_x, sums.last_x_t = float(x[-1]), t_x
        first, second = _sums(x, self._aggregation)
        sums.first_sum += first
        sums.second_sum += second

    def _bucket(self, t: int, sums: _Sum) -> Bucket:
        if not sums.numbers:
            return Bucket(t, sums.count, None, None, None, sums.last, sums.flagged)
        mean = _mean(sums, self._aggregation)
        finite = mean if mean is not None and math.isfinite(mean) else None
        return Bucket(t, sums.count, sums.low, sums.high, finite, sums.last, sums.flagged)


def _number(row: Row) -> float:
    if row[1] is not None:
        return float(row[1])
    return math.nan if row[2] is None else float(row[2])


def _sums(x: NDArray[np.float64], aggregation: Aggregation) -> tuple[float, float]:
    """Return what is added up over a bucket: the numbers, their energies, or both parts of their vectors."""
    with np.errstate(over="ignore"):
        if aggregation is Aggregation.ENERGY:
            # Clamped, so that 10^(x/10) stays a finite double whatever a device says.
            return float(np.power(10.0, np.clip(x, -3000, 3000) / 10).sum()), 0.0
        if aggregation is Aggregation.CIRCULAR:
            angles = np.radians(x)
            return float(np.sin(angles).sum()), float(np.cos(angles).sum())
        return float(x.sum()), 0.0


def _rolled_sums(rolled: Rolled, aggregation: Aggregation) -> tuple[float, float]:
    match aggregation:
        case Aggregation.ENERGY:
            return rolled.energy or 0.0, 0.0
        case Aggregation.CIRCULAR:
            return rolled.sine or 0.0, rolled.cosine or 0.0
        case _:
            # One that no double holds has no field.
            return math.nan if rolled.total is None else rolled.total, 0.0


def _mean(sums: _Sum, aggregation: Aggregation) -> float | None:
    match aggregation:
        case Aggregation.LAST:
            return sums.last_x
        case Aggregation.SUM:
            return sums.first_sum
        case Aggregation.ENERGY:
            energy = sums.first_sum / sums.numbers
            return 10 * math.log10(energy) if energy > 0 else None
        case Aggregation.CIRCULAR:
            sine, cosine = sums.first_sum / sums.numbers, sums.second_sum / sums.numbers
            # Twice, because the remainder of a tiny negative angle is 360 itself.
            return math.degrees(math.atan2(sine, cosine)) % 360 % 360 if math.hypot(sine, cosine) > _NOWHERE else None
        case _:
            return sums.first_sum / sums.numbers
