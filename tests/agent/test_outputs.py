"""What a driver may give, and what of it nobody could record."""

from __future__ import annotations

from typing import Any

import pytest

from lamplighter_agent.driver import Event, Output, Row
from lamplighter_agent.outputs import LARGEST_POSITION, flaw
from lamplighter_protocols.model import EARLIEST, LATEST
from lamplighter_protocols.readings import MAX_METRICS, Quality

ANY: Any = object()


@pytest.mark.parametrize(
    "output",
    [
        Output(),
        Output(rows=[Row({"a.b_2": 1.0, "n": None}, {"n": Quality.NO_DATA}), Row({}, t=EARLIEST), Row({}, t=LATEST)]),
        Output(events=[Event("Any", {"x": ANY}), Event("e", t=0)], position={"offset": 7, "mark": "é"}, more=True),
        Output(rows=[Row({"v": ANY})]),
    ],
)
def test_what_can_be_recorded(output: Output) -> None:
    assert flaw(output) == ""


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (Output(rows=[Row({"v": 1.0}, t=ANY)]), "t is <object"),
        (Output(rows=[Row({}), Row({"v": 1.0}, t=1.5)]), "t is 1.5"),  # type: ignore[arg-type]
        (Output(rows=[Row({"v": 1.0}, t=True)]), "t is True"),
        (Output(rows=[Row({"v": 1.0}, t=LATEST + 1)]), "not milliseconds"),
        (Output(rows=[Row({"v": 1.0}, t=-(2**80))]), "not milliseconds"),
        (Output(events=[Event("e", t="soon")]), "t is 'soon'"),  # type: ignore[arg-type]
        (Output(rows=[Row({"PM2.5": 1.0})]), "'PM2.5' is no name"),
        (Output(rows=[Row({"v" * 65: 1.0})]), "is no name"),
        (Output(rows=[Row({"v\n": 1.0})]), "'v\\n' is no name"),
        (Output(rows=[Row({7: 1.0})]), "7 is no name"),  # type: ignore[dict-item]
        (Output(rows=[Row({}, {"v": "bad"})]), "'bad' is no quality"),  # type: ignore[dict-item]
        (Output(rows=[Row({f"m{n}": n for n in range(MAX_METRICS + 1)})]), "metrics in a row"),
        (Output(position={"x": ANY}), "position"),
        (Output(position={"x": "x" * LARGEST_POSITION}), "position"),
        (Output(position=[1]), "position"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_recorded_is_named_in_one_line(output: Output, says: str) -> None:
    found = flaw(output)
    assert says in found
    assert found.isprintable()
