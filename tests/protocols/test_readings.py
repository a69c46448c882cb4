"""Columns: what is packed comes out again, true duplicates included."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols.errors import BadField
from lamplighter_protocols.readings import Quality, Reading, ReadingsRecord, columnar

T = 1_795_476_600_000
FLAGS = [quality for quality in Quality if quality is not Quality.GOOD]
VALUES = {
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "flag": st.booleans(),
    "text": st.text(max_size=20),
}


def readings_of(metric: str) -> st.SearchStrategy[Reading]:
    times = st.integers(T, T + 20)
    good = st.builds(Reading, st.just("d"), st.just(metric), times, VALUES[metric], st.just(Quality.GOOD))
    flagged = st.builds(
        Reading, st.just("d"), st.just(metric), times, VALUES[metric] | st.none(), st.sampled_from(FLAGS)
    )
    return good | flagged


@given(st.lists(st.sampled_from(list(VALUES)).flatmap(readings_of), min_size=1, max_size=60))
def test_points_undo_columnar(readings: list[Reading]) -> None:
    record = ReadingsRecord.model_validate_json(columnar("d", readings).model_dump_json())
    assert Counter(record.points()) == Counter(readings)
    for metric in VALUES:  # equal times of one metric keep their order
        packed = [reading for reading in record.points() if reading.metric == metric]
        assert packed == sorted((r for r in readings if r.metric == metric), key=lambda reading: reading.t)


def test_one_time_base_serves_all_metrics() -> None:
    readings = [Reading("d", metric, T + at, float(at)) for at in range(3) for metric in ("a", "b")]
    record = columnar("d", readings)
    assert (record.t, record.dt, record.m) == (T, [0, 1, 2], {"a": [0.0, 1.0, 2.0], "b": [0.0, 1.0, 2.0]})
    assert record.q == {}


@pytest.mark.parametrize(
    ("readings", "field"),
    [
        ([], "m"),
        ([Reading("d", "a", T, 1.0), Reading("d", "a", T, "x")], "m.a.1"),
        ([Reading("d", "a", T, float("nan"))], "m.a.0"),
        ([Reading("d", "a", T, 1.0), Reading("d", "a", T + 400 * 86_400_000, 1.0)], "dt"),
        ([Reading("d", "A", T, 1.0)], "m.A"),
        ([Reading("d", "a", T, "x" * 1_025)], "m.a.0"),
    ],
)
def test_what_no_record_can_hold_is_named(readings: list[Reading], field: str) -> None:
    with pytest.raises(BadField) as caught:
        columnar("d", readings)
    assert caught.value.field == field
