"""What InfluxDB answers, and what a proxy in between may answer in its place."""

from __future__ import annotations

import pytest

from lamplighter_hub.series.influx.client import Table, read_answer
from lamplighter_hub.series.store import SeriesError

NO_ANSWERS = (
    b"[]",
    b"null",
    b"{}",
    b'{"results": 7}',
    b'{"results": ["a"]}',
    b'{"results": [{"series": [{}]}]}',
    b"<html>",
)


def test_an_answer_is_a_list_of_tables_for_each_statement() -> None:
    series = b'{"columns": ["time", "stamp"], "values": [[1, -0]], "tags": {"device": "a"}}'
    found = read_answer(b'{"results": [{"series": [' + series + b"]}, {}]}")
    assert found == [[Table({"device": "a"}, ["time", "stamp"], [[1, -0.0]])], []]
    assert str(found[0][0].rows[0][1]) == "-0.0"


@pytest.mark.parametrize("answer", NO_ANSWERS)
def test_what_is_no_answer_is_one_line(answer: bytes) -> None:
    with pytest.raises(SeriesError, match="not what InfluxDB says"):
        read_answer(answer)


def test_nested_without_end_it_is_no_answer_either() -> None:
    with pytest.raises(SeriesError):
        read_answer(b"[" * 100_000)


@pytest.mark.parametrize(("said", "heard"), [('"timeout"', "timeout"), ('" "', "no reason given"), ("null", "None")])
def test_what_it_refuses_is_said_in_its_words(said: str, heard: str) -> None:
    with pytest.raises(SeriesError, match=heard):
        read_answer(b'{"results": [{"error": ' + said.encode() + b"}]}")
