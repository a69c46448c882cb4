"""What gathering the hours of a city's 16 days costs, at a twentieth of its series; and a chart after late points.

An hour of a series is one row, however many points it has: here it has one. A file of an hour holds about as many
series as one of a city (5,000; there 6,250), so a part that is gathered reads as many rows as in a city, of about as
many files, and a city has twenty times as many parts. A city's own 61 M points an hour are measured by `hours`.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.frame import Figure, Setting
from bench.hours import ASKED, MB, MIDNIGHT, TIMES, asked
from lamplighter_hub.series.duckdb import DuckDbSeries, Rules, open_duckdb
from lamplighter_hub.series.manifest import DAY, GATHER, HOUR
from lamplighter_hub.series.store import Commit
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.quality import Samples

SERIES: Final = 5_000
OF_A_CITY: Final = 20
BEGIN: Final = MIDNIGHT // GATHER * GATHER
SPANS: Final = 2
"""Of 16 days: what a chart shows."""
QUIET: Final = Rules(share=1.0, every_s=1e6, small_day=0, gather=10**9)
"""Files of hours, and nothing gathered before it is asked for."""


def gathering(at: Setting) -> Iterator[Figure]:
    """Measure gathering 16 days, and charts with late points."""
    yield from _gathered(at.folder / "city")
    yield from _late(at.folder / "late")


def _opened(folder: Path, rules: Rules, until: int) -> DuckDbSeries:
    return open_duckdb(folder, rules=rules, clock=lambda: until)


def _gathered(folder: Path) -> Iterator[Figure]:
    folder.mkdir()
    until = BEGIN + GATHER + DAY
    store = _opened(folder, QUIET, until)
    dice = random.Random(3)
    for hour in range(BEGIN, BEGIN + GATHER, HOUR):
        store.commit(
            Commit([Samples(f"air-{n}", "m", [hour + n], [round(60 * dice.random(), 2)]) for n in range(SERIES)])
        )
    store.seal()
    store.close()
    files = sum(1 for _ in (folder / "rollups" / "hour").rglob("*.parquet"))
    store = _opened(folder, QUIET._replace(gather=8), until)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    used = time.process_time()
    store.seal()
    used = time.process_time() - used
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / MB
    size = sum(path.stat().st_size for path in (folder / "rollups" / "gathered").rglob("*.parquet"))
    store.close()
    yield Figure(
        "gathering: 16 days of a twentieth of a city", used, "CPU-s", note=f"{SERIES:,} series, {files:,} files"
    )
    note = f"times {OF_A_CITY}; a span grows by a day each day, so in the mean {used * OF_A_CITY * 17 / 32:.0f} CPU-s"
    yield Figure("gathering: 16 days of a city, once a day at the most", used * OF_A_CITY, "CPU-s", note=note)
    note = "resident; beyond what making and sealing these took at most"
    yield Figure("gathering: more memory at its peak", more, "MB", note=note)
    yield Figure("gathering: hours gathered", size / (SERIES * GATHER // HOUR), "B/row")


def _late(folder: Path) -> Iterator[Figure]:
    """Measure a chart of 32 days of hours: gathered, and after each 16 days had a late point."""
    folder.mkdir()
    begin, end = BEGIN - (SPANS - 1) * GATHER, BEGIN + GATHER
    store = _opened(folder, QUIET, end + DAY)
    minutes = range(begin, end, 60_000)
    store.commit(Commit([Samples(ASKED, "m1", minutes, [float(t % 97) for t in minutes])]))
    store.seal()
    store.close()
    store = _opened(folder, QUIET._replace(gather=8), end + DAY)
    store.seal()
    yield _chart(store, begin, end, "gathered")
    late = [begin + span * GATHER + 5 * DAY + 7 for span in range(SPANS)]
    store.commit(Commit([Samples(ASKED, "m1", late, [1.0] * SPANS)]))
    store.seal()
    yield _chart(store, begin, end, "after a late point in each 16 days")
    store.close()


def _chart(store: DuckDbSeries, begin: int, end: int, how: str) -> Figure:
    def question() -> int:
        return len(store.buckets(ASKED, "m1", begin, end, width_ms=5 * HOUR, aggregation=Aggregation.MEAN))

    used = time.process_time()
    took = asked(question)
    note = f"{took.found:,} buckets; {(time.process_time() - used) * 1000 / TIMES:.0f} ms of CPU"
    return Figure(f"gathering: chart of 32 days by 5 h, {how}", took.median, "ms", note=note)
