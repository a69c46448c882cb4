"""A chart of a time of which only roll-ups are left: every store answers with the finest that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamplighter_hub.series.ages import Ages, Policy
from lamplighter_hub.series.coarser import Wanted, coarser
from lamplighter_hub.series.store import TimeSeries
from lamplighter_protocols.profile import Aggregation, Retention
from suites.series.make import column, put
from suites.series.stores import Open

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
FIRST = 1_735_689_600_000 // DAY * DAY
NOW = FIRST + 10 * DAY
AGES = {kind: Ages(raw=2, minute=4, hour=6, day=100) for kind in Retention}
POLICY = Policy(AGES, lambda *_: Retention.STANDARD, lambda *_: Retention.STANDARD)
EVERY = 20_000


@pytest.fixture
def store(open_store: Open, tmp_path: Path) -> TimeSeries:
    """Nine days, a reading each 20 s in an hour's first quarter; raw of two days, minutes of four, hours of six."""
    made = open_store(tmp_path)
    hours = range(FIRST, FIRST + 9 * DAY, HOUR)
    put(made, column("air-1", "pm25", [(hour + t, 1.0) for hour in hours for t in range(0, 15 * MINUTE, EVERY)]))
    made.expire(POLICY, NOW)
    return made


def asked(start: int, end: int) -> Wanted:
    return Wanted("air-1", "pm25", start, end, Aggregation.MEAN)


def first(store: TimeSeries, start: int, end: int) -> int | None:
    found, _ = store.readings("air-1", ["pm25"], start, end, limit=1)
    return found[0].t if found else None


@pytest.mark.parametrize(
    ("days_ago", "width"),
    [(1.5, None), (3.5, MINUTE), (5.5, HOUR), (8.5, DAY)],
    ids=["raw", "minutes", "hours", "days"],
)
def test_a_short_range_is_answered_by_the_finest_that_is_left(
    store: TimeSeries, days_ago: float, width: int | None
) -> None:
    start = NOW - int(days_ago * DAY)
    end = start + 10 * MINUTE
    found = coarser(store, asked(start, end), 0, first(store, start, end))
    if width is None:
        assert found is None
    else:
        assert found is not None
        assert found.width == width
        assert sum(bucket.count for bucket in found.buckets) == {MINUTE: 30, HOUR: 45, DAY: 24 * 45}[width]
    store.close()


def test_a_range_that_begins_before_what_is_kept_is_answered_whole(store: TimeSeries) -> None:
    start, end = NOW - 5 * DAY, NOW
    found = coarser(store, asked(start, end), 0, first(store, start, end))
    assert found is not None
    assert (found.width, found.buckets[0].t) == (HOUR, start)
    assert sum(bucket.count for bucket in found.buckets) == 4 * 24 * 45
    assert coarser(store, asked(start, end), HOUR, start) is None, "an hour is as good as what is left"
    store.close()


def test_where_nothing_ever_was_nothing_is_left(store: TimeSeries) -> None:
    quiet = NOW - DAY - 12 * HOUR + 20 * MINUTE
    assert coarser(store, asked(quiet, quiet + 10 * MINUTE), 0, None) is None, "the hour's readings are kept"
    assert coarser(store, asked(FIRST - 5 * DAY, FIRST), 0, None) is None
    assert coarser(store, asked(0, NOW), 0, NOW - 2 * DAY) is not None
    assert coarser(store, asked(0, 2**50), 0, NOW - 2 * DAY) is None, "too long to be looked at by the day"
    store.close()
