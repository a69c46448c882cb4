"""What goes and what stays: by age, and when the disk runs full."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lamplighter_hub.series.duckdb import DuckDbSeries, Keep, Limits, Rules, open_duckdb
from lamplighter_hub.series.engine import Engine
from lamplighter_hub.series.manifest import DAY, HOUR
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, SeriesError
from lamplighter_protocols.profile import Aggregation
from suites.series.make import T0, column, everything, put

MIDNIGHT = T0 // DAY * DAY
NOW = MIDNIGHT + 10 * DAY
RULES = Rules(grace_ms=0, share=1.0, every_s=3600)


def opened(folder: Path, keep: Keep) -> DuckDbSeries:
    return open_duckdb(folder, Limits(), RULES, lambda: NOW, keep)


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
    store.expire()
    assert len(everything(store, "air-1")) == 240
    gone = store.facts()["gone"]
    assert {name: value for name, value in gone.items() if value} == {}
    store.close()


def test_raw_points_go_and_their_roll_ups_stay(tmp_path: Path) -> None:
    keep = Keep(raw_days=3)
    store = filled(tmp_path, keep)
    store.expire()
    for _ in range(2):
        assert [item.value for item in everything(store, "air-1")] == [float(i) for i in range(168, 240)]
        assert means(store) == DAYS
        assert len(means(store, HOUR)) == 240
        assert store.counts().points == 240
        assert len(list((tmp_path / "series").rglob("*.parquet"))) == 3
        assert store.facts()["damaged"] == []
        store.close()
        store = opened(tmp_path, keep)
    put(store, column("air-1", "pm25", [(MIDNIGHT, 100.0)]))
    assert means(store)[0] == pytest.approx((sum(range(24)) + 100) / 25)
    store.seal()
    assert means(store)[0] == pytest.approx((sum(range(24)) + 100) / 25), "late data counts beside mere roll-ups"
    assert store.latest(["air-1"])["air-1"]["pm25"].value == 239.0
    store.close()


def test_roll_ups_go_after_their_days(tmp_path: Path) -> None:
    keep = Keep(raw_days=3, rollup_days=5)
    store = filled(tmp_path, keep)
    store.expire()
    assert means(store) == DAYS[5:]
    store.close()
    store = opened(tmp_path, keep)
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

    store._retention._free = free
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
    store = filled(tmp_path, Keep(rollup_days=5))
    before = store._sizes.rows()
    store.expire()
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
