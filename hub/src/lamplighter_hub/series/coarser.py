"""What is left of a range of which single readings are not kept any more: its days, hours or minutes."""

from __future__ import annotations

from typing import Final, NamedTuple

from lamplighter_hub.series.store import Bucket, TimeSeries
from lamplighter_hub.series.times import DAY, HOUR, MINUTE
from lamplighter_protocols.profile import Aggregation

LEVELS: Final = (DAY, HOUR, MINUTE)
MOST: Final = 50_000
"""Buckets that a range is looked at in; a longer one is answered with what it holds at the width asked for."""


class Wanted(NamedTuple):
    """A metric of a device from `start` up to and without `end` (ms)."""

    device: str
    metric: str
    start: int
    end: int
    aggregation: Aggregation

    def whole(self, level: int) -> tuple[int, int]:
        """Return the range widened to whole buckets."""
        return self.start // level * level, -(-self.end // level) * level


class Left(NamedTuple):
    """Buckets of a width (ms)."""

    width: int
    buckets: list[Bucket]


def coarser(series: TimeSeries, wanted: Wanted, width: int, first: int | None) -> Left | None:
    """Return wider buckets where they reach further back than `first`, the first value (ms) at a width (ms, 0: none).

    None where the range is whole at that width: nobody ever said more. Raises SeriesError.
    """
    level = begin = 0
    for wider in LEVELS:
        if wider <= width or (wanted.end - wanted.start) // wider > MOST:
            continue
        earliest = _earliest(series, wanted, wider, first)
        if earliest is None or (level and earliest // level * level > begin):
            continue
        level, begin = wider, earliest
    if not level or _is_kept(series, wanted, begin, begin + level):
        return None
    low, high = wanted.whole(level)
    return Left(level, _buckets(series, wanted, low, high, level))


def _earliest(series: TimeSeries, wanted: Wanted, level: int, first: int | None) -> int | None:
    """Return the first bucket before the one in which `first` lies."""
    low, high = wanted.whole(level)
    found = _buckets(series, wanted, low, high if first is None else first // level * level, level)
    return found[0].t if found else None


def _is_kept(series: TimeSeries, wanted: Wanted, begin: int, end: int) -> bool:
    """Whether there are single readings: then what the bucket holds is only not in the range."""
    return bool(series.readings(wanted.device, [wanted.metric], begin, end, limit=1)[0])


def _buckets(series: TimeSeries, wanted: Wanted, low: int, high: int, level: int) -> list[Bucket]:
    if low >= high:
        return []
    return series.buckets(wanted.device, wanted.metric, low, high, width_ms=level, aggregation=wanted.aggregation)
