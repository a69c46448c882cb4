"""What any store owes about reduction: figures per bucket, flagged values apart, gaps left open."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Bucket, TimeSeries
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.readings import Quality
from suites.series.make import T0, column, put


def only(store: TimeSeries, metric: str, aggregation: Aggregation = Aggregation.MEAN) -> Bucket:
    (found,) = store.buckets("air-1", metric, T0, T0 + 1000, width_ms=1000, aggregation=aggregation)
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    points=st.lists(
        st.tuples(
            st.integers(-40, 40),
            st.floats(-1e6, 1e6),
            st.sampled_from([None, None, Quality.SUSPECT, Quality.OUT_OF_RANGE]),
        ),
        min_size=1,
        max_size=30,
    ),
    width=st.integers(1, 30),
    start=st.integers(-40, 0),
    end=st.integers(1, 41),
)
def test_buckets_are_what_a_person_would_count(
    store: TimeSeries, points: list[tuple[int, float, Quality | None]], width: int, start: int, end: int
) -> None:
    metric = f"m{store.counts().series}"
    put(store, column("air-1", metric, [point[:2] for point in points], [point[2] for point in points]))
    groups: dict[int, list[tuple[int, float, Quality | None]]] = {}
    for point in sorted(points, key=lambda point: point[0]):
        if start <= point[0] < end:
            groups.setdefault(point[0] // width * width, []).append(point)
    found = store.buckets("air-1", metric, start, end, width_ms=width, aggregation=Aggregation.MEAN)
    assert [bucket.t for bucket in found] == sorted(groups)
    for bucket in found:
        good = [value for _, value, flag in groups[bucket.t] if flag is None]
        assert (bucket.count, bucket.quality) == (len(good), len(groups[bucket.t]) - len(good))
        assert (bucket.min, bucket.max) == ((min(good), max(good)) if good else (None, None))
        assert bucket.last == (good[-1] if good else None)
        assert bucket.mean == (pytest.approx(math.fsum(good) / len(good), abs=1e-6) if good else None)


def test_a_gap_stays_a_gap(store: TimeSeries) -> None:
    put(store, column("air-1", "pm25", [(0, 1.0), (10, 2.0), (95, 3.0)]))
    found = store.buckets("air-1", "pm25", BEGINNING, END_OF_TIME, width_ms=10, aggregation=Aggregation.MEAN)
    assert [(bucket.t, bucket.count) for bucket in found] == [(0, 1), (10, 1), (90, 1)]
    assert store.buckets("air-1", "no2", 0, 100, width_ms=10, aggregation=Aggregation.MEAN) == []


def test_decibels_average_as_energy(store: TimeSeries) -> None:
    put(store, column("air-1", "laeq", [(T0, 60.0), (T0 + 1, 70.0)]))
    assert only(store, "laeq", Aggregation.ENERGY).mean == pytest.approx(10 * math.log10((1e6 + 1e7) / 2))
    put(store, column("air-1", "loud", [(T0, 1e300), (T0 + 1, -1e300)]))
    assert math.isfinite(only(store, "loud", Aggregation.ENERGY).mean or math.inf)


@pytest.mark.parametrize(
    ("directions", "mean"),
    [([350.0, 10.0], 0.0), ([80.0, 100.0], 90.0), ([181.0, 179.0], 180.0), ([0.0, 180.0], None), ([-10.0, 371.0], 0.5)],
)
def test_directions_average_on_the_circle(store: TimeSeries, directions: list[float], mean: float | None) -> None:
    put(store, column("air-1", "wind", list(enumerate(directions, T0))))
    found = only(store, "wind", Aggregation.CIRCULAR).mean
    if mean is None:
        assert found is None
    else:
        assert found is not None
        assert 0 <= found < 360
        assert min(abs(found - mean), 360 - abs(found - mean)) < 1e-6


def test_decibels_and_directions_come_to_the_same_by_hour_and_by_day(store: TimeSeries) -> None:
    """Half a week of points a minute apart, whatever of it is sealed and rolled up: every width must say the same."""
    minute, hour, day = 60_000, 3_600_000, 86_400_000
    levels = [(t, 50 + 25 * math.sin(t / 7e6)) for t in range(0, 3 * day + 5 * hour, minute)]
    directions = [(t, (340 + 50 * math.sin(t / 9e6)) % 360) for t, _ in levels]
    flags = [Quality.SPIKE if n % 7 == 0 else None for n in range(len(levels))]
    put(store, column("air-1", "laeq", levels, flags), column("air-1", "wind", directions, flags))
    for width in (minute * 10, hour, day):
        for metric, points, aggregation, wanted in (
            ("laeq", levels, Aggregation.ENERGY, _energy),
            ("wind", directions, Aggregation.CIRCULAR, _direction),
        ):
            found = store.buckets("air-1", metric, 0, END_OF_TIME, width_ms=width, aggregation=aggregation)
            groups: dict[int, list[float]] = {}
            for n, (t, value) in enumerate(points):
                if n % 7:
                    groups.setdefault(t // width * width, []).append(value)
            assert [bucket.t for bucket in found] == list(groups)
            assert [bucket.mean for bucket in found] == pytest.approx([wanted(group) for group in groups.values()])
            assert sum(bucket.quality for bucket in found) == len(flags) - flags.count(None)


def _energy(levels: list[float]) -> float:
    return 10 * math.log10(math.fsum(10 ** (level / 10) for level in levels) / len(levels))


def _direction(degrees: list[float]) -> float:
    angles = [math.radians(one) for one in degrees]
    return math.degrees(math.atan2(math.fsum(map(math.sin, angles)), math.fsum(map(math.cos, angles)))) % 360


def test_every_quality_comes_back(store: TimeSeries) -> None:
    put(store, column("air-1", "pm25", [(T0 + n, 1.0) for n in range(len(Quality))], list(Quality)))
    found, _ = store.readings("air-1", ["pm25"], BEGINNING, END_OF_TIME, limit=100)
    assert [reading.quality for reading in found] == list(Quality)
    assert store.latest(["air-1"])["air-1"]["pm25"].quality is list(Quality)[-1]


def test_counts_sum_and_states_last(store: TimeSeries) -> None:
    put(store, column("air-1", "passages", [(T0 + 2, 3.0), (T0 + 1, 4.0), (T0 + 2, 5.0)]))
    assert only(store, "passages", Aggregation.SUM).mean == 12.0
    assert only(store, "passages", Aggregation.LAST).mean == 5.0
    assert only(store, "passages", Aggregation.LAST).last == 5.0


def test_truth_counts_as_0_and_1_and_texts_only_count(store: TimeSeries) -> None:
    put(store, column("air-1", "open", [(T0, True), (T0 + 1, False), (T0 + 2, True), (T0 + 3, True)]))
    assert only(store, "open") == Bucket(T0, 4, 0.0, 1.0, 0.75, last=True, quality=0)
    put(store, column("air-1", "state", [(T0, "idle"), (T0 + 1, "busy"), (T0 + 2, "x")], [None, None, Quality.STALE]))
    assert only(store, "state") == Bucket(T0, 2, None, None, None, "busy", 1)


def test_a_bucket_of_flagged_values_is_there_without_figures(store: TimeSeries) -> None:
    put(store, column("air-1", "pm25", [(T0, 9999.0), (T0 + 1, None)], [Quality.OVERFLOW, Quality.NO_DATA]))
    assert only(store, "pm25") == Bucket(T0, 0, None, None, None, None, 2)


def test_figures_beyond_a_double_are_left_out(store: TimeSeries) -> None:
    put(store, column("air-1", "big", [(T0, 1.7e308), (T0 + 1, 1.7e308)]))
    for aggregation in Aggregation:
        found = only(store, "big", aggregation)
        assert (found.count, found.max) == (2, 1.7e308)
        assert found.mean is None or math.isfinite(found.mean)
