"""Lines of loggers' files: times, cells, headers, and what is refused without costing its neighbours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols.errors import BadField, BadProfile
from lamplighter_protocols.field.localtime import reader
from lamplighter_protocols.field.tail import MAX_LINE, LineCodec, Sample
from lamplighter_protocols.profile import Metric, TailMap
from lamplighter_protocols.readings import Quality

LOCAL = "%Y-%m-%d %H:%M:%S"
SECOND = 1_000
HOUR = 3_600 * SECOND


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("time_format", "timezone", "text", "wanted"),
    [
        (LOCAL, "UTC", "2021-08-18 20:55:54", "2021-08-18T20:55:54Z"),
        ("%d/%m/%Y %H:%M", "UTC", "04/01/2016 0:05", "2016-01-04T00:05:00Z"),
        ("%Y-%m-%dT%H:%M:%S.%f", "UTC", "2024-04-15T12:00:00.123999", "2024-04-15T12:00:00.123Z"),
        ("%H:%M:%S %d.%m.%Y", "Asia/Shanghai", "08:00:00 02.01.2020", "2020-01-02T00:00:00Z"),
        ("%Y %m %d %H", "Asia/Shanghai", "2013 3 4 2", "2013-03-03T18:00:00Z"),
        (LOCAL, "America/Los_Angeles", "2024-07-01 00:00:00", "2024-07-01T07:00:00Z"),
        (LOCAL, "America/Los_Angeles", "2024-12-01 00:00:00", "2024-12-01T08:00:00Z"),
        ("%d %b %Y %I:%M %p", "UTC", "05 Feb 2024 01:30 PM", "2024-02-05T13:30:00Z"),
        ("%Y-%m-%d %H:%M:%S %z", "Asia/Shanghai", "2024-02-05 01:30:00 +0100", "2024-02-05T00:30:00Z"),
        ("iso", "America/Los_Angeles", "2024-07-01T00:00:00", "2024-07-01T07:00:00Z"),
        ("iso", "America/Los_Angeles", "2024-07-01T00:00:00+02:00", "2024-06-30T22:00:00Z"),
        ("unix", "UTC", "1629320154.5", "2021-08-18T20:55:54.500Z"),
        ("unix_ms", "UTC", "1629320154500", "2021-08-18T20:55:54.500Z"),
    ],
)
def test_times(time_format: str, timezone: str, text: str, wanted: str) -> None:
    assert reader(time_format, timezone)(text) == utc(wanted)


def test_a_local_time_that_occurs_twice_is_its_first_occurrence() -> None:
    read = reader(LOCAL, "America/Los_Angeles")
    assert read("2024-11-03 00:59:59") == utc("2024-11-03T07:59:59Z")
    assert read("2024-11-03 01:30:00") == utc("2024-11-03T08:30:00Z")
    assert read("2024-11-03 02:00:00") == utc("2024-11-03T10:00:00Z")
    assert read("2024-11-03 01:30:00") == utc("2024-11-03T08:30:00Z")  # in whatever order lines are read


def test_a_local_time_that_never_occurs_is_read_with_the_offset_before() -> None:
    read = reader(LOCAL, "America/Los_Angeles")
    assert read("2024-03-10 01:59:59") == utc("2024-03-10T09:59:59Z")
    assert read("2024-03-10 02:30:00") == utc("2024-03-10T10:30:00Z")
    assert read("2024-03-10 03:00:00") == utc("2024-03-10T10:00:00Z")


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001
def test_every_second_is_read_as_datetime_does(moment: datetime) -> None:
    wanted = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert reader("%Y-%m-%dT%H:%M:%S.%f")(moment.isoformat(timespec="microseconds")) == wanted


@pytest.mark.parametrize(
    "text", ["", "2021-13-01 00:00:00", "2021-02-29 00:00:00", "2021-01-01 24:00:00", "2021-01-01 00:60:00", "now"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # what datetime says of it
        reader(LOCAL)(text)


def test_an_unknown_time_zone_is_named() -> None:
    with pytest.raises(BadProfile, match=r"tail.timezone: 'Mars/Olympus' is not in the time zone database"):
        reader(LOCAL, "Mars/Olympus")


METRICS = {
    "level": Metric(title={"en": "Level"}),
    "door": Metric(type="string", title={"en": "Door"}),
    "pump": Metric(type="boolean", title={"en": "Pump"}),
}
COLUMNS = {"level": {"column": "Level"}, "door": {"column": "Door"}, "pump": {"column": "Pump"}}
HEADER = "Time,Level,Door,Pump"


def codec(**changes: Any) -> LineCodec:
    tail = {"header": True, "time": ["Time"], "time_format": LOCAL, "columns": COLUMNS, "skip": ["#"], **changes}
    return LineCodec(TailMap.model_validate(tail), METRICS)


def read(*lines: str, **changes: Any) -> list[Any]:
    reader_ = codec(**changes)
    return [reader_.feed(line) for line in lines]


T0 = utc("2024-01-01T00:00:00Z")


def test_a_file_from_its_first_line() -> None:
    found = read("\ufeff# firmware 1.2", HEADER + "\r\n", "", '2024-01-01 00:00:00, 1.5 ,"open",on\r\n')
    assert found == [None, None, None, Sample(T0, {"level": 1.5, "door": "open", "pump": True}, {}, "")]


def test_missing_cells_are_no_samples_and_odd_ones_are_faults() -> None:
    _, missing, odd, nan = read(
        HEADER, "2024-01-01 00:00:00,NA,,0", "2024-01-01 00:00:00,1_0,shut,maybe", "2024-01-01 00:00:00,inf,x,no"
    )
    assert missing == Sample(T0, {"pump": False}, {}, "")
    assert odd.values == {"door": "shut"}
    assert odd.quality == {"level": Quality.SENSOR_FAULT, "pump": Quality.SENSOR_FAULT}
    assert nan.quality == {"level": Quality.SENSOR_FAULT}


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("2024-01-01 00:00:00,1.5", "line"),
        ("2024-01-0", "line"),
        ("yesterday,1.5,open,on", "time"),
        ("x" * (MAX_LINE + 1), "line"),
        ('"2024-01-01 00:00:00,1.5,open,on', "line"),
    ],
)
def test_a_refused_line_says_why_and_costs_nobody_else(line: str, field: str) -> None:
    _, refused, good = read(HEADER, line, "2024-01-01 00:00:00,2,open,on")
    assert isinstance(refused, BadField)
    assert refused.field == field
    assert isinstance(good, Sample)


def test_a_header_in_mid_file_moves_the_columns() -> None:
    found = read(HEADER, "2024-01-01 00:00:00,1,open,on", "Door,Pump,Time,Level", "shut,off,2024-01-01 00:00:01,2")
    assert found[2] is None
    assert found[3] == Sample(T0 + SECOND, {"level": 2.0, "door": "shut", "pump": False}, {}, "")


def test_a_driver_goes_on_in_mid_file_with_the_header_that_it_kept() -> None:
    first = codec()
    first.feed(HEADER)
    tail = TailMap.model_validate({"header": True, "time": ["Time"], "time_format": LOCAL, "columns": COLUMNS})
    second = LineCodec(tail, METRICS, first.header)
    assert isinstance(second.feed("2024-01-01 00:00:00,1,open,on"), Sample)


def test_a_header_without_a_column_is_refused_by_name() -> None:
    (refused,) = read("Time,Level,Pump")
    assert isinstance(refused, BadField)
    assert str(refused) == "header: the header has no column 'Door'; it has Pump, Level, Time"


def test_other_delimiters_and_decimal_commas() -> None:
    columns = {"level": {"column": 1}}
    (sample,) = read("2024-01-01 00:00:00;1,5", delimiter=";", decimal=",", header=False, time=[0], columns=columns)
    assert sample.values == {"level": 1.5}
    (sample,) = read("1704067200  7", delimiter="", header=False, time=[0], time_format="unix", columns=columns)
    assert sample == Sample(T0, {"level": 7.0}, {}, "")


def test_an_event_is_whole_or_refused() -> None:
    events = {"event": "hires", "columns": {"code": {"column": "Level", "type": "integer"}}}
    _, good, bad = read(HEADER, "2024-01-01 00:00:00,82,x,y", "2024-01-01 00:00:00,8.2,x,y", **events)
    assert good == Sample(T0, {"code": 82}, {}, "hires")
    assert isinstance(bad, BadField)
    assert str(bad) == "code: '8.2' is not an integer"


@given(st.text(max_size=80))
def test_any_line_gives_a_sample_nothing_or_a_refusal(line: str) -> None:
    for result in read(HEADER, line, line + ",1,open,on"):
        assert result is None or isinstance(result, Sample | BadField)
