"""Sealing: what a person or another program finds in the files, late data, crashes at every step, damage, readers."""

from __future__ import annotations

import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lamplighter_hub.series import manifest, sealing
from lamplighter_hub.series.duckdb import DuckDbSeries, Limits, Rules, open_duckdb
from lamplighter_hub.series.manifest import DAY, HOUR
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Commit, SeriesError
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Quality, Reading
from suites.series.make import T0, column, damaged_files, everything, flat, put
from suites.series.sealed import TINY, YEAR_2040, open_restless

MIDNIGHT = T0 // DAY * DAY
HOURS = Rules(grace_ms=0, small_day=0, share=1.0, every_s=3600)
DAYS = HOURS._replace(small_day=1_000_000)


class Clock:
    def __init__(self, now: int = YEAR_2040) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def opened(folder: Path, rules: Rules = HOURS, clock: Callable[[], int] | None = None) -> DuckDbSeries:
    return open_duckdb(folder, Limits(), rules, clock or Clock())


def sealed(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in (folder / "series").rglob("*.parquet*") if path.name.count(".") == 1
    )


def all_of(store: DuckDbSeries) -> list[Reading]:
    return flat(store.export_readings([], [], BEGINNING, END_OF_TIME))


def test_a_closed_hour_becomes_a_file_and_an_open_one_stays_hot(tmp_path: Path) -> None:
    clock = Clock(MIDNIGHT + 2 * HOUR + 4 * 60_000)
    store = opened(tmp_path, HOURS._replace(grace_ms=5 * 60_000), clock)
    put(store, column("air-1", "pm25", [(MIDNIGHT + i * 60_000, float(i)) for i in range(180)]))
    assert store.seal().points == 60
    assert sealed(tmp_path) == ["series/2026/11/23/00-1.parquet"]
    clock.now += 60_000
    assert store.seal().points == 60
    assert store.seal().points == 0
    assert sealed(tmp_path) == ["series/2026/11/23/00-1.parquet", "series/2026/11/23/01-2.parquet"]
    assert [item.value for item in everything(store, "air-1")] == [float(i) for i in range(180)]
    assert store.counts().points == 180
    store.close()


def test_other_programs_read_the_files(tmp_path: Path) -> None:
    store = opened(tmp_path)
    put(
        store,
        column("kiosk-1", "state", [(T0 + 1, "idle"), (T0 + 2, True), (T0 + 3, None)], [None, None, Quality.NO_DATA]),
        column("air-1", "pm25", [(T0 + 2, 2.5), (T0, -0.0), (T0 + 2, 1.0)]),
    )
    store.seal()
    files = str(tmp_path / "series" / "**" / "*.parquet")
    with duckdb.connect() as bare:
        found = bare.execute(
            f"SELECT device, metric, t, number, truth, text, quality FROM '{files}' ORDER BY series, t, file_row_number"  # noqa: S608
        ).fetchall()
    store.close()
    assert found == [
        ("kiosk-1", "state", T0 + 1, None, None, "idle", 0),
        ("kiosk-1", "state", T0 + 2, None, True, None, 0),
        ("kiosk-1", "state", T0 + 3, None, None, None, 2),
        ("air-1", "pm25", T0, -0.0, None, None, 0),
        ("air-1", "pm25", T0 + 2, 2.5, None, None, 0),
        ("air-1", "pm25", T0 + 2, 1.0, None, None, 0),
    ]
    assert str(found[3][3]) == "-0.0"


def test_late_data_opens_an_hour_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    put(store, column("air-1", "pm25", [(T0, 1.0), (T0 + 5, 2.0), (T0 + 5, 3.0)]))
    store.seal()
    put(store, column("air-1", "pm25", [(T0 + 5, 4.0), (T0 + 1, 1.5)]))
    expected = [1.0, 1.5, 2.0, 3.0, 4.0]
    assert [item.value for item in everything(store, "air-1")] == expected
    assert store.latest(["air-1"])["air-1"]["pm25"].value == 4.0
    assert store.seal().replaced == 1
    assert sealed(tmp_path) == ["series/2026/11/23/23-2.parquet"]
    store.close()
    store = opened(tmp_path)
    assert [item.value for item in everything(store, "air-1")] == expected
    assert store.latest(["air-1"])["air-1"]["pm25"].value == 4.0
    store.close()


def test_few_late_points_beside_a_large_hour_get_a_file_of_their_own(tmp_path: Path) -> None:
    store = opened(tmp_path, HOURS._replace(large=1000, patches=2))
    put(store, column("air-1", "pm25", [(MIDNIGHT + i, float(i)) for i in range(1000)]))
    store.seal()
    for late in range(3):
        put(store, column("air-1", "pm25", [(MIDNIGHT + 7, late + 0.5)]))
        store.seal()
        names = [name.rpartition("/")[2] for name in sealed(tmp_path)]
        assert names == [f"00-{seq}.parquet" for seq in [(1, 2), (1, 2, 3), (4,)][late]]
    found, _ = store.readings("air-1", [], MIDNIGHT + 7, MIDNIGHT + 8, limit=9)
    assert [item.value for item in found] == [7.0, 0.5, 1.5, 2.5]
    store.close()


def test_small_hours_become_a_day(tmp_path: Path) -> None:
    clock = Clock(MIDNIGHT)
    store = opened(tmp_path, DAYS, clock)
    for hour in range(24):
        clock.now = MIDNIGHT + (hour + 1) * HOUR
        put(store, column("air-1", "pm25", [(MIDNIGHT + hour * HOUR + 1, float(hour))]))
        store.seal()
        assert len(sealed(tmp_path)) == (hour + 1 if hour < 23 else 1)
    assert sealed(tmp_path) == ["series/2026/11/23/day-24.parquet"]
    put(store, column("air-1", "pm25", [(MIDNIGHT + 5, 0.5)]))
    store.seal()
    assert sealed(tmp_path) == ["series/2026/11/23/day-25.parquet"]
    assert [item.value for item in everything(store, "air-1")] == [0.0, 0.5, *map(float, range(1, 24))]
    store.close()


def test_hours_of_a_day_that_ends_in_silence_become_a_day(tmp_path: Path) -> None:
    clock = Clock(MIDNIGHT + 3 * HOUR)
    store = opened(tmp_path, DAYS, clock)
    put(store, column("air-1", "pm25", [(MIDNIGHT + hour * HOUR, float(hour)) for hour in range(3)]))
    assert store.seal().written == 3
    clock.now = MIDNIGHT + DAY
    assert store.seal().replaced == 3
    assert store.seal().written == 0
    assert sealed(tmp_path) == ["series/2026/11/23/day-4.parquet"]
    store.close()


def test_times_that_have_no_folder_stay_hot(tmp_path: Path) -> None:
    store = opened(tmp_path)
    odd = [-(2**60), manifest.EARLIEST - 1, YEAR_2040, 2**60]
    put(store, column("air-1", "pm25", [(t, 1.0) for t in [*odd, manifest.EARLIEST, -1, 0]]))
    assert store.seal().points == 3
    assert sealed(tmp_path) == [
        "series/0001/01/01/00-1.parquet",
        "series/1969/12/31/23-2.parquet",
        "series/1970/01/01/00-3.parquet",
    ]
    assert [item.t for item in everything(store, "air-1")] == sorted([*odd, manifest.EARLIEST, -1, 0])
    assert store.seal().written == 0
    store.close()


def test_a_large_hour_is_cut_between_series(tmp_path: Path) -> None:
    store = opened(tmp_path, HOURS._replace(part=100))
    store.commit(Commit([Samples(f"air-{i}", "pm25", range(T0, T0 + 40), [float(i)] * 40) for i in range(10)]))
    assert store.seal().written == 5
    assert Counter(item.device for item in all_of(store)) == {f"air-{i}": 40 for i in range(10)}
    store.close()


# crashes


class Crash(BaseException):
    """As if the process ended here: nothing tidies up."""


STEPS = ["rotate", "write", "fill", "make_durable", "after_rename", "swap_files", "empty", "commit", "retire"]


@contextmanager
def crash_at(store: DuckDbSeries, step: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a pass of sealing end at a step."""

    def crash(*_: Any, **__: Any) -> Any:
        raise Crash

    sealer = store._sealer
    durable = manifest.make_durable

    def after(written: Path, final: Path) -> None:
        durable(written, final)
        raise Crash

    with monkeypatch.context() as patch:
        if step in {"swap_files", "empty"}:
            patch.setattr(sealing, f"_{step}", crash)
        elif step == "make_durable":
            patch.setattr(manifest, "make_durable", crash)
        elif step == "after_rename":
            patch.setattr(manifest, "make_durable", after)
        elif step == "commit":
            patch.setattr(sealing, "_empty", lambda *given: (sealing_empty(*given), crash()))
        elif step == "retire":
            patch.setattr(store._readers, "retire", crash)
        else:
            patch.setattr(sealer, f"_{step}", crash)
        with pytest.raises(Crash):
            store.seal()
        yield


sealing_empty = sealing._empty


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_loses_and_doubles_nothing(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live, left = tmp_path / "live", tmp_path / "left"
    live.mkdir()
    store = opened(live, TINY)
    put(store, *[column(f"air-{i}", "pm25", [(T0 + n * HOUR // 3, float(n)) for n in range(20)]) for i in range(3)])
    store.seal()
    put(store, *[column(f"air-{i}", "pm25", [(T0 + n * HOUR // 5, n + 0.5) for n in range(20)]) for i in range(3)])
    put(store, column("air-0", "pm25", [(YEAR_2040, 9.0)]))
    before = all_of(store)
    counts = store.counts()
    with crash_at(store, step, monkeypatch):
        shutil.copytree(live, left)  # what a power cut leaves: the log as it is, no checkpoint
        assert all_of(store) == before
    again = opened(left, TINY)
    assert all_of(again) == before
    assert again.counts()[:3] == counts[:3]
    with again._engine.read() as db:
        assert sealed(left) == sorted(item.path for item in manifest.known(db))
    again.seal()
    assert all_of(again) == before
    assert again.counts()[:3] == counts[:3]
    put(again, column("air-0", "pm25", [(T0, 7.0)]))
    again.seal()
    assert len(all_of(again)) == len(before) + 1
    again.close()
    store.close()


def test_a_full_disk_ends_a_pass_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    put(store, column("air-1", "pm25", [(T0, 1.0), (T0 + HOUR, 2.0)]))

    def full(*_: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "make_durable", full)
        with pytest.raises(SeriesError, match="No space left"):
            store.seal()
    assert sealed(tmp_path) == []
    assert store.seal().points == 2
    assert [item.value for item in everything(store, "air-1")] == [1.0, 2.0]
    store.close()


def test_a_file_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    store = opened(tmp_path)
    put(store, column("air-1", "pm25", [(T0, 1.0)]))
    store.close()
    with duckdb.connect(str(tmp_path / "series.duckdb")) as old:
        old.execute("ALTER TABLE points_0 RENAME TO points")
        for table in ("hot", "files", "damaged", "newest"):
            old.execute(f"DROP TABLE {table}")
        old.execute("UPDATE meta SET value = 1 WHERE name = 'schema'")
    store = opened(tmp_path)
    put(store, column("air-1", "pm25", [(T0 + 1, 2.0)]))
    store.seal()
    assert [item.value for item in everything(store, "air-1")] == [1.0, 2.0]
    store.close()


def test_a_file_without_checksums_of_roll_ups_is_taken_over(tmp_path: Path) -> None:
    store = opened(tmp_path)
    put(store, column("air-1", "pm25", [(T0, 1.0), (T0 + 1, 2.0)]))
    store.seal()
    store.close()
    with duckdb.connect(str(tmp_path / "series.duckdb")) as old:
        for table in ("rolled", "daily_kept"):
            old.execute(f"DROP TABLE {table}")
        old.execute("DELETE FROM meta WHERE name IN ('forgotten_events', 'last_seq')")
        old.execute("UPDATE meta SET value = 2 WHERE name = 'schema'")
    store = opened(tmp_path)
    assert store.span("air-1", "pm25", BEGINNING, END_OF_TIME).points == 2
    assert len(list((tmp_path / "rollups").rglob("*.parquet"))) == 2
    put(store, column("air-1", "pm25", [(T0 + 2, 3.0)]))
    store.seal()
    assert store.span("air-1", "pm25", BEGINNING, END_OF_TIME).points == 3
    store.close()


# damage


def damage(path: Path, seed: int) -> None:
    numbers = random.Random(seed)
    content = bytearray(path.read_bytes())
    if seed % 3 == 0:
        del content[numbers.randrange(len(content)) :]
    else:
        for _ in range(1 + seed):
            content[numbers.randrange(len(content))] ^= 1 + numbers.randrange(255)
    path.write_bytes(content)


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_is_found_and_named_and_the_rest_is_answered(tmp_path: Path, seed: int) -> None:
    store = opened(tmp_path)
    for hour in range(3):
        points = [(MIDNIGHT + hour * HOUR + i, hour + i / 1000) for i in range(500)]
        put(store, column("air-1", "pm25", points), column("air-2", "pm25", points))
    store.seal()
    path = tmp_path / "series/2026/11/23/01-2.parquet"
    whole = path.read_bytes()
    damage(path, seed)
    if path.read_bytes() == whole:
        pytest.skip("this seed changes nothing")
    assert damaged_files(store) == ["series/2026/11/23/01-2.parquet"]
    assert {item.t // HOUR * HOUR - MIDNIGHT for item in all_of(store)} == {0, 2 * HOUR}
    assert store.latest(["air-1"])["air-1"]["pm25"].value == 2.499
    put(store, column("air-1", "pm25", [(MIDNIGHT + HOUR, 0.0)]))
    store.seal()
    counted = store.span("air-1", "pm25", MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR)
    assert (counted.points, counted.cut) == (501, 0), "its roll-ups are whole, and say how many there were"
    path.write_bytes(whole)
    assert damaged_files(store) == []
    found, _ = store.readings("air-1", [], MIDNIGHT + HOUR, MIDNIGHT + HOUR + 1, limit=9)
    assert [item.value for item in found] == [1.0, 0.0], "in order of arrival"
    store.close()


@pytest.mark.parametrize("seed", range(12))
def test_a_read_that_meets_damage_goes_on_without_it(tmp_path: Path, seed: int) -> None:
    store = opened(tmp_path)
    for hour in range(3):
        put(store, column("air-1", "pm25", [(MIDNIGHT + hour * HOUR + i, hour + i / 1000) for i in range(500)]))
    store.seal()
    path = tmp_path / "series/2026/11/23/01-2.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * seed // 12] if seed % 2 else content[:4] + bytes(len(content) - 4))
    assert {item.t // HOUR * HOUR - MIDNIGHT for item in everything(store, "air-1")} == {0, 2 * HOUR}
    found = store.buckets("air-1", "pm25", BEGINNING, END_OF_TIME, width_ms=30_000, aggregation=Aggregation.MEAN)
    assert [bucket.t - MIDNIGHT for bucket in found] == [0, 2 * HOUR]
    put(store, column("air-1", "pm25", [(MIDNIGHT + 5, 0.0)]))
    store.close()


def test_a_missing_file_is_named_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = opened(tmp_path)
    put(store, column("air-1", "pm25", [(T0, 1.0), (T0 + HOUR, 2.0)]))
    store.seal()
    store.close()
    (tmp_path / "series/2026/11/23/23-1.parquet").unlink()
    store = opened(tmp_path)
    assert "series/2026/11/23/23-1.parquet is damaged" in caplog.text
    assert [item.value for item in everything(store, "air-1")] == [2.0]
    store.close()


# beside readers and the writer


def test_a_replaced_file_stays_until_its_reader_is_done(tmp_path: Path) -> None:
    readers = manifest.Readers()
    old = tmp_path / "old"
    old.write_bytes(b"")
    with readers.reading():
        readers.retire([old])
        with readers.reading():
            assert old.exists()
        assert old.exists()
    assert not old.exists()


def test_sealing_without_a_pause_is_not_seen_by_readers_or_the_writer(tmp_path: Path) -> None:
    store = open_restless(tmp_path)
    numbers = random.Random(11)
    done = threading.Event()
    wrong: list[str] = []

    def look() -> None:
        while not done.is_set():
            found = all_of(store)
            counted = Counter(item.value for item in found)
            if set(counted.values()) - {20}:
                wrong.append(f"{counted}")
            if found != sorted(found, key=lambda item: (item.device, item.metric, item.t)):
                wrong.append("out of order")

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(150):
        hour = MIDNIGHT + numbers.randrange(30) * HOUR
        put(store, column("air-1", "pm25", [(hour + i % 2, float(number)) for i in range(20)]))
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    found = all_of(store)
    assert Counter(item.value for item in found) == dict.fromkeys(map(float, range(150)), 20)
    assert all(one.t < two.t or (one.t, one.value) <= (two.t, two.value) for one, two in pairwise(found)), (
        "equal times are in order of arrival"
    )
    assert store._sealer.trouble == ""
    store.close()


def test_a_clock_that_goes_back_behind_a_sealed_day_doubles_nothing(tmp_path: Path) -> None:
    clock = Clock()
    store = opened(tmp_path, DAYS, clock)
    put(store, column("air-1", "pm25", [(MIDNIGHT + 9 * HOUR, 1.0)]))
    store.seal()
    clock.now = MIDNIGHT + 5 * HOUR
    put(store, column("air-1", "pm25", [(MIDNIGHT + HOUR, 2.0), (MIDNIGHT + 10 * HOUR, 3.0)]))
    store.seal()
    assert [item.value for item in everything(store, "air-1")] == [2.0, 1.0, 3.0]
    assert store.span("air-1", "pm25", MIDNIGHT, MIDNIGHT + DAY).points == 3
    clock.now = YEAR_2040
    store.seal()
    assert store.span("air-1", "pm25", MIDNIGHT, MIDNIGHT + DAY).points == 3
    store.close()
