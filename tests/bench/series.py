"""How fast a series store takes commits, and how long it stalls:

    PYTHONPATH=tests python -m bench.series [--first MILLIONS] [--influx]

For each size of a commit: points/s and commits/s, the times of a commit (ms), and how long its samples are. Then reads
beside it on what was written. CPU is the hub's own, and the server's where the store has one. Numbers of runs stand in
docs/decisions/0040 (embedded) and 0045 (InfluxDB).
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lamplighter_hub.series.duckdb import open_duckdb
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Commit, Mark, TimeSeries
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.quality import Samples
from services.influx import influxd

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


def measure(store: TimeSeries, make: Callable[[int], Commit]) -> tuple[list[float], float]:
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


def reads(store: TimeSeries) -> dict[str, Callable[[], object]]:
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


def fill(store: TimeSeries, millions: float) -> None:
    """Put points in before the measurement, as a hub finds them after some hours."""
    make = commits(102_000, 60)
    for number in range(-int(millions * 1_000_000 / 102_000), 0):
        store.commit(make(number)._replace(marks=()))


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(open_store: Callable[[], TimeSeries], millions: float, server: int = 0) -> None:
    print(f"resident at start {resident_mb()} MB")
    store = open_store()
    print(f"resident, store open {resident_mb()} MB")
    fill(store, millions)
    print("points  length   points/s  commits/s   p50 ms   p99 ms   max ms   CPU-s/M points, of the server")
    for points, length in CASES:
        before = cpu_of(server)
        times, cpu = measure(store, commits(points, length))
        rate = 1000 / (sum(times) / len(times))
        middle, late = times[len(times) // 2], times[len(times) * 99 // 100]
        total = points * len(times) / 1e6
        print(
            f"{points:6} {length:7} {points * rate:10.0f} {rate:10.0f} {middle:8.2f} {late:8.2f} {times[-1]:8.2f}"
            f" {cpu / total:10.2f} {(cpu_of(server) - before) / total:10.2f}"
        )
    print(f"{store.counts()}\nresident {resident_mb()} MB")
    store.close()
    began = time.perf_counter()
    store = open_store()
    print(f"opened again in {(time.perf_counter() - began) * 1000:.0f} ms")
    for name, read in reads(store).items():
        began = time.perf_counter()
        read()
        print(f"{name}: {(time.perf_counter() - began) * 1000:.0f} ms")
    store.close()


def main_influx(folder: Path, millions: float) -> None:
    from lamplighter_hub.series.influx.lease import Owner
    from lamplighter_hub.series.influx.store import open_influx

    with influxd(folder) as server:
        url = server.series_url(server.make_bucket("bench"))
        main(
            lambda: open_influx(url, server.token, Owner("bench", "bench")),
            millions,
            server.child.pid if server.child else 0,
        )


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--first", type=float, default=0, help="million points to put in first")
    options.add_argument("--influx", action="store_true", help="measure the store in InfluxDB, on a server of its own")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as made:
        if given.influx:
            main_influx(Path(made), given.first)
        else:
            main(lambda: open_duckdb(Path(made)), given.first)
