"""How fast the embedded store takes commits, and how long it stalls:

    python tests/bench/series.py [--first MILLIONS]

For each size of a commit: points/s and commits/s, the times of a commit (ms), and how long its samples are. Then reads
beside it on what was written. Numbers of a run stand in docs/decisions/0040.
"""

from __future__ import annotations

import argparse
import random
import resource
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


def measure(store: DuckDbSeries, make: Callable[[int], Commit]) -> tuple[list[float], float]:
    """Commit for a while; return the time of each commit in ms, and their CPU seconds, without the making of them."""
    found: list[float] = []
    cpu = 0.0
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        commit = make(len(found) + 1)
        began, used = time.perf_counter(), time.process_time()
        store.commit(commit)
        found.append((time.perf_counter() - began) * 1000)
        cpu += time.process_time() - used
    return sorted(found), cpu


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


def fill(store: DuckDbSeries, millions: float) -> None:
    """Put points in before the measurement, as a hub finds them after some hours."""
    make = commits(102_000, 60)
    for number in range(-int(millions * 1_000_000 / 102_000), 0):
        store.commit(make(number)._replace(marks=()))


def main(folder: Path, millions: float) -> None:
    print(f"resident at start {resident_mb()} MB")
    store = open_duckdb(folder)
    print(f"resident, store open {resident_mb()} MB")
    fill(store, millions)
    print("points  length   points/s  commits/s   p50 ms   p99 ms   max ms   CPU-s/M points")
    for points, length in CASES:
        times, cpu = measure(store, commits(points, length))
        rate = 1000 / (sum(times) / len(times))
        middle, late = times[len(times) // 2], times[len(times) * 99 // 100]
        print(
            f"{points:6} {length:7} {points * rate:10.0f} {rate:10.0f} {middle:8.2f} {late:8.2f} {times[-1]:8.2f}"
            f" {cpu / (points * len(times)) * 1e6:10.2f}"
        )
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
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--first", type=float, default=0, help="million points to put in first")
    with tempfile.TemporaryDirectory() as made:
        main(Path(made), options.parse_args().first)
