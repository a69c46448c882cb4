"""The embedded store: one DuckDB file, written by one thread at a time and read by many (docs/decisions/0040)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from lamplighter_hub.series import aside, manifest, queries, rollups, rows, upkeep
from lamplighter_hub.series.ages import Policy
from lamplighter_hub.series.columns import Points, as_json, pack, relation
from lamplighter_hub.series.copying import Copier
from lamplighter_hub.series.damage import Damage
from lamplighter_hub.series.dictionary import Dictionary
from lamplighter_hub.series.engine import (
    NEVER_STORABLE,
    Cursor,
    Engine,
    EngineError,
    Limits,
    append,
    line,
    unavailable,
)
from lamplighter_hub.series.expiry import Expiry
from lamplighter_hub.series.guard import Guard, Keep
from lamplighter_hub.series.newest import Newest, newest_readings
from lamplighter_hub.series.pace import Pace
from lamplighter_hub.series.questions import Questions
from lamplighter_hub.series.sealing import Pass, Sealer
from lamplighter_hub.series.sizes import Sizes
from lamplighter_hub.series.spans import Rules
from lamplighter_hub.series.store import (
    BEGINNING,
    END_OF_TIME,
    Bucket,
    Checked,
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
from lamplighter_hub.series.verifier import Verifier
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.readings import Reading

__all__ = ["DuckDbSeries", "Keep", "Limits", "Rules", "open_duckdb"]

log = logging.getLogger(__name__)

FILE: Final = "series.duckdb"
RECENT: Final = 5 * 60_000
"""Whoever has a point younger than this (ms) needs no look at older ones."""
STEP: Final = 1 << 20
"""Between two generations of hot points there is room for the ones that sealing carries over."""


def now_ms() -> int:
    """Return the hub's time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def open_duckdb(
    folder: Path,
    limits: Limits | None = None,
    rules: Rules | None = None,
    clock: Callable[[], int] = now_ms,
    keep: Keep | None = None,
) -> DuckDbSeries:
    """Open `series.duckdb` in a folder, or make it, and seal what is closed by a clock (ms) from now on.

    Raises StoreUnavailable, in one line, when it cannot be used.
    """
    store = DuckDbSeries(folder / FILE, limits or Limits(), rules or Rules(), clock, keep or Keep())
    store.open()
    store.tend()
    return store


class DuckDbSeries:
    """A `TimeSeries` in a DuckDB file; made by `open_duckdb`."""

    def __init__(self, path: Path, limits: Limits, rules: Rules, clock: Callable[[], int], keep: Keep) -> None:
        self._path = path
        self._limits = limits
        self._clock = clock
        self._writing = threading.Lock()
        self._engine = Engine(path, limits)
        self._readers = manifest.Readers()
        self._damage = Damage(self._engine)
        self._guard = Guard(self._engine, self._readers, keep)
        pace, passing = Pace(rules.share, limits.threads), threading.Lock()
        self._sealer = Sealer(
            self._engine, self._readers, rules, clock, self._rotate, self._damage, pace, passing, self._warm
        )
        self._expiry = Expiry(self._engine, self._readers, self._damage, self._guard, pace, passing)
        self._verifier = Verifier(self._engine, self._readers, self._damage, passing)
        self._questions = Questions(self._engine, self._readers, self._damage)
        self._copier = Copier(self._engine, self._readers, self._guard)
        self._closed = False
        self._refusing = ""
        self._doubtful: tuple[tuple[int, ...], Commit] | None = None
        self._landed: Commit | None = None
        self._active = 0
        self._names = Dictionary()
        self._newest = Newest()
        self._sizes = Sizes()

    def open(self) -> None:
        """Open the file and learn what it holds."""
        try:
            self._learn(self._engine.open())
        except EngineError as error:
            self._engine.drop()
            raise unavailable(self._path, error) from error
        except SeriesError:
            self._engine.drop()
            raise

    def tend(self) -> None:
        """Remove what a crash left, look whether the sealed files are there, and begin to seal."""
        try:
            with self._engine.read() as db:
                raw = {self._path.parent / item.path for item in manifest.known(db)}
                rolled = rollups.paths(db, self._path.parent)
            if strays := manifest.sweep(self._path.parent, raw | rolled):
                log.warning("removed %d files that a crash had left", strays)
            self._damage.missing()
            self._damage.review()
        except (OSError, SeriesError) as error:
            log.warning("the sealed files could not be looked through: %s", error)
        self._sealer.start()

    def seal(self) -> Pass:
        """Seal and gather what is closed now, beside the thread that does so. Raises SeriesError."""
        done = self._sealer.seal()
        while self._sealer.gather():
            pass
        return done

    def expire(self, policy: Policy, now: int) -> None:
        """Let go what is older at `now` (ms) than it is kept; what is closed is sealed first."""
        self._sealer.seal()
        series = self._names.select((), ())
        self._expiry.points({number: policy.of_metric(device, metric) for device, metric, number in series}, now)
        self._expiry.events(policy, now)

    def facts(self) -> dict[str, Any]:
        """Return how the store is, for people: why it takes nothing, what is damaged (None: not known), what went."""
        try:
            damaged: list[str] | None = [item.path for item in self._damage.everything()]
        except SeriesError:
            damaged = None
        return {
            "sealed_bytes": self._sealed_bytes,
            "refusing": self._refusing,
            "trouble": self._sealer.trouble,
            "damaged": damaged,
            "gone": asdict(self._guard.gone),
        }

    def check(self, after: str = "") -> Iterator[Checked]:
        """Read the files behind a place, one at each step; what is damaged is left out, or made anew."""
        return self._verifier.check(after)

    def check_size(self) -> tuple[int, int]:
        """Return how many files and bytes there are to check."""
        return self._verifier.size()

    def damaged(self, devices: Sequence[str], metrics: Sequence[str], start: int, end: int) -> list[Damaged]:
        """Return the damaged files that may hold something of a range."""
        numbers = [number for _, _, number in self._names.select(devices, metrics)]
        return self._damage.of(numbers, start, end)

    def close(self) -> None:
        """Make the file tidy and let go of it; a backup that is being made ends without success."""
        self._copier.stop()
        self._sealer.stop()
        with self._copier.working, self._writing:
            self._closed = True
            self._engine.close()

    def commit(self, commit: Commit) -> None:
        """Make all of it durable, or nothing."""
        try:
            self._commit(commit)
        except SeriesError as error:
            self._refusing = str(error)
            raise
        self._refusing = ""

    def _commit(self, commit: Commit) -> None:
        with self._writing:
            if self._already_taken(commit):
                return
            self._guard.make_room(self._clock())
            try:
                points = pack(commit.samples, self._names.numbers)
                with self._engine.transaction() as db:
                    self._write(db, commit, points)
            except (EngineError, SeriesError, Unstorable) as error:
                self._names.forget()
                if not isinstance(error, EngineError):
                    raise
                self._recover(error, commit)
                return
            self._settle(commit, points)
            upkeep.tidy(self._engine, self._sizes, self._limits)

    def marks(self) -> Iterator[Mark]:
        """Return the marks in order, neighbouring ones joined."""
        with self._engine.read() as db:
            db.execute(queries.JOINED_MARKS)
            while found := db.fetchmany(5_000):
                yield from map(Mark._make, found)

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
        number = self._names.metrics(device).get(metric)
        if number is None:
            return Span(0, None, None)

        def counted(points: str) -> str:
            return rollups.span(points, start, end)

        return Span(*self._questions.rolled(rollups.Wanted(number), start, end, counted)[0])

    def readings(
        self, device: str, metrics: Sequence[str], start: int, end: int, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Reading], str | None]:
        """Return a page of readings by time, metric and arrival, and the next cursor."""
        place = rows.read_place(cursor) if cursor else None
        series = self._names.select([device], metrics)
        names = [metric for _, metric, _ in series]
        asked = {
            "start": start if place is None else max(start, place.t),
            "end": end,
            "after": BEGINNING if place is None else place.t,
            "rank": sum(name < place.metric for name in names) if place else 0,
            "skip": place.skip if place and place.metric in names else 0,
            "limit": limit + 1,
        }
        found = self._questions.page([number for _, _, number in series], asked)
        page = [rows.reading(device, names[row[0]], row[1:]) for row in found[:limit]]
        more = rows.write_cursor(*rows.place_after(page, place)) if len(found) > limit else None
        return page, more

    def buckets(
        self, device: str, metric: str, start: int, end: int, *, width_ms: int, aggregation: Aggregation
    ) -> list[Bucket]:
        """Return the buckets of a range, without the empty ones."""
        number = self._names.metrics(device).get(metric)
        if number is None:
            return []
        if wanted := rollups.wanted(number, width_ms, aggregation):

            def reduced(points: str) -> str:
                return rollups.buckets(points, width_ms, aggregation)

            return [rows.bucket(row) for row in self._questions.rolled(wanted, start, end, reduced)]
        asked = {"series": number, "start": start, "end": end, "width": width_ms}
        return [rows.bucket(row) for row in self._questions.ask(queries.buckets(aggregation), asked, [number])]

    def export_readings(
        self, devices: Sequence[str], metrics: Sequence[str], start: int, end: int
    ) -> Iterator[list[Reading]]:
        """Yield chunks of readings by device, metric, time and arrival."""
        series = self._names.select(devices, metrics)
        keys = [number for _, _, number in series]
        for chunk in self._questions.export(queries.EXPORT_POINTS, keys, {"start": start, "end": end}):
            yield [rows.reading(series[row[0]][0], series[row[0]][1], row[1:]) for row in chunk]

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
        beyond = BEGINNING if oldest_first else END_OF_TIME
        t, n = rows.read_numbers(cursor, 2) if cursor else (beyond, beyond)
        asked = {"device": device, "name": name, "start": start, "end": end, "t": t, "n": n, "limit": limit + 1}
        with self._engine.read() as db:
            found = db.execute(queries.OLDEST_EVENTS if oldest_first else queries.NEWEST_EVENTS, asked).fetchall()
        page = found[:limit]
        more = rows.write_cursor(page[-1][2], page[-1][0]) if len(found) > limit else None
        return [rows.event(row[1], row[2:]) for row in page], more

    def export_events(
        self, devices: Sequence[str], names: Sequence[str], start: int, end: int
    ) -> Iterator[list[StoredEvent]]:
        """Yield chunks of events by device, time and arrival."""
        keys = sorted(set(devices)) or self._event_devices()
        for chunk in self._questions.export(
            queries.EXPORT_EVENTS, keys, {"start": start, "end": end, "names": list(names)}
        ):
            yield [rows.event(keys[row[0]], row[1:]) for row in chunk]

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
        asked = {"agent": agent, "reason": reason, "device": device, "limit": limit + 1}
        with self._engine.read() as db:
            found = aside.page(db, asked, oldest_first=oldest_first, cursor=cursor)
        page = found[:limit]
        return [aside.entry(row[1:]) for row in page], str(page[-1][0]) if len(found) > limit else None

    def quarantined(self, entry: str) -> Quarantined | None:
        """Return one quarantined entry by its id."""
        with self._engine.read() as db:
            return aside.one(db, entry)

    def counts(self) -> Counts:
        """Return the store's sizes."""
        sizes = self._sizes
        files = (self._path, self._path.with_name(self._path.name + ".wal"))
        return Counts(
            points=sizes.points,
            events=sizes.events,
            series=len(self._names),
            marks=sizes.marks,
            quarantined=sizes.quarantined - sizes.released,
            quarantined_bytes=sizes.quarantined_bytes,
            quarantine_evicted=sizes.evicted,
            quarantine_released=sizes.released,
            disk_bytes=sum(file.stat().st_size for file in files if file.exists()) + self._sealed_bytes,
        )

    def backup(self, folder: Path) -> None:
        """Write all of one moment into an empty folder: the database, and the sealed files that it names."""
        self._copier.copy(folder)

    # inside

    @property
    def _sealed_bytes(self) -> int:
        return self._sealer.bytes - self._guard.gone.bytes

    def _learn(self, db: Cursor) -> None:
        """Learn what the file holds. A file that is in order is not written to: the disk may be full."""
        db.execute("BEGIN")
        db.execute(queries.SCHEMA + manifest.SCHEMA + rollups.SCHEMA)
        facts = dict(db.execute("SELECT name, value FROM meta").fetchall())
        if not 1 <= facts.get("schema", queries.VERSION) <= queries.VERSION:
            raise StoreUnavailable(f"{self._path} was written by another version of Lamplighter; use that version")
        upkeep.upgrade(db, facts)
        aside.widen(db)
        db.execute("COMMIT")
        self._names = Dictionary(db.execute("SELECT id, device, metric FROM series").fetchall())
        self._newest = Newest()
        hot = manifest.generations(db)
        self._active = hot[-1]
        points = manifest.union(self._path.parent, (), hot)
        self._sizes = Sizes(*db.execute(queries.COUNTS.replace("{points}", points)).fetchall()[0])
        self._sealer.bytes = sum(item.size for item in manifest.known(db)) + self._guard.gone.bytes
        self._sizes.loose_marks = self._sizes.marks - db.execute(queries.COUNT_JOINED).fetchall()[0][0]

    def _write(self, db: Cursor, commit: Commit, points: Points) -> None:
        append(db, "series", relation(self._names.staged, ("id", "device", "metric")))
        append(db, manifest.hot_name(self._active), points.relation())
        first = self._sizes.event_n + 1
        events = [(first + place, e.device, e.t, e.name, as_json(e.data)) for place, e in enumerate(commit.events)]
        append(db, "events", relation(events, queries.EVENT_COLUMNS))
        append(db, "marks", relation(commit.marks, queries.MARK_COLUMNS))
        aside.write(db, self._sizes.quarantine_n + 1, commit.quarantined, commit.releases)

    def _settle(self, commit: Commit, points: Points) -> None:
        """Bring what is in memory up to what is durable now."""
        self._sizes.took(commit, len(points.t))
        self._newest.take(points)
        self._newest.began(self._names.settle())

    def _recover(self, error: EngineError, commit: Commit) -> None:
        """Return when the failed commit is durable after all; raise what it means otherwise.

        Whether a commit reached the file before it failed only the file can tell, so it is opened afresh.
        """
        if isinstance(error, NEVER_STORABLE):
            raise Unstorable(line(error)) from error
        self._engine.drop()
        self._doubtful = (self._sizes.rows(), commit)
        try:
            if not self._already_taken(commit):
                raise SeriesError(f"{self._path.name} did not take the data: {line(error)}") from error
        except StoreUnavailable as again:
            raise SeriesError(str(again)) from error

    def _already_taken(self, commit: Commit) -> bool:
        """Make sure that the file is open; True when it holds this commit, whose end was not seen before."""
        if not self._engine.is_open:
            self._reopen()
        if self._doubtful is not None:
            (before, doubtful), self._doubtful = self._doubtful, None
            # Whoever made it comes again; another one may come first.
            self._landed = doubtful if self._sizes.rows() != before else None
        if self._landed is None or not commit.again(self._landed):
            return False
        self._landed = None
        return True

    def _reopen(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"{self._path.name} is closed")
        self.open()

    def _look_back(self, numbers: Sequence[int]) -> None:
        """Read the newest points of series that were not asked for since the start."""
        for since in (self._clock() - RECENT, BEGINNING):
            if missing := self._newest.missing(numbers):
                found = self._questions.ask(queries.NEWEST, {"since": since}, missing, sealed=False)
                self._newest.merge(missing if since == BEGINNING else {row[0] for row in found}, found)

    def _warm(self) -> None:
        """Read the newest point of every series, so that the first overview of a city waits for no history."""
        self._look_back(range(len(self._names)))

    def _event_devices(self) -> list[str]:
        with self._engine.read() as db:
            return [device for (device,) in db.execute(queries.EVENT_DEVICES).fetchall()]

    def _rotate(self) -> None:
        """Begin a new generation of hot points, so that the ones before may be sealed. Raises SeriesError."""
        with self._writing:
            if not self._engine.is_open:
                self._reopen()
            fresh = self._active + STEP
            try:
                with self._engine.transaction() as db:
                    db.execute(manifest.HOT_TABLE.format(name=manifest.hot_name(fresh)))
                    db.execute("INSERT INTO hot VALUES ($generation)", {"generation": fresh})
            except EngineError as error:
                # Whether it is durable only the file can tell.
                self._engine.drop()
                self._reopen()
                raise SeriesError(f"{self._path.name} took no new generation: {line(error)}") from error
            self._active = fresh
