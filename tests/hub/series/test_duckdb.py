"""The embedded store's own affairs: files that are in use, damaged, torn or full; bounds; memory."""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from lamplighter_hub.series.duckdb import Limits, open_duckdb
from lamplighter_hub.series.store import (
    BEGINNING,
    END_OF_TIME,
    Commit,
    Release,
    SeriesError,
    StoreUnavailable,
)
from lamplighter_protocols.quality import Samples
from services.wait import eventually
from suites.series.make import T0, column, everything, flat, mark, put, refused

HOLD = """
import sys
from pathlib import Path
from lamplighter_hub.series.duckdb import open_duckdb
store = open_duckdb(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
store.close()
"""
FULL = """
import resource, signal, sys
from pathlib import Path
from lamplighter_hub.series.duckdb import open_duckdb
from lamplighter_hub.series.store import SeriesError
from suites.series.make import column, mark
from lamplighter_hub.series.store import Commit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = open_duckdb(Path(sys.argv[1]))
number = 0
def more():
    points = [(number + 1, float(number + 1))] * 1000
    store.commit(Commit([column("air-1", "pm25", points)], marks=[mark(number + 1, number + 1)]))
while number < 20:
    more()
    number += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
failed = 0
while number < 200 and failed < 5:
    try:
        more()
        number += 1
    except SeriesError:
        failed += 1
assert failed == 5, number
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for _ in range(5):
    more()
    number += 1
print(number)
store.close()
"""
EXPORT = """
import resource, sys
from pathlib import Path
from lamplighter_hub.series.duckdb import open_duckdb
from lamplighter_hub.series.exports import readings_csv
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME
store = open_duckdb(Path(sys.argv[1]))
store.counts()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
lines = size = 0
for piece in readings_csv(store.export_readings([], [], BEGINNING, END_OF_TIME)):
    lines += piece.count(b"\\n")
    size += len(piece)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(lines, size, (after - before) // 1024)
store.close()
"""


SEAL = """
import sys
from pathlib import Path
from lamplighter_hub.series.duckdb import Limits, Rules, open_duckdb
from suites.series.make import T0, column
from lamplighter_hub.series.store import Commit
from lamplighter_protocols.quality import Samples
DAY = 86_400_000
begin = T0 // DAY * DAY
store = open_duckdb(Path(sys.argv[1]), Limits(), Rules(share=1.0, every_s=3600), lambda: begin + 2 * DAY)
values = [(number * 7919 % 9973) / 10 for number in range(20_000)]
for first in range(0, 80_000, 20_000):
    times = range(begin + first * 1000, begin + (first + 20_000) * 1000, 1000)
    store.commit(Commit([Samples(f"air-{i}", "pm25", times, values) for i in range(25)]))
status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
def kb(name):
    return int(status.read_text().partition(name)[2].split()[0])
reset.write_text("5")
before = kb("VmRSS:")
done = store.seal()
print(done.points, done.written, (kb("VmHWM:") - before) // 1000)
store.close()
"""


def run(script: str, folder: Path) -> str:
    path = [str(Path(__file__).parents[2]), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", script, folder],
        env={"PYTHONPATH": ":".join(path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_in_use_says_so_in_one_line(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreUnavailable, match=r"series\.duckdb is used by another hub") as refusal:
            open_duckdb(tmp_path)
        assert "\n" not in str(refusal.value)
        holder.communicate("")
    open_duckdb(tmp_path).close()


@pytest.mark.parametrize("content", [b"no database at all", bytes(100_000), b"\0" * 8 + b"DUCK" + b"\xff" * 50_000])
def test_a_damaged_file_says_so_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "series.duckdb").write_bytes(content)
    with pytest.raises(StoreUnavailable, match=r"series\.duckdb cannot be opened") as refusal:
        open_duckdb(tmp_path)
    assert "\n" not in str(refusal.value)
    assert (tmp_path / "series.duckdb").read_bytes() == content, "it is left for whoever repairs it"


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        open_duckdb(tmp_path / "nowhere")


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = open_duckdb(tmp_path)
    store.close()
    store.close()
    with pytest.raises(SeriesError, match="closed"):
        put(store, column("air-1", "pm25", [(1, 1.0)]))
    with pytest.raises(SeriesError, match="closed"):
        store.span("air-1", "pm25", 0, 1) if store.metrics("air-1") else list(store.marks())


def test_a_torn_log_ends_at_the_last_whole_commit(tmp_path: Path) -> None:
    """As after a power cut: the write-ahead log breaks off anywhere."""
    live, torn = tmp_path / "live", tmp_path / "torn"
    live.mkdir()
    store = open_duckdb(live)
    for number in range(1, 31):
        store.commit(
            Commit([column("air-1", f"m{number % 7}", [(number, float(number))] * 20)], marks=[mark(number, number)])
        )
    name = "series.duckdb.wal"
    whole = (live / name).read_bytes()
    seen = set()
    for size in random.Random(3).sample(range(len(whole)), 25):
        shutil.rmtree(torn, ignore_errors=True)
        torn.mkdir()
        shutil.copy(live / "series.duckdb", torn)
        (torn / name).write_bytes(whole[:size])
        cut = open_duckdb(torn)
        points = Counter(item.t for item in flat(cut.export_readings([], [], BEGINNING, END_OF_TIME)))
        numbers = [number for item in cut.marks() for number in range(item.first, item.last + 1)]
        assert points == dict.fromkeys(numbers, 20)
        assert numbers == list(range(1, len(numbers) + 1))
        put(cut, column("air-1", "m1", [(99, 1.0)]))
        cut.close()
        seen.add(len(numbers))
    assert len(seen) > 5
    store.close()


def test_a_full_disk_loses_and_doubles_nothing(tmp_path: Path) -> None:
    last = int(run(FULL, tmp_path))
    store = open_duckdb(tmp_path)
    points = Counter(item.t for item in flat(store.export_readings([], [], BEGINNING, END_OF_TIME)))
    assert points == dict.fromkeys(range(1, last + 1), 1000)
    assert [(item.first, item.last, item.stored) for item in store.marks()] == [(1, last, last)]
    store.close()


def test_a_commit_in_doubt_is_known_again_when_another_comes_first(tmp_path: Path) -> None:
    """An import may come between the failure of ingest's commit and its repetition."""
    store = open_duckdb(tmp_path)
    before = store._sizes.rows()
    doubtful = Commit([column("air-1", "pm25", [(T0, 1.0)])], marks=[mark(1, 1)])
    store.commit(doubtful)
    store._doubtful = (before, doubtful)
    store._engine.drop()
    put(store, column("air-1", "pm25", [(T0 + 1, 2.0)]))
    store.commit(doubtful)
    store.commit(doubtful._replace(marks=[mark(2, 2)]))
    assert [item.value for item in everything(store, "air-1")] == [1.0, 1.0, 2.0]
    store.close()


def test_quarantine_of_an_earlier_version_is_read_and_cannot_be_released(tmp_path: Path) -> None:
    store = open_duckdb(tmp_path)
    store.commit(Commit(quarantined=[refused(1)]))
    store.close()
    with duckdb.connect(str(tmp_path / "series.duckdb")) as db:
        db.execute("ALTER TABLE quarantine DROP COLUMN held; ALTER TABLE quarantine DROP COLUMN release")
    again = open_duckdb(tmp_path)
    again.commit(Commit(quarantined=[refused(2)]))
    assert again.quarantine(None, None, limit=9)[0] == [refused(2), refused(1)]
    again.close()


def test_what_was_released_leaves_quarantine_with_the_oldest(tmp_path: Path) -> None:
    store = open_duckdb(tmp_path, Limits(quarantine_rows=10))
    store.commit(Commit(quarantined=[refused(n) for n in range(10)]))
    store.commit(Commit(releases=[Release(refused(0).id, T0, 5, "x"), Release(refused(9).id, T0, 5, "x")]))
    store.commit(Commit(quarantined=[refused(10)]))
    for _ in range(2):
        counts = store.counts()
        assert (counts.quarantined, counts.quarantine_released, counts.quarantine_evicted) == (8, 1, 2)
        store.close()
        store = open_duckdb(tmp_path, Limits(quarantine_rows=10))
    store.close()


def test_quarantine_keeps_the_newest_within_its_bounds(tmp_path: Path) -> None:
    store = open_duckdb(tmp_path, Limits(quarantine_rows=100, quarantine_bytes=40_000))
    for number in range(0, 1000, 7):
        store.commit(Commit(quarantined=[refused(n, b"x" * (n % 500)) for n in range(number, number + 7)]))
        counts = store.counts()
        assert counts.quarantined <= 100
        assert counts.quarantined_bytes <= 40_000
        assert counts.quarantined + counts.quarantine_evicted == number + 7
    kept, _ = store.quarantine(None, None, limit=1000)
    assert [int(entry.id) for entry in kept] == list(range(1000, 1000 - len(kept), -1))
    assert len(kept) == store.counts().quarantined > 50
    before = store.counts()
    store.close()
    store = open_duckdb(tmp_path)
    assert store.counts()[:7] == before[:7]
    store.commit(Commit(quarantined=[refused(5000)]))
    assert store.quarantine(None, None, limit=1)[0][0].id == refused(5000).id
    store.close()


def test_marks_are_joined_while_the_hub_runs(tmp_path: Path) -> None:
    store = open_duckdb(tmp_path, Limits(loose_marks=50))
    for number in range(1, 400):
        store.commit(Commit(marks=[mark(number, number), mark(number, number, stored=0, duplicate=1)]))
        assert store.counts().marks <= 60
    assert list(store.marks()) == [mark(1, 399, duplicate=399)]
    store.close()


def test_an_export_of_a_million_points_holds_few_of_them(tmp_path: Path) -> None:
    store = open_duckdb(tmp_path)
    numbers = random.Random(5)
    for day in range(10):
        times = range(T0 + day * 25_000, T0 + (day + 1) * 25_000)
        columns = [Samples(f"air-{i}", "pm25", times, [numbers.random() for _ in times]) for i in range(4)]
        store.commit(Commit(columns))
    store.close()
    lines, size, grown_mb = map(int, run(EXPORT, tmp_path).split())
    assert lines == 1_000_001
    assert size > 60_000_000
    assert grown_mb < 150


def test_two_million_points_that_are_sealed_are_never_in_memory_at_once(tmp_path: Path) -> None:
    """As they lie there after an import: a day, sorted into one file."""
    points, files, grown_mb = map(int, run(SEAL, tmp_path).split())
    assert (points, files) == (2_000_000, 1)
    assert grown_mb < 110


def test_the_limit_for_open_files_and_memory_is_not_touched(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    store = open_duckdb(tmp_path)
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        list(store.marks())
        next(store.export_readings([], [], BEGINNING, END_OF_TIME), None)
        store.latest(["air-1"])
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_files + 1
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    store.close()


def test_the_newest_values_are_known_soon_after_a_start(tmp_path: Path) -> None:
    store = open_duckdb(tmp_path)
    put(store, *(column(f"air-{n}", "pm25", [(T0 + n, float(n))]) for n in range(500)))
    store.close()
    store = open_duckdb(tmp_path)
    eventually(lambda: not store._newest.missing(range(500)), within_s=10)
    found = store.latest([f"air-{n}" for n in range(500)])
    assert [found[f"air-{n}"]["pm25"].value for n in range(500)] == [float(n) for n in range(500)]
    store.close()
