"""The embedded store at the size of a city, through its own interface: hours committed as a hub commits them, sealed
when they are over, and asked what a console asks.

85,000 series report a number each five seconds (61.2 M points an hour) and 15,000 a state each five minutes. Hours of
the whole city follow hours of its first 4,000 series, so that the last day of one series has its 24 hours.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from bench.frame import Figure, Setting
from lamplighter_hub.series.duckdb import DuckDbSeries, Rules, open_duckdb
from lamplighter_hub.series.manifest import DAY, HOUR
from lamplighter_hub.series.store import Commit
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.quality import Samples

MIDNIGHT: Final = 1_795_392_000_000
NUMBERS: Final = 85_000
STATES: Final = 15_000
METRICS: Final = 8
FEW: Final = 4_000
"""Series that also have the hours before, as many as a sealed file of a city's hour holds about."""
SLICE: Final = 300_000
STEP: Final = 5_000
COLUMNS: Final = 1_000
"""Series in one commit: 60,000 points."""
WALK: Final = 4_000
ASKED: Final = "air-7"
TIMES: Final = 9
MB: Final = 1e6


class Asked(NamedTuple):
    """How long a question took, the first time and in the middle of the others (ms), and how much came back."""

    first: float
    median: float
    found: int


def asked(question: Callable[[], int], times: int = TIMES) -> Asked:
    """Ask something so often."""
    taken, found = [], 0
    for _ in range(times):
        began = time.perf_counter()
        found = question()
        taken.append((time.perf_counter() - began) * 1000)
    return Asked(taken[0], statistics.median(taken[1:] or taken), found)


def walk(numbers: random.Random, length: int) -> list[float]:
    """Return a quantity that a sensor may report: it wanders, with two decimals and some noise."""
    level, found = numbers.uniform(5, 60), []
    for _ in range(length):
        level = max(0.0, level + numbers.gauss(0, 0.3))
        found.append(round(level, 2))
    return found


@dataclass
class City:
    """A store in a folder, and the hub's time, which is moved by hand. Points come a little off their time."""

    folder: Path
    now: int = MIDNIGHT
    numbers: random.Random = field(default_factory=lambda: random.Random(3))

    def __post_init__(self) -> None:
        self.walks = [walk(self.numbers, WALK) for _ in range(200)]
        self.jitter = [[self.numbers.randint(0, 40) for _ in range(SLICE // STEP)] for _ in range(50)]
        self.store = self.open()

    def open(self) -> DuckDbSeries:
        """Open the store with a hub's own limits; it seals when it is told to."""
        self.store = open_duckdb(self.folder, rules=Rules(share=1.0, every_s=1e6), clock=lambda: self.now)
        return self.store

    def hour(self, begin: int, series: int = NUMBERS, states: int = STATES) -> list[float]:
        """Commit an hour; return how long each commit took (s)."""
        taken = []
        for start in range(begin, begin + HOUR, SLICE):
            self.now = start + SLICE
            for commit in self._commits(start, series, states):
                began = time.perf_counter()
                self.store.commit(commit)
                taken.append(time.perf_counter() - began)
        return taken

    def seal(self) -> None:
        """Let the hour be over for long enough, and seal it."""
        self.now += Rules().grace_ms
        self.store.seal()

    def _commits(self, start: int, series: int, states: int) -> Iterator[Commit]:
        steps = SLICE // STEP
        times = [[start + nth * STEP + late for nth, late in enumerate(jitter)] for jitter in self.jitter]
        for first in range(0, series, COLUMNS):
            yield Commit([
                Samples(*_name(number), times[number % 50], self._values(number, start, steps))
                for number in range(first, min(series, first + COLUMNS))
            ])  # fmt: skip
        for first in range(0, states, COLUMNS):
            yield Commit([
                Samples(f"kiosk-{number}", "door", [start + number % SLICE], [_state(number, start)])
                for number in range(first, first + COLUMNS)
            ])  # fmt: skip

    def _values(self, number: int, start: int, steps: int) -> list[float]:
        place = (number * 7 + start // SLICE * steps) % (WALK - steps)
        return self.walks[number % len(self.walks)][place : place + steps]

    def bytes(self, part: str = ".") -> int:
        """Return what a part of the store takes on the disk."""
        return sum(path.stat().st_size for path in (self.folder / part).rglob("*") if path.is_file())


def _name(number: int) -> tuple[str, str]:
    return f"air-{number // METRICS}", f"m{number % METRICS}"


def _state(number: int, start: int) -> bool | str:
    opened = (start // SLICE + number) % 12 == 0
    return opened if number % 2 else ("open" if opened else "closed")


def hours(at: Setting) -> Iterator[Figure]:
    """Measure commits, sealing and questions; `seconds` is how much of the city's time is made in full."""
    full = max(1, round(at.seconds / 3600))
    folder = at.folder / "city"
    folder.mkdir()
    made = City(folder)
    for hour in range(24 - full):
        made.hour(MIDNIGHT + hour * HOUR, FEW, 0)
        made.seal()
    before = made.store.counts().points, made.bytes("series"), made.bytes("rollups")
    yield from _full(made, [MIDNIGHT + hour * HOUR for hour in range(24 - full, 24)])
    points = made.store.counts().points - before[0]
    sealed, rolled = (made.bytes("series") - before[1]) / points, (made.bytes("rollups") - before[2]) / points
    yield Figure("hours: points on disk, sealed", sealed, "B/point", note=f"{points:,} points in {full} h")
    yield Figure("hours: the same with their minutes and hours", sealed + rolled, "B/point", 4)
    database = made.bytes() - made.bytes("series") - made.bytes("rollups")
    note = "with room for hours that are not sealed"
    yield Figure("hours: the database's file", database / MB, "MB", note=note)
    yield _day(made, "all hours sealed")
    yield from _latest(made)
    made.store.close()
    yield from year(at.folder / "year", "in files of days", Rules().small_day)
    yield from year(at.folder / "hours", "in files of hours", 0)


def _full(made: City, hours: Sequence[int]) -> Iterator[Figure]:
    taken: list[float] = []
    sealing: list[float] = []
    peak = committing = 0.0
    for hour in hours:
        _reset_peak()
        taken += made.hour(hour)
        committing = max(committing, _peak_mb())
        if hour == hours[-1]:
            yield _day(made, "the last hour not sealed")
        _reset_peak()
        used, points = time.process_time(), made.store.counts().points
        made.seal()
        sealing.append(time.process_time() - used)
        peak = max(peak, _peak_mb())
        assert points == made.store.counts().points
    rate = len(hours) * (NUMBERS * HOUR // STEP + STATES * HOUR // SLICE) / sum(taken)
    slowest = f"commits of {COLUMNS * SLICE // STEP:,}; the slowest took {max(taken) * 1000:.0f} ms"
    yield Figure("hours: points committed", rate, "1/s", note=slowest)
    note = f"{statistics.median(sealing):.0f} CPU-s an hour of the city, median of {len(hours)}"
    yield Figure("hours: sealing", statistics.median(sealing) / 3600, "cores", 0.1, note=note)
    yield Figure("hours: most memory while committing", committing, "MB", note="resident, of the whole process")
    yield Figure("hours: most memory while sealing", peak, "MB", 1_000, note="resident, of the whole process")


def _day(made: City, how: str) -> Figure:
    def question() -> int:
        return len(made.store.readings(ASKED, ["m1"], MIDNIGHT, MIDNIGHT + DAY, limit=100_000)[0])

    took = asked(question)
    note = f"{how}; {took.found:,} points, the first time {took.first:.0f} ms"
    return Figure("hours: raw day of one series", took.median, "ms", 150, note=note)


def _latest(made: City) -> Iterator[Figure]:
    devices = [f"air-{number}" for number in range(NUMBERS // METRICS + 1)]
    devices += [f"kiosk-{number}" for number in range(STATES)]

    def question() -> int:
        return sum(map(len, made.store.latest(devices).values()))

    warm = asked(question)
    made.store.close()
    made.open()
    cold = asked(question, 1)
    note = f"{warm.found:,} series; at once after a start {cold.first:.0f} ms"
    yield Figure("hours: latest values", warm.median, "ms", 500, note=note)


def year(folder: Path, how: str, small_day: int) -> Iterator[Figure]:
    """Measure charts of a year of one series at 1 Hz, whose days become one file up to `small_day` points."""
    folder.mkdir()
    rules = Rules(share=1.0, every_s=1e6, small_day=small_day)
    store = open_duckdb(folder, rules=rules, clock=lambda: MIDNIGHT + DAY)
    values = walk(random.Random(5), 86_400)
    for day in range(365):
        begin = MIDNIGHT - day * DAY
        store.commit(Commit([Samples(ASKED, "m1", range(begin, begin + DAY, 1000), values)]))
    store.seal()
    start, end = MIDNIGHT - 364 * DAY + 1, MIDNIGHT + DAY - 1
    for name, width in (("1 d", DAY), ("12 h", DAY // 2), ("5 h", 5 * HOUR), ("1 h", HOUR)):
        took = asked(lambda width=width: len(_buckets(store, start, end, width)))  # type: ignore[misc]
        note = f"{took.found:,} buckets, the first time {took.first:.0f} ms"
        yield Figure(f"year at 1 Hz {how}, buckets of {name}", took.median, "ms", 200, note=note)
    store.close()


def _buckets(store: DuckDbSeries, start: int, end: int, width: int) -> list[object]:
    return [*store.buckets(ASKED, "m1", start, end, width_ms=width, aggregation=Aggregation.MEAN)]


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / MB
