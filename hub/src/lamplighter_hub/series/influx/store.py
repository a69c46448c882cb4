"""The series store in InfluxDB 2: several writes that count as one commit (docs/decisions/0045)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamplighter_hub.series.ages import Policy
from lamplighter_hub.series.columns import Points, pack, size_of
from lamplighter_hub.series.dictionary import Dictionary
from lamplighter_hub.series.influx import lines
from lamplighter_hub.series.influx.asking import Row
from lamplighter_hub.series.influx.client import Influx, read_url
from lamplighter_hub.series.influx.expiry import Expiry
from lamplighter_hub.series.influx.journal import Journal, Reach, Totals, after
from lamplighter_hub.series.influx.lease import Lease, Owner
from lamplighter_hub.series.influx.moves import Moves
from lamplighter_hub.series.influx.places import Answer, Floor, Places, Question
from lamplighter_hub.series.influx.reader import Reader, Series
from lamplighter_hub.series.newest import Newest, newest_readings
from lamplighter_hub.series.pace import Pace
from lamplighter_hub.series.rows import read_numbers, read_place
from lamplighter_hub.series.store import (
    BEGINNING,
    Bucket,
    Commit,
    Counts,
    Damaged,
    Mark,
    Quarantined,
    SeriesError,
    Span,
    StoredEvent,
    StoreUnavailable,
    Unstorable,
)
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.readings import Reading

log = logging.getLogger(__name__)

PAGE: Final = 2_000
"""Series whose newest points are looked for together, neighbours by name: their devices come whole."""
CLOSING_S: Final = 5.0
"""How long closing waits for a question that is under way; what is found after it is of no use."""
ARRIVALS: Final = 2**20
"""So many events, and entries of quarantine, are numbered within one commit."""


class Limits(NamedTuple):
    """What the store may keep. Quarantine keeps the newest entries within both of its bounds.

    `records` of commits, with their marks, may be there before they are summed up. `share` is the part of one core that
    letting old data go may take.
    """

    quarantine_rows: int = 50_000
    quarantine_bytes: int = 64 * 1024 * 1024
    records: int = 50_000
    share: float = 0.1


class _Draft(NamedTuple):
    """A commit as it goes to InfluxDB, with the numbers it will be known by."""

    commit: Commit
    points: Points
    blob: bytes
    reach: Reach
    totals: Totals


def open_influx(url: str, token: str, owner: Owner, limits: Limits | None = None) -> InfluxSeries:
    """Open the bucket that a series URL names, for one hub. Raises StoreUnavailable, in one line, when it cannot be."""
    store = InfluxSeries(Influx(read_url(url), token), owner, limits or Limits())
    store.open()
    store.tend()
    return store


class InfluxSeries:
    """A `TimeSeries` in a bucket of InfluxDB 2; made by `open_influx`."""

    def __init__(self, influx: Influx, owner: Owner, limits: Limits) -> None:
        self._influx = influx
        self._lease = Lease(influx, owner)
        self._limits = limits
        self._writing = threading.Lock()
        self._closed = False
        self._doubtful: _Draft | None = None
        self._journal = Journal(influx, limits.records)
        self._moves = Moves()
        self._reader = Reader(influx, lambda: self._journal.valid, self._moves)
        self._pace = Pace(limits.share, 1)
        self._expiry = Expiry(
            influx,
            self._reader,
            self._journal,
            self._moves,
            self._pace,
            self._writing,
            self._newest_ms,
            self.metrics,
            self._ready,
        )
        self._names = Dictionary()
        self._series: list[Series] = []
        self._keys: list[str] = []
        self._devices: dict[str, Series] = {}
        self._newest = Newest()
        self._before = 0
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._warming = threading.Thread(target=self._warm, name="newest values", daemon=True)
        self._points_places = Places(self._look, self._look_at_points)
        self._event_places = Places(self._newest_events, self._look_at_events)

    def open(self) -> None:
        """Learn what the bucket holds, and give up what a hub before us did not finish."""
        try:
            self._influx.check()
            self._lease.claim()
            self._journal.load()
            self._expiry.settle()
            self._learn()
        except (SeriesError, Unstorable) as error:
            self._influx.close()
            raise error if isinstance(error, StoreUnavailable) else StoreUnavailable(str(error)) from error

    def tend(self) -> None:
        """Keep the bucket, and read the newest point of every series, so that an overview waits for no history."""
        self._lease.keep()
        self._warming.start()

    def close(self) -> None:
        """Let go of the server."""
        self._pace.stop()
        self._stop.set()
        if self._warming.is_alive():
            self._warming.join(CLOSING_S)
        with self._writing:
            if not self._closed:
                self._closed = True
                self._lease.leave()
                self._influx.close()

    def commit(self, commit: Commit) -> None:
        """Make all of it durable, or nothing."""
        with self._writing:
            if self._closed:
                raise StoreUnavailable("the series store is closed")
            if not any(commit):
                return
            self._lease.check()
            self._expiry.settle()
            draft = self._draft(commit)
            self._expiry.saw(draft.points.t)
            for event in commit.events:
                self._expiry.saw_event(event.device, event.t)
            self._doubtful = draft
            self._send(draft)
            self._doubtful = None
            self._newest.take(draft.points)
            self._settle_names()
            self._tidy()

    def marks(self) -> Iterator[Mark]:
        """Return the marks in order, neighbouring ones joined."""
        return iter(self._journal.marks)

    def latest(self, devices: Sequence[str]) -> dict[str, dict[str, Reading]]:
        """Return the newest reading of each metric by device."""
        series = self._names.select(devices, ()) if devices else []
        numbers = [number for _, _, number in series]
        self._look_back(numbers)
        return newest_readings(series, self._newest.points(numbers))

    def metrics(self, device: str) -> list[str]:
        """Return the names of a device's metrics, sorted."""
        return list(self._names.metrics(device))

    def span(self, device: str, metric: str, start: int, end: int) -> Span:
        """Return how many points a series holds in a range, and between which times."""
        if metric not in self._names.metrics(device):
            return Span(0, None, None)
        return self._reader.span(device, metric, start, end)

    def readings(
        self, device: str, metrics: Sequence[str], start: int, end: int, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Reading], str | None]:
        """Return a page of readings by time, metric and arrival, and the next cursor."""
        place = read_place(cursor) if cursor else None
        names = [metric for _, metric, _ in self._names.select([device], metrics)]
        return self._reader.readings(device, names, start, end, limit, place) if names else ([], None)

    def buckets(
        self, device: str, metric: str, start: int, end: int, *, width_ms: int, aggregation: Aggregation
    ) -> list[Bucket]:
        """Return the buckets of a range, without the empty ones."""
        if metric not in self._names.metrics(device):
            return []
        return self._reader.buckets(device, metric, start, end, width_ms, aggregation)

    def damaged(
        self,
        devices: Sequence[str],  # noqa: ARG002
        metrics: Sequence[str],  # noqa: ARG002
        start: int,  # noqa: ARG002
        end: int,  # noqa: ARG002
    ) -> list[Damaged]:
        """Return nothing: the server keeps its own checksums, and fails rather than to answer less."""
        return []

    def export_readings(
        self, devices: Sequence[str], metrics: Sequence[str], start: int, end: int
    ) -> Iterator[list[Reading]]:
        """Yield chunks of readings by device, metric, time and arrival."""
        series = [Series(*names) for names in self._names.select(devices, metrics)]
        return self._reader.export_readings(series, metrics, start, end)

    def events(
        self,
        device: str | None,
        name: str | None,
        start: int,
        end: int,
        *,
        limit: int,
        cursor: str | None = None,
        oldest_first: bool = False,
    ) -> tuple[list[StoredEvent], str | None]:
        """Return a page of events, and the next cursor."""
        after_t_n: tuple[int, int] | None = None
        if cursor:
            t, n = read_numbers(cursor, 2)
            after_t_n = t, n
        return self._reader.events((device, name), start, end, limit, after_t_n, oldest_first=oldest_first)

    def export_events(
        self, devices: Sequence[str], names: Sequence[str], start: int, end: int
    ) -> Iterator[list[StoredEvent]]:
        """Yield chunks of events by device, time and arrival."""
        known = sorted(set(devices) & set(self._devices) if devices else self._devices)
        return self._reader.export_events(known, names, start, end)

    def quarantine(
        self,
        agent: str | None,
        reason: str | None,
        *,
        limit: int,
        cursor: str | None = None,
        device: str | None = None,
        oldest_first: bool = False,
    ) -> tuple[list[Quarantined], str | None]:
        """Return a page of what was set aside, and the next cursor."""
        beyond = read_numbers(cursor, 1)[0] if cursor else None
        wanted = {"agent": agent, "reason": reason, "device": device}
        found, following = self._reader.quarantine(wanted, limit, beyond, oldest_first=oldest_first)
        return list(map(self._with_release, found)), following

    def quarantined(self, entry: str) -> Quarantined | None:
        """Return one quarantined entry by its id."""
        found = self._reader.quarantined(entry)
        return self._with_release(found) if found else None

    def counts(self) -> Counts:
        """Return the store's sizes."""
        totals = self._journal.totals
        return Counts(
            points=totals.points,
            events=totals.events,
            series=len(self._names),
            marks=len(self._journal.marks),
            quarantined=totals.quarantined - len(self._journal.releases),
            quarantined_bytes=totals.quarantined_bytes,
            quarantine_evicted=totals.evicted,
            quarantine_released=len(self._journal.releases),
            disk_bytes=self._influx.disk_bytes(),
        )

    def expire(self, policy: Policy, now: int) -> None:
        """Let go what is older at `now` (ms) than it is kept."""
        with self._writing:
            self._ready()
            series = list(self._series)
        self._expiry.points({one: policy.of_metric(one.device, one.metric) for one in series}, now)
        self._expiry.events(sorted(self._devices), policy, now)

    # inside

    def _newest_ms(self, one: Series) -> int:
        self._look_back([one.number])
        (found,) = self._newest.points([one.number])
        return BEGINNING if found is None else found[0]

    def _ready(self) -> None:
        """Make sure that no commit is under way. Raises SeriesError."""
        if self._closed:
            raise StoreUnavailable("the series store is closed")
        if self._doubtful is not None:
            raise SeriesError("a commit has not ended; old data is let go later")
        self._lease.check()

    def _learn(self) -> None:
        self._reader.look_for_rolled()
        tags = self._reader.tags("readings", "newest")
        self._series = [Series(found["device"], found["metric"], place) for place, found in enumerate(tags)]
        self._before = len(self._series)
        self._keys = [lines.series_key(device, metric) for device, metric, _ in self._series]
        self._names = Dictionary((number, device, metric) for device, metric, number in self._series)
        self._points_places = Places(self._look, self._look_at_points, len(self._series))
        devices = [found["device"] for found in self._reader.tags("events")]
        self._devices = {device: Series(device, "", place) for place, device in enumerate(devices)}
        self._event_places = Places(self._newest_events, self._look_at_events, len(devices))

    def _draft(self, commit: Commit) -> _Draft:
        """Return what is to be sent. A commit that comes again after a failure is sent again as it was."""
        if self._doubtful is not None:
            if commit.again(self._doubtful.commit):
                return self._doubtful
            self._journal.give_up(self._doubtful.reach)
            # Some of it may be there, so its series are.
            self._settle_names()
            self._doubtful = None
        try:
            return self._lines(commit)
        except (SeriesError, Unstorable):
            self._names.forget()
            raise

    def _lines(self, commit: Commit) -> _Draft:
        if max(len(commit.events), len(commit.quarantined)) >= ARRIVALS:
            raise Unstorable(f"more than {ARRIVALS} events in one commit")
        points = pack(commit.samples, self._names.numbers)
        event_times = np.array([event.t for event in commit.events], dtype=np.int64)
        times = np.concatenate((points.t, event_times))
        lines.check_times(times)
        keys = self._keys + [lines.series_key(device, metric) for _, device, metric in self._names.staged]
        number = self._journal.number
        floors = [Floor(void.start, void.end, void.places) for void in self._journal.valid.voids]
        ns = self._points_places.assign(points.series, points.t, floors)
        event_ns = self._event_places.assign(self._event_series(commit.events), event_times, floors)
        text = lines.readings(keys, points, ns, number)
        text += lines.events(commit.events, event_ns.tolist(), number * ARRIVALS, number)
        text += lines.quarantine(commit.quarantined, number * ARRIVALS, number)
        totals = after(self._journal.totals, commit, len(points.t), sum(map(size_of, commit.quarantined)))
        return _Draft(commit, points, text.encode(), _reach(times, np.concatenate((ns, event_ns))), totals)

    def _event_series(self, events: Sequence[StoredEvent]) -> NDArray[np.int32]:
        new = sorted({event.device for event in events} - self._devices.keys())
        first = len(self._devices)
        # A new dict, so that a reader in another thread never sees one that changes size.
        self._devices = self._devices | {device: Series(device, "", first + place) for place, device in enumerate(new)}
        return np.array([self._devices[event.device].number for event in events], dtype=np.int32)

    def _send(self, draft: _Draft) -> None:
        """Announce, write, and make valid: each is durable before the next begins, and may be repeated."""
        if draft.blob:
            self._journal.begin(draft.reach)
            self._influx.write(draft.blob)
        self._journal.finish(draft.commit.marks, draft.commit.releases, draft.totals)

    def _with_release(self, entry: Quarantined) -> Quarantined:
        return entry._replace(release=self._journal.releases.get(entry.id))

    def _settle_names(self) -> None:
        for number, device, metric in self._names.staged:
            self._series.append(Series(device, metric, number))
            self._keys.append(lines.series_key(device, metric))
        self._newest.began(self._names.settle())

    def backup(self, folder: Path) -> None:
        """Refuse: an InfluxDB is backed up by its own tool, which sees the whole server. Raises SeriesError."""
        raise SeriesError(f"the series are in InfluxDB: back them up with `influx backup`, not into {folder.name}")

    def _tidy(self) -> None:
        """Keep quarantine and the journal small. What fails here is tried again after a later commit."""
        totals, limits = self._journal.totals, self._limits
        if totals.quarantined > limits.quarantine_rows or totals.quarantined_bytes > limits.quarantine_bytes:
            self._evict()
        self._journal.tidy()

    def _evict(self) -> None:
        """Let the oldest of quarantine go, down to nine tenths of its bounds."""
        rows, size = self._limits.quarantine_rows * 9 // 10, self._limits.quarantine_bytes * 9 // 10
        try:
            found = self._reader.quarantine_sizes()
            reach = np.cumsum([entry[1] for entry in found])
            kept = min(rows, int(np.searchsorted(reach, size, side="right")))
            if kept < len(found):
                self._influx.delete("quarantine", 0, found[kept][0])
            left = int(reach[kept - 1]) if kept else 0
            totals = self._journal.totals
            self._journal.keep_releases({entry[2] for entry in found[:kept]})
            self._journal.checkpoint(
                Totals(totals.points, totals.events, kept, left, totals.evicted + totals.quarantined - kept)
            )
        except SeriesError as error:
            log.warning("quarantine could not be tidied up: %s", error)

    def _warm(self) -> None:
        try:
            for first in range(0, self._before, PAGE):
                if self._stop.is_set():
                    return
                self._look_back(range(first, min(first + PAGE, self._before)))
        except SeriesError as error:
            if not self._stop.is_set():
                log.warning("the newest values will be looked up when they are asked for: %s", error)

    def _look_back(self, numbers: Sequence[int]) -> None:
        """Read the newest points of series that were there before us, and of their neighbours, where it is not done."""
        for page in sorted({number // PAGE for number in self._newest.missing(numbers)}):
            with self._looking:  # whoever waits for the same page finds it done
                missing = self._newest.missing(range(page * PAGE, min((page + 1) * PAGE, self._before)))
                self._points_places.tell(missing, self._look(missing))

    def _look(self, numbers: Sequence[int]) -> dict[int, int]:
        """Take up the newest valid points of series, and return their newest times (ns), valid or not."""
        found = list(self._reader.newest([self._series[number] for number in numbers]))
        self._newest.merge(numbers, [_stored(one.number, one.row) for one in found if one.row])
        return {one.number: one.ns for one in found if one.ns is not None}

    def _newest_events(self, numbers: Sequence[int]) -> dict[int, int]:
        wanted = set(numbers)
        return self._reader.newest_event_times([one for one in self._devices.values() if one.number in wanted])

    def _look_at_points(self, questions: Sequence[Question]) -> list[Answer]:
        return self._reader.look("readings", [(self._series[question.series], question) for question in questions])

    def _look_at_events(self, questions: Sequence[Question]) -> list[Answer]:
        by_number = {one.number: one for one in self._devices.values()}
        return self._reader.look("events", [(by_number[question.series], question) for question in questions])


def _reach(times: NDArray[np.int64], ns: NDArray[np.int64]) -> Reach:
    if not len(times):
        return Reach(1, 0, 0)
    return Reach(int(times.min()), int(times.max()), int((ns % lines.NS).max()) + 1)


def _stored(number: int, row: Row) -> tuple[int, int, float | None, bool | None, str | None, int]:
    ns, value_f, value_b, value_s, stamp = row[:5]
    value = None if value_f is None else float(value_f)
    return number, ns // lines.NS, value, value_b, value_s, stamp % lines.QUALITIES
