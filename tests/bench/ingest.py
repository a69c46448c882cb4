"""What each stage of ingest costs, with the checks between values and without them, on the hub's own stores.

Without a broker: batches of the swarm's air stations from known agents, in groups as large as ingest takes them at
most. A stage is timed alone over the payloads of a group (reading, checking, judging), or inside of it (the commit);
the rest is ledger, receipts, news and what the collector does, which is kept out of the others. Times are those of the
processor, of all threads; medians of groups, the two ways in turns.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, cast

from bench.frame import Figure, Setting
from bench.ingest_cost import SIZES, WARM_UP, City
from bench.storm import Waiting, pipeline
from lamplighter_firmware_sim.swarm.preparation import PROFILE
from lamplighter_hub.assembly import Link, assemble
from lamplighter_hub.broker.side import MosquittoSide
from lamplighter_hub.ingest.judge import Judge
from lamplighter_hub.ingest.pipeline import GROUP, Pipeline
from lamplighter_hub.ingest.plain import PlainReadings, read_plain
from lamplighter_hub.series.store import Commit, TimeSeries
from lamplighter_hub.services import Services
from lamplighter_hub.settings import Settings
from lamplighter_hub.uplink.session import Message
from lamplighter_protocols.profile import Profile, load_profiles
from lamplighter_protocols.quality import check_record

LEAST = 11
"""Groups of which the median is taken, at least."""
STAGES = ("read the batch", "check each value", "judge by others", "commit", "all else")


class Spent(NamedTuple):
    """Seconds of processor for one group, by stage in the order of STAGES."""

    read: float
    check: float
    judge: float
    commit: float
    rest: float

    @property
    def whole(self) -> float:
        return sum(self)


class Timed:
    """A series store whose commits are timed; everything else is the store's."""

    def __init__(self, series: TimeSeries) -> None:
        self._series = series
        self.spent = 0.0

    def commit(self, commit: Commit) -> None:
        began = time.process_time()
        self._series.commit(commit)
        self.spent += time.process_time() - began

    def __getattr__(self, name: str) -> Any:
        return getattr(self._series, name)


def unwatched(profile: Profile) -> Profile:
    """Return a profile that asks for no check between values, only for ranges."""
    none = {"max_rate": None, "spike": None, "stuck_after_s": None, "stuck_tolerance": 0.0, "max_gap_s": None}
    metrics = {name: metric.model_copy(update=none) for name, metric in profile.metrics.items()}
    return profile.model_copy(update={"metrics": metrics, "checks": []})


@dataclass
class Bench:
    """Ingest with stores of its own, and the agents that it knows."""

    profile: Profile
    city: City
    ingest: Pipeline
    series: Timed
    judge: Judge = field(default_factory=Judge)

    def take(self) -> Spent:
        """Time each stage over the next group, then take it all the way."""
        group = self.city.group(GROUP)
        stages = self._stages(group)
        gc.collect()
        before = self.series.spent
        whole, _ = timed(lambda: self.ingest.process(group))
        commit = self.series.spent - before
        return Spent(*stages, commit, whole - sum(stages) - commit)

    def _stages(self, group: Sequence[Message]) -> tuple[float, float, float]:
        """Read a group, check each value, judge it by others; keep no more of it than ingest would."""
        read, records = alone(lambda: _plain(group))
        check, checked = alone(lambda: [check_record(self.profile, record)[0] for record in records])
        judgement = self.judge.begin()
        pairs = list(zip(records, checked, strict=True))
        judge, _ = alone(
            lambda: [judgement.of(self.profile, record.device, columns, filling=False) for record, columns in pairs]
        )
        self.judge.keep(judgement)
        return read, check, judge


def _plain(group: Sequence[Message]) -> list[PlainReadings]:
    found = (read_plain(message.payload) for message in group)
    return [record for batch in found if batch for record in batch.records]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of processor that some work needs, and what it returns."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def alone(work: Callable[[], Any]) -> tuple[float, Any]:
    """Time some work without what the collector does meanwhile."""
    gc.disable()
    try:
        return timed(work)
    finally:
        gc.enable()


def ingest(at: Setting) -> Iterator[Figure]:
    """Measure each size of a message, with checks and without, group by group in turns."""
    watched = load_profiles()[PROFILE]
    for points in SIZES:
        folder = at.folder / str(points)
        with (
            _bench(folder / "with", watched, points) as full,
            _bench(folder / "without", unwatched(watched), points) as plain,
        ):
            yield from _figures(points, *_take(at, full, plain))


def _take(at: Setting, full: Bench, plain: Bench) -> tuple[list[Spent], list[Spent]]:
    for _ in range(WARM_UP):
        full.take()
        plain.take()
    end = time.monotonic() + at.seconds
    with_checks: list[Spent] = []
    without: list[Spent] = []
    while len(without) < LEAST or time.monotonic() < end:
        with_checks.append(full.take())
        without.append(plain.take())
    return with_checks, without


@contextmanager
def _bench(folder: Path, profile: Profile, points: int) -> Iterator[Bench]:
    folder.mkdir(parents=True)
    services = assemble(Settings(data=folder), MosquittoSide(None), Link())
    try:
        yield _known(services, profile, points)
    finally:
        services.series.close()
        services.registry.close()


def _known(services: Services, profile: Profile, points: int) -> Bench:
    """Join ingest and let the agents say their births."""
    city, source, series = City(points), Waiting(), Timed(services.series)
    services.enrolment.provision(city.agents, "bench")

    def owner(agent: str, device: str) -> Profile | str:
        found = services.devices.owner_profile(agent, device)
        return profile if isinstance(found, Profile) else found

    made = pipeline(services, source, cast(TimeSeries, series), owner)
    made.process(city.births())
    return Bench(profile, city, made, series)


def _figures(points: int, full: list[Spent], plain: list[Spent]) -> Iterator[Figure]:
    size = f"{points} point{'s' if points > 1 else ''} a message"
    for way, spent in ((f"ingest, {size}", full), (f"ingest without checks between values, {size}", plain)):
        per_message = median(one.whole for one in spent) / GROUP * 1e6
        note = ", ".join(
            f"{stage} {median(column) / GROUP * 1e6:.1f}"
            for stage, column in zip(STAGES, zip(*spent, strict=True), strict=True)
        )
        yield Figure(f"{way}: a message", per_message, "us CPU", note=f"{note}; {len(spent)} groups of {GROUP:,}")
        yield Figure(f"{way}: a point", per_message * 1000 / points, "ns CPU")
