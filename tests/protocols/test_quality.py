"""Readings against their profile: flagged, refused by name, never altered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols.errors import BadField
from lamplighter_protocols.profile import load_profiles
from lamplighter_protocols.quality import Samples, check, check_record
from lamplighter_protocols.readings import Quality, Reading, ReadingsRecord

PROFILE = load_profiles()["air-station"]
OUT, FAULT = Quality.OUT_OF_RANGE, Quality.SENSOR_FAULT
T = 1_795_476_600_000


def record(m: dict[str, list[Any]], q: dict[str, list[Any]] | None = None, rows: int = 3) -> ReadingsRecord:
    sent = {"device": "air-1", "t": T, "dt": [*range(rows)], "m": m, "q": q or {}}
    return ReadingsRecord.model_validate_json(json.dumps(sent))


def test_a_good_column_passes_as_it_is() -> None:
    good = record({"pm25": [1.0, 2.0, 3.0]})
    columns, refused = check_record(PROFILE, good)
    assert (columns, refused) == ([Samples("air-1", "pm25", [T, T + 1, T + 2], [1.0, 2.0, 3.0], None)], [])
    assert columns[0].values is good.m["pm25"]  # nothing is copied when nothing is wrong


@pytest.mark.parametrize(
    ("m", "q", "wanted"),
    [
        ([1.0, -0.5, 1000.0], None, [None, OUT, None]),
        ([1.0, 1000.5, 3.0], [None, FAULT, None], [None, FAULT, None]),
        ([1.0, 1000.5, 3.0], ["good", "good", "good"], [None, OUT, None]),
        ([1.0, 2.0, 3.0], ["good", None, "good"], None),
    ],
)
def test_flags(m: list[Any], q: list[Any] | None, wanted: list[Any] | None) -> None:
    columns, _ = check_record(PROFILE, record({"pm25": m}, {"pm25": q} if q else None))
    assert columns == [Samples("air-1", "pm25", [T, T + 1, T + 2], m, wanted)]


def test_rows_that_hold_nothing_are_left_out() -> None:
    columns, refused = check_record(
        PROFILE, record({"pm25": [None, 5.0, None], "pm10": [None] * 3}, {"pm25": [None, None, "sensor_fault"]})
    )
    assert columns == [Samples("air-1", "pm25", [T + 1, T + 2], [5.0, None], [None, FAULT])]
    assert refused == []


def test_a_quality_may_come_without_any_value() -> None:
    columns, _ = check_record(PROFILE, record({}, {"rh": [None, "no_data", None]}))
    assert columns == [Samples("air-1", "rh", [T + 1], [None], [Quality.NO_DATA])]


def test_choices() -> None:
    columns, _ = check_record(PROFILE, record({"door": ["open", "ajar", None]}))
    assert columns == [Samples("air-1", "door", [T, T + 1], ["open", "ajar"], [None, OUT])]


def test_nonsense_is_refused_by_name_and_the_rest_goes_through() -> None:
    columns, refused = check_record(
        PROFILE,
        record(
            {"pm25": ["a", None, None], "heater": [1.0, 0.0, None], "door": [True, None, None], "rh": [50.0] * 3},
            {"no_such": [None, None, "stale"]},
        ),
    )
    assert [column.metric for column in columns] == ["rh"]
    assert [error.field for error in refused] == ["m.pm25", "m.heater", "m.door", "m.no_such"]
    assert str(refused[0]) == "m.pm25: 'a' is not a number"
    assert "profile air-station has no such metric; it has co, door," in str(refused[3])


@given(
    st.lists(
        st.tuples(st.none() | st.floats(-10, 1_500), st.none() | st.sampled_from(Quality)), min_size=1, max_size=30
    )
)
def test_columns_and_single_readings_agree(rows: list[tuple[float | None, Quality | None]]) -> None:
    packed = record({"pm25": [value for value, _ in rows]}, {"pm25": [flag for _, flag in rows]}, len(rows))
    columns, _ = check_record(PROFILE, packed)
    found = [
        (value, (column.qualities[nth] if column.qualities else None) or Quality.GOOD)
        for column in columns
        for nth, value in enumerate(column.values)
    ]
    kept = [(value, flag or Quality.GOOD) for value, flag in rows if value is not None or flag not in (None, "good")]
    assert found == [(value, check(PROFILE, Reading("d", "pm25", T, value, flag))) for value, flag in kept]


def test_a_single_reading_that_cannot_be_taken() -> None:
    with pytest.raises(BadField, match=r"m\.pm25: True is not a number"):
        check(PROFILE, Reading("d", "pm25", T, True))
    with pytest.raises(BadField, match=r"m\.x: profile air-station has no such metric"):
        check(PROFILE, Reading("d", "x", T, 1.0))


@given(
    st.integers(1, 5).flatmap(
        lambda rows: st.lists(
            st.lists(st.none() | st.floats(-10, 1_010), min_size=rows, max_size=rows), min_size=1, max_size=4
        )
    )
)
def test_each_column_keeps_its_own_rows_whichever_ones_others_lack(columns: list[list[float | None]]) -> None:
    names = list(PROFILE.metrics)[:4]
    sent = record(dict(zip(names, columns, strict=False)), rows=len(columns[0]))
    wanted = []
    for name, values in zip(names, columns, strict=False):
        low, high = PROFILE.metrics[name].range or (0.0, 0.0)
        there = [(T + row, value) for row, value in enumerate(values) if value is not None]
        flags = [None if low <= value <= high else OUT for _, value in there]
        if there:
            times, kept = (list(part) for part in zip(*there, strict=True))
            wanted.append(("air-1", name, times, kept, flags if any(flags) else None))
    assert check_record(PROFILE, sent) == (wanted, [])
