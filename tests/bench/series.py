"""How fast the embedded store takes commits, and how long it stalls:

python tests/bench/series.py [FOLDER]

For each size of a commit: points/s and commits/s, the times of a commit (ms), and how long its samples are. Then reads
beside it on what was written. Numbers of a run stand in docs/decisions/0040.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lamplighter_hub.series.duckdb import DuckDbSeries, open_duckdb
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Commit, Mark, Samples
from lamplighter_protocols.profile import Aggregation

SECONDS = 4.0
START = 1_795_476_600_000
CASES = ((100, 1), (100, 10), (1_000, 1), (1_000, 60), (17_000, 1), (17_000, 60))
VALUES = [round(random.Random(1).uniform(0, 100), 2) for _ in range(100_000)]


def commits(points: int, length: int) -> Callable[[int], Commit]:
    """Return a maker of commits: `points` in columns of `length`, a mark for each column's agent."""
    columns = points // length

    def make(number: int) -> Commit:
        t = START + number * 5_000
        times = [t + i for i in range(length)]
        samples = [
            Samples(f"air-{i // 8}", f"m{i % 8}", times, VALUES[(i * 7 + number) % 90_000 :][:length])
            for i in range(columns)
        ]
        marks = [Mark(f"pole-{i}", "01M80T5JNV", "live", number, number, 1, 0, 0, 0) for i in range(columns // 8)]
        return Commit(samples, (), marks)

    return make


def measure(store: DuckDbSeries, make: Callable[[int], Commit]) -> list[float]:
    """Commit for a while; return the time of each commit in ms, without the making of its samples."""
    found: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        commit = make(len(found) + 1)
        began = time.perf_counter()
        store.commit(commit)
        found.append((time.perf_counter() - began) * 1000)
    return sorted(found)


def resident_mb() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() // 2**20


def reads(store: DuckDbSeries) -> dict[str, Callable[[], object]]:
    everywhere = (BEGINNING, END_OF_TIME)
    return {
        "latest of 100 devices": lambda: store.latest([f"air-{i}" for i in range(100)]),
        "latest again": lambda: store.latest([f"air-{i}" for i in range(100)]),
        "one series, buckets": lambda: store.buckets(
            "air-1", "m1", *everywhere, width_ms=60_000, aggregation=Aggregation.MEAN
        ),
        "one series, a page": lambda: store.readings("air-1", ["m1"], *everywhere, limit=1000),
        "one series, export": lambda: sum(map(len, store.export_readings(["air-1"], ["m1"], *everywhere))),
    }


def main(folder: Path) -> None:
    print(f"resident at start {resident_mb()} MB")
    store = open_duckdb(folder)
    print(f"resident, store open {resident_mb()} MB")
    print("points  length   points/s  commits/s   p50 ms   p99 ms   max ms")
    for points, length in CASES:
        times = measure(store, commits(points, length))
        rate = 1000 / (sum(times) / len(times))
        middle, late = times[len(times) // 2], times[len(times) * 99 // 100]
        print(f"{points:6} {length:7} {points * rate:10.0f} {rate:10.0f} {middle:8.2f} {late:8.2f} {times[-1]:8.2f}")
    print(f"{store.counts()}\nresident {resident_mb()} MB")
    store.close()
    began = time.perf_counter()
    store = open_duckdb(folder)
    print(f"opened again in {(time.perf_counter() - began) * 1000:.0f} ms")
    for name, read in reads(store).items():
        began = time.perf_counter()
        read()
        print(f"{name}: {(time.perf_counter() - began) * 1000:.0f} ms")
    store.close()


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
