"""What is left after its days, by class: every store gives the same answers, computed here from a plain list."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from lamplighter_hub.series.ages import Ages, Policy
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Bucket, Commit, Span, StoredEvent, TimeSeries
from lamplighter_protocols.profile import Aggregation, Retention
from lamplighter_protocols.readings import Quality
from suites.series.make import column, everything, flat, put
from suites.series.stores import Open

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
FIRST = 1_735_689_600_000 // DAY * DAY
"""2025-01-01: closed by every clock."""
NOW = FIRST + 10 * DAY
METRICS = {"fast": Retention.SHORT, "level": Retention.STANDARD, "angle": Retention.STANDARD, "count": Retention.LONG}
AGGREGATIONS = {
    "fast": Aggregation.MEAN,
    "level": Aggregation.ENERGY,
    "angle": Aggregation.CIRCULAR,
    "count": Aggregation.LAST,
}
AGES = {
    Retention.SHORT: Ages(raw=1, minute=2, hour=4, day=7, events=2),
    Retention.STANDARD: Ages(raw=3, minute=5, hour=8),
    Retention.LONG: Ages(),
}


def _event_class(_: str, name: str) -> Retention:
    return Retention.SHORT if name == "passage" else Retention.STANDARD


POLICY = Policy(AGES, lambda _, metric: METRICS[metric], _event_class)
Point = tuple[int, float, Quality]


def made(seed: int) -> dict[str, list[Point]]:
    dice = random.Random(seed)
    found: dict[str, list[Point]] = {}
    for metric in METRICS:
        times = sorted(FIRST + dice.randrange(10 * DAY) for _ in range(400))
        found[metric] = [
            (t, round(dice.uniform(0, 350), 2), Quality.SPIKE if dice.random() < 0.1 else Quality.GOOD) for t in times
        ]
    return found


def fill(store: TimeSeries, points: dict[str, list[Point]], device: str = "air-1") -> None:
    columns = [
        column(device, metric, [(t, x) for t, x, _ in found], [quality for *_, quality in found])
        for metric, found in points.items()
    ]
    put(store, *columns)


def left(kept: int | None, point: Point) -> bool:
    return kept is None or point[0] // DAY * DAY + DAY > NOW - kept * DAY


def figure(aggregation: Aggregation, good: list[float]) -> float:
    match aggregation:
        case Aggregation.ENERGY:
            return 10 * math.log10(sum(10 ** (x / 10) for x in good) / len(good))
        case Aggregation.CIRCULAR:
            sine, cosine = (sum(part(math.radians(x)) for x in good) for part in (math.sin, math.cos))
            return math.degrees(math.atan2(sine, cosine)) % 360
        case Aggregation.LAST:
            return good[-1]
        case _:
            return sum(good) / len(good)


def expected(points: list[Point], kept: int | None, width: int, aggregation: Aggregation) -> list[Bucket]:
    by_bucket: dict[int, list[Point]] = {}
    for point in filter(lambda point: left(kept, point), points):
        by_bucket.setdefault(point[0] // width * width, []).append(point)
    found = []
    for t, mine in sorted(by_bucket.items()):
        good = [x for _, x, quality in mine if quality is Quality.GOOD]
        flagged = len(mine) - len(good)
        if good:
            found.append(Bucket(t, len(good), min(good), max(good), figure(aggregation, good), good[-1], flagged))
        else:
            found.append(Bucket(t, 0, None, None, None, None, flagged))
    return found


def approximately(found: list[Bucket]) -> list[list[object]]:
    rows = [[one.t, one.count, one.min, one.max, one.mean, one.last, one.quality] for one in found]
    return [[pytest.approx(cell, abs=1e-6) if isinstance(cell, float) else cell for cell in row] for row in rows]


def check(store: TimeSeries, points: dict[str, list[Point]], policy: Policy = POLICY) -> None:
    for metric, mine in points.items():
        ages = policy.of_metric("air-1", metric)
        raw = [(item.t, item.value, item.quality) for item in everything(store, "air-1", metric)]
        assert raw == [point for point in mine if left(ages.raw, point)], metric
        for width, kept in ((6 * HOUR, ages.hour), (DAY, ages.day), (3 * DAY, ages.day), (MINUTE, ages.minute)):
            if width == MINUTE and metric != "fast":
                continue  # energies, directions and last numbers below an hour are made of raw points
            aggregation = AGGREGATIONS[metric]
            found = store.buckets("air-1", metric, BEGINNING, END_OF_TIME, width_ms=width, aggregation=aggregation)
            rows = [[one.t, one.count, one.min, one.max, one.mean, one.last, one.quality] for one in found]
            assert rows == approximately(expected(mine, kept, width, aggregation)), (metric, width)
        span = store.span("air-1", metric, BEGINNING, END_OF_TIME)
        there = [t for t, *rest in mine if left(ages.day, (t, 0, Quality.GOOD))]
        assert span == Span(len(there), min(there, default=None), max(there, default=None)), metric


def test_each_class_is_left_as_its_days_say(open_store: Open, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    points = made(1)
    fill(store, points)
    before = store.counts()
    store.expire(Policy({}, POLICY.metric, POLICY.event), NOW)
    check(store, points, Policy({}, POLICY.metric, POLICY.event))
    for _ in range(2):
        store.expire(POLICY, NOW)
        check(store, points)
    assert store.counts()[:3] == before[:3], "what the store ever took"
    store.close()
    store = open_store(tmp_path)
    check(store, points)
    assert store.counts()[:3] == before[:3]
    assert store.metrics("air-1") == sorted(METRICS)
    store.close()


def test_the_newest_reading_stays(open_store: Open, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    flags = [None, Quality.STUCK]
    put(store, column("air-1", "fast", [(FIRST, 1.0), (FIRST + 1, 2.5)], flags))
    store.expire(POLICY, NOW + DAY)
    for _ in range(2):
        assert everything(store, "air-1") == []
        newest = store.latest(["air-1"])["air-1"]["fast"]
        assert (newest.t, newest.value, newest.quality) == (FIRST + 1, 2.5, Quality.STUCK)
        store.close()
        store = open_store(tmp_path)
    put(store, column("air-1", "fast", [(FIRST + 2 * DAY, 3.0)]))
    assert store.latest(["air-1"])["air-1"]["fast"].value == 3.0
    store.close()


def test_late_points_count_beside_what_went_and_go_as_well(open_store: Open, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    points = made(2)
    fill(store, points)
    store.expire(POLICY, NOW)
    late = {"fast": (FIRST + 5 * DAY + 7, 9.0, Quality.GOOD), "level": (FIRST + 2 * DAY + 5, 40.0, Quality.GOOD)}
    fill(store, {metric: [point] for metric, point in late.items()})
    assert everything(store, "air-1", "fast")[0].value == 9.0
    whole = {metric: sorted([*mine, late[metric]]) if metric in late else mine for metric, mine in points.items()}
    for metric in late:
        ages = AGES[METRICS[metric]]
        found = store.buckets("air-1", metric, BEGINNING, END_OF_TIME, width_ms=DAY, aggregation=AGGREGATIONS[metric])
        rows = [[one.t, one.count, one.min, one.max, one.mean, one.last, one.quality] for one in found]
        assert rows == approximately(expected(whole[metric], ages.day, DAY, AGGREGATIONS[metric])), metric
    store.expire(POLICY, NOW)
    check(store, whole)
    store.close()


def test_two_devices_give_a_metric_two_classes(open_store: Open, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    points = {"level": made(3)["level"]}
    fill(store, points)
    fill(store, points, "air-2")
    policy = Policy(AGES, lambda device, _: Retention.LONG if device == "air-2" else Retention.SHORT, _event_class)
    store.expire(policy, NOW)
    assert len(everything(store, "air-2")) == 400
    assert len(everything(store, "air-1")) == sum(left(1, point) for point in points["level"])
    exported = flat(store.export_readings([], [], BEGINNING, END_OF_TIME))
    assert len(exported) == len(everything(store, "air-1")) + 400
    store.close()


def test_events_go_by_their_class(open_store: Open, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    events = [
        StoredEvent("signal-1", FIRST + number * HOUR, "door" if number % 5 == 0 else "passage", {"n": number})
        for number in range(240)
    ]
    store.commit(Commit(events=events))
    store.expire(POLICY, NOW)
    kept = [event for event in events if event.name == "door" or event.t >= NOW - 2 * DAY]
    for _ in range(2):
        assert flat(store.export_events([], [], BEGINNING, END_OF_TIME)) == kept
        assert store.counts().events == 240
        store.close()
        store = open_store(tmp_path)
    store.close()
