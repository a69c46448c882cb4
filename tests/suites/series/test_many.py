"""What any store owes with 100,000 series: every value, type, duplicate, late and deleted point, all newest values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from lamplighter_hub.series.ages import Ages, Policy
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Bucket, Commit, Span, TimeSeries
from lamplighter_protocols.profile import Aggregation, Retention
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Quality, Reading, Value
from suites.series.make import flat
from suites.series.stores import Open

pytestmark = pytest.mark.timeout(300)

DAY: Final = 86_400_000
FIRST: Final = 1_735_689_600_000
"""2025-01-01: closed by every clock."""
NOW: Final = FIRST + 3 * DAY
DEVICES: Final = 500
METRICS: Final = ("door", *(f"m{number:03}" for number in range(198)), "state")
STEP: Final = 50
"""Each so many devices have more than a point a metric."""
SHORT: Final = "m007"
"""The metric of these whose points go after a day."""
POLICY: Final = Policy(
    {Retention.SHORT: Ages(raw=1)},
    lambda name, metric: Retention.SHORT if goes(name, metric) else Retention.LONG,
    lambda _, __: Retention.LONG,
)
Points = dict[tuple[str, str], list[tuple[int, Value]]]


def goes(name: str, metric: str) -> bool:
    return metric == SHORT and int(name[-4:]) % STEP == 0


def device(number: int) -> str:
    return f"air-{number:04}"


def value(number: int, metric: str, turn: int) -> Value:
    """Return what a metric says: 198 numbers, a truth value, a text."""
    if metric == "door":
        return (number + turn) % 2 == 0
    return f"state {number % 7}, {turn}" if metric == "state" else number / 8 + turn


def everyone() -> Points:
    """Return a first point of every series."""
    return {
        (device(number), metric): [(FIRST + number % 900, value(number, metric, 0))]
        for number in range(DEVICES)
        for metric in METRICS
    }


def some() -> Points:
    """Return what came later of each fiftieth device: the same again, another at that time, a late and a new one."""
    found: Points = {}
    for number in range(0, DEVICES, STEP):
        t = FIRST + number % 900
        for metric in METRICS:
            values = [value(number, metric, turn) for turn in (0, 1, 2, 3)]
            found[device(number), metric] = list(zip((t, t, t - 60_000, t + DAY), values, strict=True))
    return found


def commit(store: TimeSeries, points: Points) -> None:
    left = iter(points.items())
    while part := list(islice(left, 20_000)):
        store.commit(Commit([Samples(*name, *zip(*mine, strict=True)) for name, mine in part]))


def joined(first: Points, later: Points) -> Points:
    """Return all points by series, time and arrival."""
    return {name: sorted(mine + later.get(name, []), key=lambda point: point[0]) for name, mine in first.items()}


def test_a_hundred_thousand_series_are_kept_apart(open_store: Open, tmp_path: Path) -> None:
    first, later = everyone(), some()
    assert len(first) == 100_000
    wanted = joined(first, later)
    with closing(open_store(tmp_path)) as store:
        commit(store, first)
        commit(store, later)
        newest(store, wanted)
    with closing(open_store(tmp_path)) as store:
        newest(store, wanted)
        points(store, wanted)
        store.expire(POLICY, NOW)
        newest(store, wanted)
        kept = {name: [one for one in mine if not goes(*name)] for name, mine in wanted.items()}
        paged(store, kept)
        roll_ups_stay(store)
        counts = store.counts()
        assert (counts.series, counts.points) == (len(wanted), sum(map(len, wanted.values()))), "what it ever took"


def newest(store: TimeSeries, wanted: Mapping[tuple[str, str], Sequence[tuple[int, Value]]]) -> None:
    """Expect the newest reading of every series, of equal times the one that arrived last."""
    found = store.latest([device(number) for number in range(DEVICES)])
    expected = {name: Reading(*name, *mine[-1], Quality.GOOD) for name, mine in wanted.items()}
    assert {(one.device, one.metric): one for of in found.values() for one in of.values()} == expected


def points(store: TimeSeries, wanted: Points) -> None:
    """Expect every point of every series, by series, time and arrival."""
    expected = (Reading(*name, t, one, Quality.GOOD) for name, mine in wanted.items() for t, one in mine)
    for chunk in store.export_readings([], [], BEGINNING, END_OF_TIME):
        for found, one in zip(chunk, islice(expected, len(chunk)), strict=True):
            assert found == one
            assert type(found.value) is type(one.value)
    assert next(expected, None) is None
    paged(store, wanted)


def paged(store: TimeSeries, wanted: Points) -> None:
    """Expect every point of some devices, by time and metric."""
    for number in (0, STEP, DEVICES - 1):
        names = [(device(number), metric) for metric in METRICS]
        mine = [Reading(*name, *one, Quality.GOOD) for name in names for one in wanted[name]]
        assert flat(pages(store, number)) == sorted(mine, key=lambda one: (one.t, one.metric))


def pages(store: TimeSeries, number: int) -> Iterator[list[Reading]]:
    cursor: str | None = None
    while True:
        page, cursor = store.readings(device(number), [], BEGINNING, END_OF_TIME, limit=150, cursor=cursor)
        yield page
        if cursor is None:
            return


def roll_ups_stay(store: TimeSeries) -> None:
    """Expect days of what was deleted: device 50 had five points, one of them again."""
    t = FIRST + 50
    assert store.span(device(50), SHORT, BEGINNING, END_OF_TIME) == Span(5, t - 60_000, t + DAY)
    found = store.buckets(device(50), SHORT, FIRST - DAY, NOW, width_ms=DAY, aggregation=Aggregation.MEAN)
    assert found == [
        Bucket(FIRST - DAY, 1, 8.25, 8.25, 8.25, 8.25, 0),
        Bucket(FIRST, 3, 6.25, 7.25, 19.75 / 3, 7.25, 0),
        Bucket(FIRST + DAY, 1, 9.25, 9.25, 9.25, 9.25, 0),
    ]
