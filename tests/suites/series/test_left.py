"""The edges of a range where single points are gone: every store counts the finest roll-ups that are left of each day.

Which these are is computed here from a plain list: of roll-ups that the range cuts all points count, and are told.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pytest

from lamplighter_hub.series.ages import Ages, Policy
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Span, TimeSeries
from lamplighter_protocols.profile import Aggregation, Retention
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Quality
from suites.series.make import flat, put
from suites.series.stores import Open
from suites.series.test_expiry import Point, approximately, expected

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
FIRST = 1_735_689_600_000 // DAY * DAY
DAYS = 8
NOW = FIRST + DAYS * DAY
AGES = Ages(raw=2, minute=4, hour=6, day=100)
POLICY = Policy(dict.fromkeys(Retention, AGES), lambda *_: Retention.STANDARD, lambda *_: Retention.STANDARD)
EDGES = [(SECOND, DAYS * DAY), (MINUTE, 90 * MINUTE), (SECOND, 3 * MINUTE), (10 * MINUTE, 10 * HOUR), (1, 3 * DAY)]
"""Ranges that are asked for: how long the shortest and the longest of a kind are."""
STEPS = (1, 250, SECOND, 10 * SECOND, MINUTE, HOUR)


class Part(NamedTuple):
    """Points that count together, and whether the range cuts them."""

    points: list[Point]
    cut: bool


def made(seed: int) -> list[Point]:
    """Return points in bursts, so that a minute and an hour have some or none of them."""
    dice = random.Random(seed)
    starts = [FIRST + dice.randrange(DAYS * DAY) for _ in range(400)]
    starts += [FIRST + dice.randrange(DAYS * 24) * HOUR + dice.randrange(2) * MINUTE for _ in range(100)]
    times = [start + dice.randrange(5 * MINUTE) for start in starts for _ in range(dice.randint(1, 4))]
    return [
        (t, round(dice.uniform(0, 350), 2), Quality.SPIKE if dice.random() < 0.1 else Quality.GOOD)
        for t in sorted(set(times))
        if t < NOW
    ]


def width_left(t: int, coarsest: int, *, minutes: bool) -> int | None:
    """Return the width of the finest that is left of a time: 0 for single points, None where it is too coarse."""
    end = t // DAY * DAY + DAY
    for width, days in ((0, AGES.raw), (MINUTE, AGES.minute), (HOUR, AGES.hour), (DAY, AGES.day)):
        if days is not None and end > NOW - days * DAY and (width != MINUTE or minutes):
            return width if width <= coarsest else None
    raise AssertionError("days are kept longer than the test is long")


def parts(points: list[Point], start: int, end: int, coarsest: int, *, minutes: bool) -> Iterator[Part]:
    """Yield what counts for a range."""

    def unit(point: Point) -> tuple[int, int] | None:
        width = width_left(point[0], coarsest, minutes=minutes)
        return None if width is None else (width, point[0] // (width or 1))

    for key, group in groupby(points, unit):
        mine = list(group)
        if key is None or mine[-1][0] < start or mine[0][0] >= end:
            continue
        yield Part(mine, mine[0][0] < start or mine[-1][0] >= end)


def asked(seed: int) -> Iterator[tuple[int, int]]:
    """Yield ranges: around the borders of what is kept, at round times and others."""
    dice = random.Random(seed)
    for _ in range(40):
        least, most = dice.choice(EDGES)
        step = dice.choice(STEPS)
        start = FIRST + dice.randrange(DAYS * DAY) // step * step
        yield start, start + max(1, dice.randint(least, most) // step * step)
    yield BEGINNING, END_OF_TIME


def stored(store: TimeSeries, points: list[Point]) -> None:
    put(store, Samples("air-1", "pm25", *zip(*points, strict=True)))


@pytest.fixture
def points() -> list[Point]:
    return made(7)


@pytest.fixture
def store(open_store: Open, tmp_path: Path, points: list[Point]) -> Iterator[TimeSeries]:
    """What is left of eight days: days of all, hours of six, minutes of four, single points of two; some came late."""
    opened = open_store(tmp_path)
    late = points[::9]
    stored(opened, [point for place, point in enumerate(points) if place % 9])
    opened.expire(POLICY, NOW)
    stored(opened, late)
    opened.expire(POLICY, NOW)
    yield opened
    opened.close()


def test_a_span_counts_by_the_finest_that_is_left_of_each_part(store: TimeSeries, points: list[Point]) -> None:
    for start, end in asked(1):
        found = list(parts(points, start, end, DAY, minutes=True))
        times = [t for part in found for t, *_ in part.points]
        cut = sum(len(part.points) for part in found if part.cut)
        first = max(times[0], start) if times else None
        last = min(times[-1], end - 1) if times else None
        assert store.span("air-1", "pm25", start, end) == Span(len(times), first, last, cut), (start, end)


def test_buckets_at_the_edges_are_made_of_the_finest_that_is_left(store: TimeSeries, points: list[Point]) -> None:
    for width, coarsest in ((MINUTE, MINUTE), (10 * MINUTE, MINUTE), (HOUR, HOUR), (5 * HOUR, HOUR), (DAY, DAY)):
        for aggregation in (Aggregation.MEAN, Aggregation.ENERGY, Aggregation.LAST):
            minutes = aggregation is Aggregation.MEAN
            served = coarsest if minutes or coarsest > MINUTE else 0
            for start, end in asked(width):
                found = store.buckets("air-1", "pm25", start, end, width_ms=width, aggregation=aggregation)
                rows = [[one.t, one.count, one.min, one.max, one.mean, one.last, one.quality] for one in found]
                counting = flat(part.points for part in parts(points, start, end, served, minutes=minutes))
                assert rows == approximately(expected(counting, None, width, aggregation)), (width, start, end)
