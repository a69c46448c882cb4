"""What any store owes about readings: exact values and types, order, duplicates, latest values, pages."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamplighter_hub.series.store import (
    BEGINNING,
    END_OF_TIME,
    BadCursor,
    Commit,
    Span,
    TimeSeries,
    Unstorable,
)
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Quality, Reading, Value
from suites.series.make import T0, column, everything, flat, put
from suites.series.stores import Open

values = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
)
samples = st.lists(
    st.tuples(
        st.sampled_from(["air-1", "kiosk-1"]),
        st.sampled_from(["pm25", "door", "state.code"]),
        st.lists(st.tuples(st.integers(T0, T0 + 5), values, st.sampled_from([None, *Quality])), min_size=1, max_size=4),
    ),
    max_size=5,
)


def as_samples(device: str, metric: str, points: list[tuple[int, Value | None, Quality | None]]) -> Samples:
    times, found, flags = zip(*points, strict=True)
    return Samples(device, metric, times, found, flags)


class Model:
    """A store as a plain list."""

    def __init__(self) -> None:
        self.kept: list[Reading] = []

    def take(self, column: Samples) -> None:
        for t, value, flag in zip(column.times, column.values, column.qualities or (), strict=True):
            if value is not None or (flag and flag is not Quality.GOOD):
                self.kept.append(Reading(column.device, column.metric, t, value, flag or Quality.GOOD))

    def exported(self) -> list[Reading]:
        return sorted(self.kept, key=lambda item: item[:3])

    def latest(self, device: str) -> dict[str, Reading]:
        mine = sorted((item for item in self.kept if item.device == device), key=lambda item: item.t)
        return {item.metric: item for item in mine}

    def paged(self, device: str) -> list[Reading]:
        return sorted((item for item in self.kept if item.device == device), key=lambda item: (item.t, item.metric))


def bits(readings: list[Reading]) -> list[tuple[object, ...]]:
    """Tell 0.0 from -0.0, 1.0 from True and good from good."""
    return [
        (
            *item[:3],
            type(item.value),
            struct.pack("d", item.value) if type(item.value) is float else item.value,
            item[4],
        )
        for item in readings
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(samples, min_size=1, max_size=4), asked_first=st.booleans(), again=st.booleans())
def test_random_commits_come_back_like_from_a_list(
    open_store: Open,
    tmp_path_factory: pytest.TempPathFactory,
    *,
    commits: list[list[tuple[str, str, list[tuple[int, Value | None, Quality | None]]]]],
    asked_first: bool,
    again: bool,
) -> None:
    folder = tmp_path_factory.mktemp("series")
    store = open_store(folder)
    model = Model()
    for number, commit in enumerate(commits):
        if number == 1 and again:
            store.close()
            store = open_store(folder)
        if asked_first:
            store.latest(["air-1"])
        columns = [as_samples(*item) for item in commit]
        store.commit(Commit(samples=columns))
        for item in columns:
            model.take(item)
    assert bits(flat(store.export_readings([], [], BEGINNING, END_OF_TIME))) == bits(model.exported())
    for device in ("air-1", "kiosk-1"):
        assert bits(everything(store, device)) == bits(model.paged(device))
        found = store.latest([device]).get(device, {})
        assert bits(list(found.values())) == bits([item for _, item in sorted(model.latest(device).items())])
    assert store.counts().points == len(model.kept)
    store.close()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_bit_for_bit(store: TimeSeries, number: float) -> None:
    before = store.span("air-1", "x", BEGINNING, END_OF_TIME).points
    put(store, column("air-1", "x", [(T0 + before, number)]))
    assert bits(everything(store, "air-1", "x"))[-1][4] == struct.pack("d", number)


def test_types_stay_apart_even_within_a_series(store: TimeSeries) -> None:
    put(store, column("kiosk-1", "state", [(1, True), (2, 1.0), (3, "1"), (4, ""), (5, False)]))
    assert [item.value for item in everything(store, "kiosk-1")] == [True, 1.0, "1", "", False]
    assert [type(item.value) for item in everything(store, "kiosk-1")] == [bool, float, str, str, bool]


def test_equal_times_and_true_duplicates_are_kept_in_order(store: TimeSeries) -> None:
    put(store, column("air-1", "pm25", [(T0, 3.0), (T0, 1.0), (T0, 1.0)]))
    put(store, column("air-1", "pm25", [(T0, 2.0), (T0, 1.0)]))
    assert [item.value for item in everything(store, "air-1")] == [3.0, 1.0, 1.0, 2.0, 1.0]


def test_no_value_and_no_quality_is_no_sample(store: TimeSeries) -> None:
    flags = [None, Quality.SENSOR_FAULT, Quality.GOOD, None]
    put(store, column("air-1", "pm25", [(1, None), (2, None), (3, None), (4, 5.0)], flags))
    assert everything(store, "air-1") == [
        Reading("air-1", "pm25", 2, None, Quality.SENSOR_FAULT),
        Reading("air-1", "pm25", 4, 5.0),
    ]


@pytest.mark.parametrize("impossible", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_flagged_and_not_lost(store: TimeSeries, impossible: float) -> None:
    put(store, column("air-1", "pm25", [(1, impossible), (2, None), (3, impossible)], [None, None, Quality.OVERFLOW]))
    assert [item[2:] for item in everything(store, "air-1")] == [
        (1, None, Quality.SENSOR_FAULT),
        (3, None, Quality.OVERFLOW),
    ]


def test_half_a_character_does_not_break_a_commit(store: TimeSeries) -> None:
    put(store, column("kiosk-1", "state", [(1, "a\ud800b"), (2, "街灯 😀 \x00")]))
    assert [item.value for item in everything(store, "kiosk-1")] == ["a\ufffdb", "街灯 😀 \x00"]


@pytest.mark.parametrize(
    "wrong",
    [
        Samples("air-1", "pm25", [1, 2], [1.0]),
        Samples("air-1", "pm25", [2**70], [1.0]),
        Samples("air-1", "pm25", [1, 2], [1.0, 2.0], [None]),
    ],
)
def test_a_commit_that_makes_no_sense_leaves_no_trace(store: TimeSeries, wrong: Samples) -> None:
    with pytest.raises(Unstorable):
        store.commit(Commit(samples=[column("air-2", "pm25", [(1, 1.0)]), wrong]))
    assert flat(store.export_readings([], [], BEGINNING, END_OF_TIME)) == []
    assert store.metrics("air-2") == []
    put(store, column("air-1", "pm25", [(1, 1.0)]))
    assert store.counts().points == 1


def test_late_data_does_not_replace_newer_values(store: TimeSeries, open_store: Open, tmp_path: Path) -> None:
    put(store, column("air-1", "pm25", [(T0 + 9, 9.0), (T0, 0.5)]), column("air-1", "door", [(T0, "open")]))
    put(store, column("air-1", "pm25", [(T0 + 5, 5.0)]), column("air-1", "door", [(T0, "closed"), (T0 - 1, "open")]))
    expected = {
        "door": Reading("air-1", "door", T0, "closed"),
        "pm25": Reading("air-1", "pm25", T0 + 9, 9.0),
    }
    assert store.latest(["air-1", "nobody"]) == {"air-1": expected}
    store.close()
    reopened = open_store(tmp_path)
    put(reopened, column("air-1", "pm25", [(T0 + 7, 7.0)]))
    assert reopened.latest(["air-1"]) == {"air-1": expected}
    put(reopened, column("air-1", "pm25", [(T0 + 10, None)], [Quality.NO_DATA]))
    assert reopened.latest(["air-1"])["air-1"]["pm25"] == Reading("air-1", "pm25", T0 + 10, None, Quality.NO_DATA)
    reopened.close()


def test_pages_join_to_the_whole_whatever_their_size(store: TimeSeries) -> None:
    for number in range(4):
        put(
            store,
            column("air-1", "pm25", [(T0, number), (T0 + number, 0.5)]),
            column("air-1", "no2", [(T0, number), (T0, 7.0), (T0 + 2, 1.0)]),
        )
    whole = everything(store, "air-1")
    assert len(whole) == 20
    for limit in range(1, 22):
        found: list[Reading] = []
        cursor: str | None = None
        while True:
            page, cursor = store.readings("air-1", [], BEGINNING, END_OF_TIME, limit=limit, cursor=cursor)
            assert len(page) <= limit
            found += page
            if cursor is None:
                break
        assert found == whole


def test_what_arrives_between_two_pages_is_neither_lost_nor_repeated(store: TimeSeries) -> None:
    put(store, column("air-1", "no2", [(T0, 1.0), (T0, 2.0)]), column("air-1", "pm25", [(T0, 3.0)]))
    first, cursor = store.readings("air-1", [], BEGINNING, END_OF_TIME, limit=1)
    put(store, column("air-1", "no2", [(T0, 2.5)]), column("air-1", "aaa", [(T0 + 1, 9.0)]))
    rest, _ = store.readings("air-1", [], BEGINNING, END_OF_TIME, limit=10, cursor=cursor)
    assert [item.value for item in first + rest] == [1.0, 2.0, 2.5, 3.0, 9.0]


@pytest.mark.parametrize("cursor", ["x", "1~2", "1~2~", "~~pm25", "1~x~pm25", f"{10**30}~1~pm25"])
def test_a_foreign_cursor_is_refused(store: TimeSeries, cursor: str) -> None:
    with pytest.raises(BadCursor, match="cursor"):
        store.readings("air-1", [], BEGINNING, END_OF_TIME, limit=10, cursor=cursor)


def test_ranges_are_half_open_and_filters_hold(store: TimeSeries) -> None:
    put(store, *[column("air-1", metric, [(T0 + i, i) for i in range(10)]) for metric in ("pm25", "no2")])
    put(store, column("air-2", "pm25", [(T0 + 3, 1.0)]))
    found, _ = store.readings("air-1", ["pm25"], T0 + 2, T0 + 5, limit=10)
    assert [item.t - T0 for item in found] == [2, 3, 4]
    exported = flat(store.export_readings(["air-2", "air-1"], ["pm25", "nothing"], T0 + 2, T0 + 4))
    assert [(item.device, item.t - T0) for item in exported] == [("air-1", 2), ("air-1", 3), ("air-2", 3)]
    assert store.span("air-1", "pm25", T0 + 2, T0 + 5) == Span(3, T0 + 2, T0 + 4)
    assert store.span("air-1", "nothing", T0, T0 + 5) == Span(0, None, None)
    assert store.metrics("air-1") == ["no2", "pm25"]


def test_a_large_series_is_exported_in_slices_without_a_seam(store: TimeSeries) -> None:
    times = [T0 + i // 3 for i in range(300_000)]
    for part in (slice(100_000, 300_000), slice(0, 100_000)):
        store.commit(Commit([Samples("air-1", "pm25", times[part], [float(i) for i in range(300_000)][part])]))
    put(store, *[column("air-2", f"m{i}", [(T0, 1.0)]) for i in range(300)])
    found = flat(store.export_readings([], [], BEGINNING, END_OF_TIME))
    assert len(found) == 300_300
    large = [(item.t, item.value) for item in found[:300_000]]
    assert large[:99_999] == [(t, float(i)) for i, t in enumerate(times)][:99_999]
    assert sorted(large) == [(t, float(i)) for i, t in enumerate(times)]
    assert [item.metric for item in found[300_000:]] == sorted(f"m{i}" for i in range(300))
