"""Gathered hours answer like those of each file, and count no more as soon as these say something else."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lamplighter_hub.series import filing, manifest, queries, rollups, rows
from lamplighter_hub.series.ages import Ages, Policy
from lamplighter_hub.series.duckdb import DuckDbSeries, Limits, Rules, open_duckdb
from lamplighter_hub.series.engine import EngineError
from lamplighter_hub.series.manifest import DAY, GATHER, HOUR, Gathered
from lamplighter_hub.series.store import Bucket, SeriesError
from lamplighter_protocols.profile import Aggregation, Retention
from lamplighter_protocols.readings import Quality
from suites.series.make import T0, column, put

FIRST = T0 // GATHER * GATHER
DAYS = 20
RULES = Rules(grace_ms=0, small_day=1_000_000, large=4, patches=2, gather=1, share=1.0, every_s=3600)


class Clock:
    def __init__(self) -> None:
        self.now = FIRST + DAYS * DAY

    def __call__(self) -> int:
        return self.now


def opened(folder: Path, clock: Callable[[], int]) -> DuckDbSeries:
    return open_duckdb(folder, Limits(), RULES, clock)


def filled(folder: Path, clock: Callable[[], int]) -> DuckDbSeries:
    """Return a store with 20 days, some points every second hour, sealed and gathered."""
    store = opened(folder, clock)
    for metric in ("a", "b"):
        points = [(FIRST + n * HOUR // 2, float(n % 97)) for n in range(DAYS * 48) if n % 4 < 3]
        put(store, column("air-1", metric, points))
    store.seal()
    return store


def charts(store: DuckDbSeries, metric: str = "a") -> list[list[Bucket]]:
    """Ask for all that hours serve."""
    begin, end = FIRST - 5 * HOUR + 7, FIRST + DAYS * DAY + 3 * HOUR
    return [
        store.buckets("air-1", metric, begin, end, width_ms=width, aggregation=aggregation)
        for width in (HOUR, 5 * HOUR, 12 * HOUR, DAY)
        for aggregation in (Aggregation.MEAN, Aggregation.LAST)
    ]


def raw(store: DuckDbSeries, metric: str = "a") -> list[list[Bucket]]:
    """Answer the same from raw points."""
    number = store._names.metrics("air-1")[metric]
    asked = {"series": number, "start": FIRST - 5 * HOUR + 7, "end": FIRST + DAYS * DAY + 3 * HOUR}
    return [
        [rows.bucket(row) for row in store._questions.ask(queries.buckets(how), {**asked, "width": width}, [number])]
        for width in (HOUR, 5 * HOUR, 12 * HOUR, DAY)
        for how in (Aggregation.MEAN, Aggregation.LAST)
    ]


def gathered(store: DuckDbSeries) -> list[Gathered]:
    with store._engine.read() as db:
        return [item for item in manifest.every_gathered(db) if item.upto >= 0]


def tidy(store: DuckDbSeries, folder: Path) -> None:
    """Expect exactly the files that the manifest names."""
    with store._engine.read() as db:
        named = {folder / item.path for item in manifest.known(db)} | rollups.paths(db, folder)
    assert set(folder.rglob("*.parquet*")) == named


def test_a_chart_reads_gathered_hours_and_none_of_a_file(tmp_path: Path) -> None:
    store = filled(tmp_path, Clock())
    before = charts(store)
    assert before == raw(store)
    for path in (tmp_path / "rollups" / "hour").rglob("*.parquet"):
        path.unlink()
    assert charts(store) == before
    tidied = [item.path for item in gathered(store)]
    assert [path.rpartition("/")[0] for path in tidied] == sorted(path.rpartition("/")[0] for path in tidied)
    assert len(tidied) == 2
    store.close()


def test_many_series_are_gathered_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter_hub.series.gathering.PART", 400)
    store = filled(tmp_path, Clock())
    assert [(item.low, item.high) for item in gathered(store)] == [(0, 1), (0, 0), (1, 1)]
    assert [charts(store, name) for name in ("a", "b")] == [raw(store, name) for name in ("a", "b")]
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_answers_are_those_of_raw_points(seed: int, tmp_path: Path) -> None:
    dice, clock = random.Random(seed), Clock()
    store = filled(tmp_path, clock)
    for _ in range(8):
        match dice.randrange(4):
            case 0:
                clock.now += DAY
            case 1:
                store.close()
                store = opened(tmp_path, clock)
            case _:
                late = [
                    (FIRST + dice.randrange(DAYS * 48) * HOUR // 2, dice.choice([1.0, 0.5, 200.0]))
                    for _ in range(dice.randint(1, 4))
                ]
                flags = [dice.choice([None, Quality.SUSPECT]) for _ in late]
                put(store, column("air-1", "a", late, flags))
        if dice.random() < 0.7:
            store.seal()
        same(charts(store), raw(store))
        tidy(store, tmp_path)
    store.close()


def same(found: list[list[Bucket]], expected: list[list[Bucket]]) -> None:
    for one, two in zip(found, expected, strict=True):
        assert [replace(item, mean=None) for item in one] == [replace(item, mean=None) for item in two]
        assert [item.mean for item in one] == pytest.approx([item.mean for item in two], rel=1e-12)


def test_only_the_day_of_late_points_is_read_beside_what_is_gathered(tmp_path: Path) -> None:
    clock = Clock()
    store = filled(tmp_path, clock)
    day = FIRST + 3 * DAY
    for _ in range(2):
        put(store, column("air-1", "a", [(day + n * HOUR, 5.0) for n in range(24)]))
        store.seal()
        assert sorted(item.begin for item in gathered(store)) == [FIRST, FIRST + GATHER]
        same(charts(store), raw(store))
        tidy(store, tmp_path)
    before = charts(store)
    for path in rolled_hours(store, tmp_path, but=day):
        path.unlink()
    assert charts(store) == before, "no other file of hours is read"
    store.close()


def rolled_hours(store: DuckDbSeries, folder: Path, but: int) -> list[Path]:
    with store._engine.read() as db:
        known = manifest.known(db)
    return [folder / rollups.companion(item, HOUR) for item in known if item.begin // DAY * DAY != but]


def test_a_span_is_gathered_anew_when_late_points_changed_many_of_its_files(tmp_path: Path) -> None:
    clock = Clock()
    store = filled(tmp_path, clock)
    old = gathered(store)
    put(store, column("air-1", "a", [(FIRST + 3 * DAY + n * HOUR, 5.0) for n in range(24)]))
    store.seal()
    assert gathered(store) == old, "not twice a day"
    clock.now += DAY
    store.seal()
    assert sorted(item.begin for item in gathered(store)) == [FIRST, FIRST + GATHER]
    assert {item.seq for item in old}.isdisjoint(item.seq for item in gathered(store)[-1:])
    with store._engine.read() as db:
        assert manifest.stale(db, FIRST, FIRST + DAYS * DAY) == []
    same(charts(store), raw(store))
    tidy(store, tmp_path)
    store.close()


def test_a_store_that_gathered_nothing_is_taken_over(tmp_path: Path) -> None:
    clock = Clock()
    store = filled(tmp_path, clock)
    before = charts(store)
    store.close()
    with duckdb.connect(str(tmp_path / "series.duckdb")) as old:
        old.execute("DROP TABLE gathered")
        old.execute("DROP TABLE stale")
        old.execute("UPDATE meta SET value = 3 WHERE name = 'schema'")
        facts = old.execute("SELECT * FROM meta ORDER BY name").fetchall()
    store = opened(tmp_path, clock)
    assert charts(store) == before
    assert gathered(store) == []
    store.seal()
    assert len(gathered(store)) == 2
    assert charts(store) == before
    tidy(store, tmp_path)
    store.close()
    with duckdb.connect(str(tmp_path / "series.duckdb")) as now:
        names = now.execute("SELECT name FROM meta ORDER BY name").fetchall()
    assert names == [(name,) for name, _ in facts]


@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_a_damaged_file_is_made_anew_of_the_hours_of_each_file(how: str, tmp_path: Path) -> None:
    clock = Clock()
    store = filled(tmp_path, clock)
    before = charts(store)
    path = tmp_path / gathered(store)[0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x20
    path.unlink()
    if how == "flipped":
        path.write_bytes(content)
    found = [item for item in store.check() if item.fault]
    assert [(item.path, item.rebuilt) for item in found] == [(str(path.relative_to(tmp_path)), True)]
    assert charts(store) == before
    clock.now += DAY
    store.seal()
    assert len(gathered(store)) == 2
    assert charts(store) == before
    assert [item for item in store.check() if item.fault] == []
    store.close()


def test_a_chart_that_meets_damage_goes_on_without_it(tmp_path: Path) -> None:
    store = filled(tmp_path, Clock())
    before = charts(store)
    (tmp_path / gathered(store)[0].path).write_bytes(b"")
    assert charts(store) == before
    store.close()


@pytest.mark.parametrize("late", [0, 1, 2], ids=["in_time", "late", "late_twice"])
def test_what_goes_by_age_is_not_kept_in_gathered_hours(late: int, tmp_path: Path) -> None:
    clock = Clock()
    store = filled(tmp_path, clock)
    for turn in range(late):
        put(store, column("air-1", "a", [(FIRST + DAY + n * HOUR + turn, 5.0) for n in range(24)]))
        store.seal()
    classes = {"a": Retention.SHORT, "b": Retention.LONG}
    ages = {Retention.SHORT: Ages(raw=1, minute=1, hour=2), Retention.LONG: Ages(), Retention.STANDARD: Ages()}
    expected = charts(store, "b")
    store.expire(Policy(ages, lambda _, name: classes[name], lambda _, __: Retention.LONG), clock.now)
    assert charts(store, "b") == expected
    clock.now += DAY
    store.seal()
    tidy(store, tmp_path)
    with duckdb.connect() as bare:
        held = f"SELECT series, min(t) FROM '{tmp_path}/rollups/gathered/**/*.parquet' GROUP BY series ORDER BY series"  # noqa: S608
        assert bare.execute(held).fetchall() == [(0, FIRST + (DAYS - 2) * DAY), (1, FIRST)]
    assert charts(store, "b") == expected
    store.close()


@pytest.mark.parametrize("step", ["copy", "finish", "gather"])
def test_a_crash_or_a_full_disk_harms_nothing(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, live, left = Clock(), tmp_path / "live", tmp_path / "left"
    live.mkdir()
    store = filled(live, clock)
    clock.now += DAY
    put(store, column("air-1", "a", [(FIRST + n * HOUR, 5.0) for n in range(24)]))
    module = manifest if step == "gather" else filing

    kept = getattr(module, step)

    def full(*given: Any) -> Any:
        if step != "gather" and "gathered" not in str(given):
            return kept(*given)
        raise OSError("No space left on device") if step == "finish" else EngineError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, step, full)
        with pytest.raises(SeriesError, match="No space left"):
            store.seal()
    same(charts(store), raw(store))
    tidy(store, live)
    shutil.copytree(live, left)
    again = opened(left, clock)
    again.seal()
    same(charts(again), raw(again))
    assert len(gathered(again)) == 2
    tidy(again, left)
    again.close()
    store.close()
