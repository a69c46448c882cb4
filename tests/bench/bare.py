"""The embedded store beside a bare DuckDB: the same points, in the same commits, in turns.

The store gets what ingest gives it: lists of a device's metric, and a mark for each message. DuckDB gets the same
points for the same table as finished columns, in one transaction a commit. The difference is what the store does: names
to numbers, lists to columns, marks, and the newest value of each series.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import duckdb

from bench.frame import Figure, Setting
from bench.series import VALUES
from lamplighter_hub.series.columns import Points, pack
from lamplighter_hub.series.duckdb import open_duckdb
from lamplighter_hub.series.engine import append
from lamplighter_hub.series.manifest import HOT_TABLE
from lamplighter_hub.series.store import Commit, Mark
from lamplighter_protocols.quality import Samples

Made = TypeVar("Made")
SIZES = (1, 10, 60)
WARM_UP = 2
MESSAGES = 2_000
"""Messages in a commit, as many as ingest takes at once."""
START = 1_795_476_600_000


class Pace(NamedTuple):
    """Points a second, and seconds of processor a point."""

    rate: float
    cpu: float


def commit_of(points: int, number: int) -> Commit:
    """Return commit `number`: a message of each of many devices, in up to six metrics."""
    wide = max(width for width in range(1, 7) if points % width == 0)
    rows = points // wide
    t = START + number * rows * 1_000
    times = [t + row * 1_000 for row in range(rows)]
    samples = [
        Samples(f"air-{device}", f"m{metric}", times, VALUES[first : first + rows])
        for device in range(MESSAGES)
        for metric in range(wide)
        for first in [(device * 7 + metric * 31 + number) % 90_000]
    ]
    marks = [Mark(f"pole-{pole}", "01M80T5JNV", "live", number, number, 1, 0, 0, 0) for pole in range(MESSAGES)]
    return Commit(samples, (), marks)


def columns_of(commit: Commit) -> Points:
    """Return the points of a commit as columns, with numbers for its series."""
    return pack(commit.samples, lambda names: list(range(len(names))))


def pace(points: int, written: tuple[int, float, float]) -> Pace:
    """Return the pace of so many commits of messages with so many points, in so many seconds of each kind."""
    commits, took, cpu = written
    total = commits * MESSAGES * points
    return Pace(total / took, cpu / total)


def store_pace(folder: Path, points: int, seconds: float) -> Pace:
    """Return how fast the store takes commits of messages with so many points."""
    store = open_duckdb(folder)
    try:
        return pace(points, _written(lambda number: commit_of(points, number), store.commit, seconds))
    finally:
        store.close()


def bare_pace(folder: Path, points: int, seconds: float) -> Pace:
    """Return how fast DuckDB takes the same."""
    db = duckdb.connect(str(folder / "bare.duckdb"))
    db.execute(HOT_TABLE.format(name="bare"))

    def write(made: Points) -> None:
        db.execute("BEGIN")
        append(db, "bare", made.relation())
        db.execute("COMMIT")

    try:
        return pace(points, _written(lambda number: columns_of(commit_of(points, number)), write, seconds))
    finally:
        db.close()


def _written(make: Callable[[int], Made], write: Callable[[Made], None], seconds: float) -> tuple[int, float, float]:
    """Write commit after commit for so long; neither making them counts, nor the first, which name all series."""
    for number in range(WARM_UP):
        write(make(number))
    took = cpu = 0.0
    number = 0
    while took < seconds:
        number += 1
        made = make(WARM_UP + number)
        began, used = time.perf_counter(), time.process_time()
        write(made)
        took += time.perf_counter() - began
        cpu += time.process_time() - used
    return number, took, cpu


def bare(at: Setting) -> Iterator[Figure]:
    """Measure both in turns, for each size of a message."""
    for points in SIZES:
        runs = [_run(at, points, number) for number in range(at.runs)]
        store, duck = ([run[side] for run in runs] for side in (0, 1))
        size = f"{points} point{'s' if points > 1 else ''} a message"
        for name, paces in (("store", store), ("bare DuckDB", duck)):
            rates = sorted(pace.rate for pace in paces)
            note = f"median of {', '.join(f'{rate:,.0f}' for rate in rates)}"
            yield Figure(f"{name}, {size}: points", median(rates), "1/s", note=note)
            yield Figure(f"{name}, {size}: processor", median(pace.cpu for pace in paces) * 1e6, "CPU-s/M points")
        ratio = median(pace.rate for pace in store) / median(pace.rate for pace in duck)
        yield Figure(f"store beside bare DuckDB, {size}", ratio, "ratio", note=f"commits of {MESSAGES:,} messages")


def _run(at: Setting, points: int, number: int) -> tuple[Pace, Pace]:
    folder = at.folder / f"{points}-{number}"
    folder.mkdir()
    return store_pace(folder, points, at.seconds), bare_pace(folder, points, at.seconds)
