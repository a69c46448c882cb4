"""What goes and what stays: by age, and when the disk runs full."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from lamplighter_hub.series import expiry, manifest, rollups
from lamplighter_hub.series.ages import Ages, Policy
from lamplighter_hub.series.duckdb import DuckDbSeries, Keep, Limits, Rules, open_duckdb
from lamplighter_hub.series.engine import Engine
from lamplighter_hub.series.expiry import Expiry
from lamplighter_hub.series.manifest import DAY, HOUR
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Commit, SeriesError, StoredEvent
from lamplighter_protocols.profile import Aggregation, Retention
from suites.series.make import T0, column, damaged_files, everything, flat, put

MIDNIGHT = T0 // DAY * DAY
NOW = MIDNIGHT + 10 * DAY
RULES = Rules(grace_ms=0, share=1.0, every_s=3600)


def opened(folder: Path, keep: Keep) -> DuckDbSeries:
    return open_duckdb(folder, Limits(), RULES, lambda: NOW, keep)


def kept(**days: int) -> Policy:
    """Everything is standard, and kept so long."""
    return Policy({Retention.STANDARD: Ages(**days)}, lambda *_: Retention.STANDARD, lambda *_: Retention.STANDARD)


def filled(folder: Path, keep: Keep) -> DuckDbSeries:
    store = opened(folder, keep)
    put(store, column("air-1", "pm25", [(MIDNIGHT + i * HOUR, float(i)) for i in range(10 * 24)]))
    store.seal()
    return store


def means(store: DuckDbSeries, width_ms: int = DAY) -> list[float | None]:
    found = store.buckets("air-1", "pm25", BEGINNING, END_OF_TIME, width_ms=width_ms, aggregation=Aggregation.MEAN)
    return [bucket.mean for bucket in found]


DAYS = [11.5 + 24 * day for day in range(10)]


def test_everything_is_kept_unless_told(tmp_path: Path) -> None:
    store = filled(tmp_path, Keep())
    store.expire(kept(), NOW)
    assert len(everything(store, "air-1")) == 240
    gone = store.facts()["gone"]
    assert {name: value for name, value in gone.items() if value} == {}
    store.close()


def test_raw_points_go_and_their_roll_ups_stay(tmp_path: Path) -> None:
    store = filled(tmp_path, Keep())
    store.expire(kept(raw=3), NOW)
    for _ in range(2):
        assert [item.value for item in everything(store, "air-1")] == [float(i) for i in range(168, 240)]
        assert means(store) == DAYS
        assert len(means(store, HOUR)) == 240
        assert store.counts().points == 240
        assert len(list((tmp_path / "series").rglob("*.parquet"))) == 3
        assert store.facts()["damaged"] == []
        store.close()
        store = opened(tmp_path, Keep())
    put(store, column("air-1", "pm25", [(MIDNIGHT, 100.0)]))
    assert means(store)[0] == pytest.approx((sum(range(24)) + 100) / 25)
    store.seal()
    assert means(store)[0] == pytest.approx((sum(range(24)) + 100) / 25), "late data counts beside mere roll-ups"
    assert store.latest(["air-1"])["air-1"]["pm25"].value == 239.0
    store.close()


def test_roll_ups_go_after_their_days(tmp_path: Path) -> None:
    store = filled(tmp_path, Keep())
    store.expire(kept(raw=3, minute=5, hour=5, day=5), NOW)
    assert means(store) == DAYS[5:]
    store.close()
    store = opened(tmp_path, Keep())
    assert means(store) == DAYS[5:]
    assert store.counts().points == 240
    assert len(list((tmp_path / "rollups").rglob("*.parquet"))) == 10
    store.close()


def test_a_disk_that_runs_full_loses_the_oldest_raw_points_and_then_takes_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path, Keep(free_bytes=10_000_000))
    sizes = {path: path.stat().st_size for path in (tmp_path / "series").rglob("*.parquet")}
    room = [10_000_000 - 1]

    def free(_: Engine) -> int:
        return room[0] + sum(size for path, size in sizes.items() if not path.exists())

    store._guard._free = free
    put(store, column("air-1", "pm25", [(NOW, 1.0)]))
    assert [item.value for item in everything(store, "air-1")] == [*[float(i) for i in range(24, 240)], 1.0]
    assert means(store)[:-1] == DAYS
    gone = store.facts()["gone"]
    assert (gone["for_room"], gone["for_room_at"]) == (1, NOW)
    assert (gone["for_room_from"], gone["for_room_to"]) == (MIDNIGHT, MIDNIGHT + 23 * HOUR + 1)
    assert gone["for_room_bytes"] == gone["bytes"] > 0
    assert store.facts()["refusing"] == ""
    room[0] = 0
    with pytest.raises(SeriesError, match="the disk has less than 9 MB left and nothing may go"):
        put(store, column("air-1", "pm25", [(NOW + 1, 2.0)]))
    assert "nothing may go" in store.facts()["refusing"]
    assert [item.value for item in everything(store, "air-1")] == [1.0]
    assert means(store)[:-1] == DAYS
    room[0] = 10_000_000
    put(store, column("air-1", "pm25", [(NOW + 2, 3.0)]))
    assert [item.value for item in everything(store, "air-1")] == [1.0, 3.0]
    assert store.facts()["refusing"] == ""
    store.close()


def test_a_commit_in_doubt_is_not_taken_for_done_because_old_data_went(tmp_path: Path) -> None:
    store = filled(tmp_path, Keep())
    store.commit(Commit(events=[StoredEvent("air-1", MIDNIGHT, "door", {}), StoredEvent("air-1", NOW, "door", {})]))
    before = store._sizes.rows()
    store.expire(kept(raw=5, minute=5, hour=5, day=5, events=5), NOW)
    assert [event.t for event in store.events(None, None, BEGINNING, END_OF_TIME, limit=9)[0]] == [NOW]
    store._engine.drop()
    store._reopen()
    assert store._sizes.rows() == before
    store.close()


SMALL = """
import json, random, sys
from pathlib import Path
from hub.series.test_retention import MIDNIGHT, RULES
from lamplighter_hub.series.duckdb import Keep, Limits, open_duckdb
from lamplighter_hub.series.manifest import HOUR
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, SeriesError
from suites.series.make import column, flat, put

disk = Path(sys.argv[1])
(disk / "store").mkdir()
dice = random.Random(3)
now = [MIDNIGHT]
store = open_duckdb(disk / "store", Limits(), RULES, lambda: now[0], Keep(free_bytes=28_000_000))
hours = 0
while store.facts()["gone"]["for_room"] < 3:
    assert hours < 200, "the guard never acted"
    put(store, column("air-1", "pm25", [(now[0] + i * 36, dice.random()) for i in range(100_000)]))
    now[0] += HOUR
    hours += 1
    store.seal()
gone = store.facts()["gone"]
kept = sum(len(chunk) for chunk in store.export_readings([], [], BEGINNING, END_OF_TIME))
other = disk / "somebody-else"
refused = ""
with other.open("wb", buffering=0) as file:
    for t in range(100):
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
        try:
            put(store, column("air-1", "pm25", [(now[0] + t, 1.0)]))
        except SeriesError as error:
            refused = str(error)
            break
said = store.facts()["refusing"]
other.unlink()
put(store, column("air-1", "pm25", [(now[0] + 1000, 2.0)]))
print(json.dumps({"hours": hours, "gone": gone, "kept": kept, "refused": refused, "said": said,
    "after": store.facts()["refusing"], "points": store.counts().points,
    "last": store.latest(["air-1"])["air-1"]["pm25"].value}))
store.close()
"""


def test_a_small_disk_that_runs_full(tmp_path: Path) -> None:
    """On a file system of 40 MB of its own: the oldest goes, then nothing is taken, and it goes on by itself."""
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a file system of his own")
    inside = f'mount -t tmpfs -o size=40m none "{tmp_path}" && exec "$@"'
    ran = subprocess.run(
        [*mount, inside, "sh", sys.executable, "-c", SMALL, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    gone = found["gone"]
    assert gone["for_room"] >= 3
    assert gone["for_room_bytes"] > 1_000_000
    assert gone["for_room_from"] == MIDNIGHT
    assert found["kept"] == found["hours"] * 100_000 - gone["points"]
    assert "the disk has less than 26 MB left and nothing may go: make room" in found["refused"] == found["said"]
    assert found["after"] == ""
    assert found["last"] == 2.0


# files of several classes


def by_metric(_: str, metric: str) -> Retention:
    return Retention(metric)


MIXED = Policy(
    {Retention.SHORT: Ages(raw=2, minute=4, hour=6, day=8), Retention.STANDARD: Ages(raw=5)}, by_metric, by_metric
)


def mixed(folder: Path, rules: Rules = RULES) -> DuckDbSeries:
    """Ten days of each class, with two readings at each time."""
    store = open_duckdb(folder, Limits(), rules, lambda: NOW, Keep())
    times = [MIDNIGHT + i * HOUR for i in range(10 * 24) for _ in "ab"]
    put(store, *[column("air-1", name, [(t, float(i)) for i, t in enumerate(times)]) for name in Retention])
    store.seal()
    return store


def all_answers(store: DuckDbSeries) -> list[object]:
    """Everything that can be asked for."""
    found: list[object] = [flat(store.export_readings([], [], BEGINNING, END_OF_TIME)), store.counts()[:3]]
    for name in Retention:
        found += [
            store.buckets("air-1", name, BEGINNING, END_OF_TIME, width_ms=width, aggregation=Aggregation.LAST)
            for width in (HOUR, DAY)
        ]
        found.append(store.span("air-1", name, BEGINNING, END_OF_TIME))
    return found


def names(store: DuckDbSeries, folder: Path) -> None:
    """Assert that exactly the files which the manifest names are there."""
    with store._engine.read() as db:
        named = {folder / item.path for item in manifest.known(db)} | rollups.paths(db, folder)
    assert set(folder.rglob("*.parquet*")) == named


def test_a_file_of_several_classes_is_left_in_parts(tmp_path: Path) -> None:
    store = mixed(tmp_path)
    store.expire(MIXED, NOW)
    raw = {name: [item.t for item in everything(store, "air-1", name)] for name in Retention}
    assert {name: len(times) for name, times in raw.items()} == {"short": 96, "standard": 240, "long": 480}
    names(store, tmp_path)
    assert damaged_files(store) == []
    before = all_answers(store)
    store.close()
    store = opened(tmp_path, Keep())
    assert all_answers(store) == before
    store.expire(MIXED, NOW + DAY)
    assert len(everything(store, "air-1", "short")) == 48
    there = sum(path.stat().st_size for path in (tmp_path / "series").rglob("*.parquet"))
    assert store.facts()["sealed_bytes"] == there
    store.close()


def test_nothing_is_looked_at_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = mixed(tmp_path)
    looked: list[int] = []
    span = Expiry._span

    def looking(self: Expiry, begin: int, *given: Any) -> None:
        looked.append(begin)
        span(self, begin, *given)

    monkeypatch.setattr(Expiry, "_span", looking)
    store.expire(MIXED, NOW)
    assert looked == [MIDNIGHT + day * DAY for day in range(8)]
    looked.clear()
    store.expire(MIXED, NOW + HOUR)
    assert looked == []
    store.expire(MIXED, NOW + DAY)
    assert looked == [MIDNIGHT + day * DAY for day in (2, 4, 5, 6, 8)], "where one class has passed an age"
    looked.clear()
    store.expire(kept(raw=1), NOW + DAY)
    assert looked == [MIDNIGHT + day * DAY for day in range(10)], "a metric may get another class"
    store.close()


def test_files_of_an_hour_keep_the_order_of_their_arrival(tmp_path: Path) -> None:
    rules = RULES._replace(small_day=0, large=10, patches=5)
    store = open_duckdb(tmp_path, Limits(), rules, lambda: NOW, Keep())
    for late in range(3):
        points = [(MIDNIGHT, float(late))] * (100 if late == 0 else 1)
        put(store, *[column("air-1", name, points) for name in ("short", "long")][late % 2 :])
        store.seal()
    assert len(list((tmp_path / "series").rglob("*.parquet"))) == 3
    before = [item.value for item in everything(store, "air-1", "long")]
    store.expire(MIXED, MIDNIGHT + 4 * DAY)
    assert everything(store, "air-1", "short") == []
    assert [item.value for item in everything(store, "air-1", "long")] == before
    put(store, column("air-1", "long", [(MIDNIGHT, 9.0)]))
    store.seal()
    assert [item.value for item in everything(store, "air-1", "long")] == [*before, 9.0]
    store.close()


class Crash(BaseException):
    """As if the process ended here: nothing tidies up."""


STEPS = ["copy_raw", "copy_rolled", "make_durable", "after_rename", "swap", "keep_day", "add", "commit", "retire"]


def crash_in(store: DuckDbSeries, step: str, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pass end when it comes to a step for the nth time."""
    places = {
        "copy_raw": (store._expiry, "_copy_raw"),
        "copy_rolled": (store._expiry, "_copy_rolled"),
        "make_durable": (manifest, "make_durable"),
        "after_rename": (manifest, "make_durable"),
        "swap": (store._expiry, "_swap"),
        "keep_day": (rollups, "keep_day"),
        "add": (manifest, "add"),
        "commit": (expiry, "_forget_days"),
        "retire": (store._readers, "retire"),
    }
    where, name = places[step]
    whole = getattr(where, name)
    left = [nth]

    def crashing(*given: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] < 0 and step != "after_rename":
            raise Crash
        found = whole(*given, **named)
        if left[0] < 0:
            raise Crash
        return found

    monkeypatch.setattr(where, name, crashing)


@pytest.fixture(scope="module")
def ten_days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object]]:
    """The folder of a store before anything is let go, and what it answers afterwards."""
    folder = tmp_path_factory.mktemp("ten-days")
    (folder / "before").mkdir()
    mixed(folder / "before").close()
    shutil.copytree(folder / "before", folder / "after")
    store = opened(folder / "after", Keep())
    store.expire(MIXED, NOW)
    answers = all_answers(store)
    store.close()
    return folder / "before", answers


@pytest.mark.parametrize(
    ("step", "nth"), [(step, nth) for step in STEPS for nth in (0, 1) if (step, nth) != ("commit", 1)]
)
def test_a_crash_in_the_rewriting_loses_and_doubles_nothing(
    step: str, nth: int, ten_days: tuple[Path, list[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, whole = ten_days
    shutil.copytree(before, tmp_path / "live")
    store = opened(tmp_path / "live", Keep())
    with monkeypatch.context() as patch:
        crash_in(store, step, nth, patch)
        with pytest.raises(Crash):
            store.expire(MIXED, NOW)
    shutil.copytree(tmp_path / "live", tmp_path / "left")  # what a power cut leaves: the log as it is, no checkpoint
    again = opened(tmp_path / "left", Keep())
    names(again, tmp_path / "left")
    assert damaged_files(again) == []
    again.expire(MIXED, NOW)
    assert all_answers(again) == whole
    names(again, tmp_path / "left")
    again.close()
    store.close()


def test_a_full_disk_ends_a_pass_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = mixed(tmp_path)
    before = all_answers(store)

    def full(*_: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "make_durable", full)
        with pytest.raises(SeriesError, match=r"series/2026/.* could not be let go: .*No space left"):
            store.expire(Policy({Retention.SHORT: Ages(raw=2)}, by_metric, by_metric), NOW)
    assert all_answers(store) == before
    names(store, tmp_path)
    store.expire(MIXED, NOW)
    assert len(everything(store, "air-1", "short")) == 96
    store.close()


def test_what_the_disk_guard_took_meanwhile_is_not_brought_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = mixed(tmp_path)
    held = store._guard.held
    with store._engine.read() as db:
        every = manifest.known(db)

    def first() -> Any:
        store._guard._thin(every)
        monkeypatch.setattr(store._guard, "held", held)
        return held()

    monkeypatch.setattr(store._guard, "held", first)
    with pytest.raises(SeriesError):
        store.expire(Policy({Retention.SHORT: Ages(raw=2)}, by_metric, by_metric), NOW)
    assert everything(store, "air-1") == []
    names(store, tmp_path)
    store.expire(MIXED, NOW)
    assert store.span("air-1", "long", BEGINNING, END_OF_TIME).points == 480
    names(store, tmp_path)
    store.close()


def test_readers_see_one_state_while_classes_go(tmp_path: Path) -> None:
    store = mixed(tmp_path)
    done = threading.Event()
    wrong: list[int] = []

    def look() -> None:
        while not done.is_set():
            points = sum(
                bucket.count
                for bucket in store.buckets(
                    "air-1", "standard", BEGINNING, END_OF_TIME, width_ms=DAY, aggregation=Aggregation.MEAN
                )
            )
            whole = len(everything(store, "air-1", "long"))
            wrong.extend(found for found in (points, whole) if found != 480)

    reader = threading.Thread(target=look)
    reader.start()
    for day in range(12):
        store.expire(MIXED, MIDNIGHT + day * DAY)
    done.set()
    reader.join()
    assert wrong == []
    store.close()
