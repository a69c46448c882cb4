"""The embedded store at the size of a city:

    nice -n 19 python tests/bench/city.py [--series 85000] [--millions 61] [--memory 1GB] [--share 1.0] FOLDER

Commits an hour of points as a hub does, minute by minute, seals it, copies its first file to the other hours of a day
with times moved, and asks what a console asks; before that a year of one series at 1 Hz. Numbers of a run stand in
docs/decisions/0046.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lamplighter_hub.series import manifest, rollups
from lamplighter_hub.series.duckdb import DuckDbSeries, Limits, Rules, open_duckdb
from lamplighter_hub.series.engine import quoted
from lamplighter_hub.series.manifest import DAY, HOUR
from lamplighter_hub.series.store import Commit, Samples
from lamplighter_protocols.profile import Aggregation

MIDNIGHT = 1_795_392_000_000
METRICS = 8


def walk(numbers: random.Random, length: int) -> list[float]:
    """Return a quantity that a sensor may report: it wanders, with two decimals and some noise."""
    level, found = numbers.uniform(5, 60), []
    for _ in range(length):
        level = max(0.0, level + numbers.gauss(0, 0.3))
        found.append(round(level, 2))
    return found


def fill(store: DuckDbSeries, series: int, points: int, hour: int) -> list[float]:
    """Commit an hour of points in sixty commits; return how long each took (s)."""
    numbers = random.Random(3)
    walks = [walk(numbers, 4_000) for _ in range(200)]
    each = points // series // 60
    step = 60_000 // each
    taken = []
    for minute in range(60):
        first = hour + minute * 60_000
        samples = []
        for number in range(series):
            times = range(first + number % step, first + 60_000, step)[:each]
            offset = (number * 7 + minute * each) % (4_000 - each)
            values = walks[number % 200][offset : offset + each]
            samples.append(Samples(f"air-{number // METRICS}", f"m{number % METRICS}", times, values))
        began = time.perf_counter()
        for part in range(0, series, 5_000):
            store.commit(Commit(samples[part : part + 5_000]))
        taken.append(time.perf_counter() - began)
    return taken


def copy_hours(store: DuckDbSeries) -> None:
    """Give the other hours of the day the file that holds the first series, with times moved."""
    folder = store._path.parent
    with store._engine.transaction() as db:
        first, *_ = manifest.known(db)
        seq = max(item.seq for item in manifest.known(db))
        for hour in range(1, 24):
            seq += 1
            begin = MIDNIGHT + hour * HOUR
            path = manifest.place_of(begin, begin + HOUR, seq)
            rows = f"SELECT * REPLACE (t + {hour * HOUR} AS t) FROM read_parquet({quoted(folder / first.path)})"  # noqa: S608
            db.execute(
                f"COPY ({rows}) TO {quoted(folder / path)} (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd)"
            )
            file = folder / path
            item = first._replace(
                seq=seq,
                path=path,
                begin=begin,
                end=begin + HOUR,
                first=first.first + hour * HOUR,
                last=first.last + hour * HOUR,
                size=file.stat().st_size,
                sha256=manifest.checksum(file),
            )
            rolled = [store._sealer._roll_up(item, file, level) for level in rollups.LEVELS]
            manifest.add(db, manifest.Entry(item, tuple(rolled)))


def timed(name: str, ask: Callable[[], object], times: int = 5) -> None:
    taken, used = [], []
    for _ in range(times):
        began, before = time.perf_counter(), time.process_time()
        found = ask()
        taken.append((time.perf_counter() - began) * 1000)
        used.append((time.process_time() - before) * 1000)
    size = len(found) if isinstance(found, (list, dict)) else found
    middle, cpu = sorted(taken)[times // 2], sorted(used)[times // 2]
    print(
        f"{name}: first {taken[0]:.0f} ms, median {middle:.0f} ms, fastest {min(taken):.0f} ms, "
        f"CPU {cpu:.0f} ms ({size})",
        flush=True,
    )


def day_of(store: DuckDbSeries, device: str) -> int:
    found, cursor = store.readings(device, ["m1"], MIDNIGHT, MIDNIGHT + DAY, limit=100_000)
    assert cursor is None
    return len(found)


def buckets_of(store: DuckDbSeries, device: str, width_ms: int) -> int:
    return len(store.buckets(device, "m1", MIDNIGHT, MIDNIGHT + DAY, width_ms=width_ms, aggregation=Aggregation.MEAN))


def year(folder: Path, memory: str) -> None:
    """Seal a year of one series at 1 Hz, and draw its chart."""
    store = open_duckdb(folder, Limits(memory=memory), Rules(share=1.0, every_s=1e6), lambda: MIDNIGHT + DAY)
    values = walk(random.Random(5), 86_400)
    for day in range(365):
        begin = MIDNIGHT - day * DAY
        store.commit(Commit([Samples("air-1", "m1", range(begin, begin + DAY, 1000), values)]))
    began = time.perf_counter()
    print(f"sealed {store.seal()}: {time.perf_counter() - began:.1f} s")
    start, end = MIDNIGHT - 364 * DAY + 1, MIDNIGHT + DAY - 1
    for name, width in (("two days", 2 * DAY), ("a day", DAY), ("twelve hours", DAY // 2)):
        timed(
            f"a year at 1 Hz by {name}",
            partial(store.buckets, "air-1", "m1", start, end, width_ms=width, aggregation=Aggregation.MEAN),
        )
    timed("how much a year holds", lambda: store.span("air-1", "m1", start, end).points)
    print(store.counts(), flush=True)
    store.close()


def main(folder: Path, series: int, points: int, memory: str, share: float) -> None:
    rules = Rules(share=share, every_s=1e6)
    store = open_duckdb(folder, Limits(memory=memory), rules, lambda: MIDNIGHT + HOUR + 10 * 60_000)
    taken = sorted(fill(store, series, points, MIDNIGHT))
    total = store.counts().points
    print(f"{total} points of {series} series committed: {total / sum(taken):.0f} points/s, slowest {taken[-1]:.2f} s")
    print(f"hot: {store.counts().disk_bytes / total:.2f} B/point", flush=True)
    devices = [f"air-{number}" for number in range(series // METRICS + 1)]
    timed("hot hour of one series", lambda: store.readings("air-7", ["m1"], MIDNIGHT, MIDNIGHT + HOUR, limit=10_000)[0])
    timed("latest of all, warm", lambda: len(store.latest(devices)), 3)
    store.close()
    store = open_duckdb(folder, Limits(memory=memory), rules, lambda: MIDNIGHT + HOUR + 10 * 60_000)
    timed("latest of all, hot, after a start", lambda: len(store.latest(devices)), 1)
    began, used = time.perf_counter(), time.process_time()
    done = store.seal()
    print(f"sealed {done}: {time.perf_counter() - began:.1f} s, CPU {time.process_time() - used:.1f} s")
    print(f"sealed: {sum(f.stat().st_size for f in (folder / 'series').rglob('*.parquet')) / total:.2f} B/point")
    print(f"peak resident {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB", flush=True)
    store.close()
    store = open_duckdb(folder, Limits(memory=memory), rules, lambda: MIDNIGHT)
    timed("latest of all, sealed, after a start", lambda: len(store.latest(devices)), 1)
    copy_hours(store)
    timed("raw day of one series", lambda: day_of(store, "air-7"))
    timed("day of one series by minutes", lambda: buckets_of(store, "air-7", 60_000))
    timed("day of one series by quarters", lambda: buckets_of(store, "air-7", 900_000))
    print(store.counts())
    store.close()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--series", type=int, default=85_000)
    options.add_argument("--millions", type=float, default=61)
    options.add_argument("--memory", default="1GB")
    options.add_argument("--share", type=float, default=1.0)
    given = options.parse_args()
    for name in ("city", "year"):
        (given.folder / name).mkdir(parents=True, exist_ok=True)
    year(given.folder / "year", given.memory)
    main(given.folder / "city", given.series, int(given.millions * 1e6), given.memory, given.share)
