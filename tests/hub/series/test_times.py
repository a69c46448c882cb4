from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_hub.errors import Invalid
from lamplighter_hub.series.exports import as_text, iso_times
from lamplighter_hub.series.times import WIDTHS, human_width, moment


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_iso_times_read_back_the_same(when: datetime) -> None:
    t = round(when.timestamp() * 1000)
    assert moment(iso_times([t])[0], 0, "from") == t


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_refused_by_name(text: str) -> None:
    try:
        assert isinstance(moment(text, 1_795_476_600_000, "to"), int)
    except Invalid as error:
        assert error.errors[0].field == "to"  # noqa: PT017


@given(st.integers(1, 10**13), st.integers(1, 10_000))
def test_a_width_is_readable_and_wide_enough(span: int, points: int) -> None:
    width = human_width(span, points)
    assert width in WIDTHS or width % WIDTHS[-1] == 0
    assert width * points >= span


def test_widths_are_sorted_and_each_once() -> None:
    assert list(WIDTHS) == sorted(set(WIDTHS))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_exactly(number: float) -> None:
    assert repr(float(as_text(number))) == repr(number)


@pytest.mark.parametrize(("value", "text"), [(None, ""), (False, "false"), ("true", "true"), (1.0, "1.0")])
def test_values_as_text(value: bool | str | float | None, text: str) -> None:  # noqa: FBT001
    assert as_text(value) == text
