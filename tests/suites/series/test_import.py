"""What a store exports, every store takes: exactly, and once."""

from __future__ import annotations

from pathlib import Path

from lamplighter_hub.series.importing import Importer
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, TimeSeries
from lamplighter_protocols.readings import Quality, Reading, Value
from suites.series.make import T0, flat
from suites.series.stores import Open

VALUES: list[Value] = [0.1, -0.0, 1.0, True, False, "", "true", "1.0", "a\r\n\x00é", 5e-324]
"""All of them at one time, twice, and then again a moment later."""


def readings(device: str) -> list[Reading]:
    mixed = [Reading(device, "mixed", T0 + place // 20, VALUES[place % 10]) for place in range(40)]
    lost = [Reading(device, "lost", T0 + place, None, Quality.NO_DATA) for place in (1, 1, 2)]
    return [*lost, *mixed]


def held(store: TimeSeries) -> list[str]:
    return [repr(one) for one in flat(store.export_readings([], [], BEGINNING, END_OF_TIME))]


def test_an_export_is_taken_exactly_and_once(store: TimeSeries) -> None:
    made = [*readings("air-1"), *readings("air-2")]
    assert Importer().take(store, made) == (len(made), 0)
    assert held(store) == [repr(one) for one in made]
    assert Importer().take(store, made) == (0, len(made))
    assert held(store) == [repr(one) for one in made]


def test_what_is_there_in_part_is_made_whole(store: TimeSeries) -> None:
    made = readings("air-1")
    Importer().take(store, made[::3])
    assert Importer().take(store, made) == (len(made) - len(made[::3]), len(made[::3]))
    assert sorted(held(store)) == sorted(repr(one) for one in made)


def test_what_was_imported_is_there_after_a_start(open_store: Open, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    Importer().take(store, readings("air-1"))
    before = held(store)
    store.close()
    store = open_store(tmp_path)
    assert Importer().take(store, readings("air-1")) == (0, len(before))
    assert held(store) == before
    store.close()
