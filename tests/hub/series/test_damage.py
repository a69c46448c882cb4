"""Damage to each kind of file: found by its checksum, named, left out or made anew, and said in every answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.series.test_retention import MIDNIGHT, NOW, RULES, kept, means
from lamplighter_hub.series import rollups
from lamplighter_hub.series.duckdb import DuckDbSeries, Keep, Limits, open_duckdb
from lamplighter_hub.series.manifest import DAY, HOUR
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Damaged
from lamplighter_protocols.profile import Aggregation
from suites.series.make import column, damaged_files, everything, put

WHOLE = [11.5 + 24 * day for day in range(3)]
KINDS = ["series", "rollups/minute", "rollups/hour"]


def opened(folder: Path) -> DuckDbSeries:
    return open_duckdb(folder, Limits(), RULES, lambda: NOW, Keep())


def filled(folder: Path) -> DuckDbSeries:
    store = opened(folder)
    put(store, column("air-1", "pm25", [(MIDNIGHT + i * HOUR, float(i)) for i in range(3 * 24)]))
    store.seal()
    return store


def flip(path: Path, place: int) -> bytes:
    """Change a byte at a hundredth of a file; return what was there."""
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) * place // 100] ^= 0x20
    path.write_bytes(changed)
    return whole


def hourly(store: DuckDbSeries) -> list[float | None]:
    return means(store, HOUR)


def minutely(store: DuckDbSeries) -> int:
    found = store.buckets("air-1", "pm25", BEGINNING, END_OF_TIME, width_ms=60_000, aggregation=Aggregation.MEAN)
    return len(found)


@pytest.mark.parametrize("place", [1, 30, 60, 99])
@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_byte_is_found_and_roll_ups_are_made_anew(kind: str, place: int, tmp_path: Path) -> None:
    store = filled(tmp_path)
    path = tmp_path / kind / "2026/11/24/day-2.parquet"
    whole = flip(path, place)
    found = [item for item in store.check() if item.fault]
    assert [item.path for item in found] == [f"{kind}/2026/11/24/day-2.parquet"]
    fault = found[0].fault
    assert fault is not None
    assert (fault.start, fault.end, fault.points) == (MIDNIGHT + DAY, MIDNIGHT + DAY + 23 * HOUR + 1, 24)
    assert found[0].rebuilt == (kind != "series")
    if kind == "series":
        assert damaged_files(store) == store.facts()["damaged"] == ["series/2026/11/24/day-2.parquet"]
        assert store.damaged(["air-1"], [], BEGINNING, END_OF_TIME) == [fault]
        assert store.damaged(["air-1"], [], BEGINNING, MIDNIGHT + DAY) == []
        assert store.damaged(["air-2"], [], BEGINNING, END_OF_TIME) == []
        assert means(store) == WHOLE, "its roll-ups are whole, and stand for it"
        assert len(everything(store, "air-1")) == 48
        path.write_bytes(whole)
    assert damaged_files(store) == store.facts()["damaged"] == []
    assert means(store) == WHOLE
    assert len(hourly(store)) == minutely(store) == len(everything(store, "air-1")) == 72
    store.close()


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("how", ["gone", "cut", "nulls"])
def test_a_chart_over_damaged_roll_ups_is_made_of_raw_points(kind: str, how: str, tmp_path: Path) -> None:
    store = filled(tmp_path)
    path = tmp_path / kind / "2026/11/24/day-2.parquet"
    content = path.read_bytes()
    match how:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(content[:100])
        case _:
            path.write_bytes(content[:4] + bytes(len(content) - 4))
    assert len(hourly(store)) == minutely(store) == 72
    assert store.damaged(["air-1"], [], BEGINNING, END_OF_TIME) == []
    put(store, column("air-1", "pm25", [(MIDNIGHT + DAY, 100.0)]))
    store.seal()
    assert means(store) == [WHOLE[0], pytest.approx((sum(range(24, 48)) + 100) / 25), WHOLE[2]]
    assert damaged_files(store) == []
    store.close()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_what_nothing_can_make_anew_is_said(kind: str, tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.expire(kept(raw=1), NOW)
    path = tmp_path / kind / "2026/11/24/day-2.parquet"
    flip(path, 50)
    assert damaged_files(store) == [f"{kind}/2026/11/24/day-2.parquet"]
    level = rollups.MINUTE if "minute" in kind else HOUR
    lost = Damaged(f"{kind}/2026/11/24/day-2.parquet", MIDNIGHT + DAY, MIDNIGHT + DAY + 23 * HOUR + 1, 24, level)
    assert store.damaged([], [], BEGINNING, END_OF_TIME) == [lost]
    assert len(hourly(store) if level == HOUR else range(minutely(store))) == 48
    assert means(store) == WHOLE, "days stand in a table of their own"
    store.close()
    store = opened(tmp_path)
    assert store.facts()["damaged"] == [lost.path]
    store.close()


def test_missing_roll_ups_are_named_at_the_start_and_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(tmp_path)
    store.close()
    path = tmp_path / "rollups/hour/2026/11/24/day-2.parquet"
    whole = path.read_bytes()
    path.unlink()
    store = opened(tmp_path)
    assert "rollups/hour/2026/11/24/day-2.parquet is damaged" in caplog.text
    assert store.facts()["damaged"] == ["rollups/hour/2026/11/24/day-2.parquet"]
    assert damaged_files(store) == []
    assert path.read_bytes() == whole
    assert "made anew of its raw points" in caplog.text
    store.close()


def test_a_check_goes_on_where_it_stopped_and_sees_what_is_new(tmp_path: Path) -> None:
    store = filled(tmp_path)
    every = list(store.check())
    assert [item.path for item in every[:3]] == [f"{kind}/2026/11/23/day-1.parquet" for kind in KINDS]
    assert store.check_size() == (9, sum(item.size for item in every))
    assert [item.path for item in store.check(every[3].place)] == [item.path for item in every[4:]]
    checking = store.check()
    next(checking)
    put(store, column("air-1", "pm25", [(MIDNIGHT, 100.0)]))
    store.seal()
    assert len(list(checking)) == 6, "what was replaced meanwhile is left out, what is new comes the next time"
    assert damaged_files(store) == []
    store.close()


def test_roll_ups_of_an_older_version_get_their_checksum(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with store._engine.transaction() as db:
        db.execute("UPDATE rolled SET size = 0, sha256 = ''")
    assert damaged_files(store) == []
    flip(tmp_path / "rollups/hour/2026/11/24/day-2.parquet", 50)
    assert [item.rebuilt for item in store.check() if item.fault] == [True]
    store.close()
