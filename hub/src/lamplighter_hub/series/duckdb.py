"""The embedded store: one DuckDB file, written by one thread at a time and read by many (docs/decisions/0040)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import numpy as np

from lamplighter_hub.series import queries, rows
from lamplighter_hub.series.columns import Points, array, as_json, pack, relation, size_of
from lamplighter_hub.series.dictionary import Dictionary
from lamplighter_hub.series.newest import Newest
from lamplighter_hub.series.slices import Slice, cut, fractions, together
from lamplighter_hub.series.store import (
    BEGINNING,
    END_OF_TIME,
    Bucket,
    Commit,
    Counts,
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

FILE: Final = "series.duckdb"
CHUNK: Final = 5_000
"""Rows that an export hands out at once."""
Cursor = duckdb.DuckDBPyConnection
_NEVER_STORABLE: Final = (duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError, duckdb.NotSupportedError)


class Limits(NamedTuple):
    """What the store may use; quarantine keeps within both of its bounds, `loose_marks` may wait to be joined."""

    memory: str = "512MB"
    threads: int = 2
    quarantine_rows: int = 10_000
    quarantine_bytes: int = 64 * 1024 * 1024
    loose_marks: int = 50_000


@dataclass(slots=True)
class _Sizes:
    """What would need a look through the file. `event_n` and `quarantine_n` number arrivals from 1."""

    points: int = 0
    events: int = 0
    event_n: int = 0
    marks: int = 0
    quarantined: int = 0
    quarantined_bytes: int = 0
    quarantine_n: int = 0
    evicted: int = 0
    loose_marks: int = 0

    def rows(self) -> tuple[int, int, int, int]:
        """Return how many rows there are; every commit adds some."""
        return self.points, self.events, self.marks, self.quarantined


def open_duckdb(folder: Path, limits: Limits | None = None) -> DuckDbSeries:
    """Open `series.duckdb` in a folder, or make it. Raises StoreUnavailable, in one line, when it cannot be used."""
    store = DuckDbSeries(folder / FILE, limits or Limits())
    store.open()
    return store


class DuckDbSeries:
    """A `TimeSeries` in a DuckDB file; made by `open_duckdb`."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self._writing = threading.Lock()
        self._handing = threading.Lock()
        self._database: Cursor | None = None
        self._closed = False
        self._doubtful: tuple[tuple[int, ...], Commit] | None = None
        self._names = Dictionary()
        self._newest = Newest()
        self._sizes = _Sizes()
        self._backing = threading.Lock()
        self._copying: Cursor | None = None

    def open(self) -> None:
        """Open the file and learn what it holds."""
        try:
            self._database = duckdb.connect(str(self._path), config=_config(self._path, self._limits))
            self._learn(self._database)
        except duckdb.Error as error:
            self._drop()
            raise _unavailable(self._path, error) from error

    def close(self) -> None:
        """Make the file tidy and let go of it; a backup that is being made ends without success."""
        if (copying := self._copying) is not None:
            copying.interrupt()
        with self._backing, self._writing:
            self._closed = True
            self._drop()

    def commit(self, commit: Commit) -> None:
        """Make all of it durable, or nothing."""
        with self._writing:
            if self._already_taken(commit):
                return
            try:
                points = pack(commit.samples, self._names.numbers)
                with self._transaction() as db:
                    self._write(db, commit, points)
            except (duckdb.Error, SeriesError, Unstorable) as error:
                self._names.forget()
                if not isinstance(error, duckdb.Error):
                    raise
                self._recover(error, commit)
                return
            self._settle(commit, points)
            self._tidy()

    def marks(self) -> Iterator[Mark]:
        """Return the marks in order, neighbouring ones joined."""
        with self._read() as db:
            db.execute(queries.JOINED_MARKS)
            while found := db.fetchmany(CHUNK):
                yield from map(Mark._make, found)

    def latest(self, devices: Sequence[str]) -> dict[str, dict[str, Reading]]:
        """Return the newest reading of each metric by device."""
        names = {device: self._names.metrics(device) for device in dict.fromkeys(devices)}
        self._look_back([number for metrics in names.values() for number in metrics.values()])
        found: dict[str, dict[str, Reading]] = {}
        for device, metrics in names.items():
            points = ((metric, self._newest.get(number)) for metric, number in metrics.items())
            found[device] = {metric: Reading(device, metric, *point) for metric, point in points if point}
        return {device: readings for device, readings in found.items() if readings}

    def metrics(self, device: str) -> list[str]:
        """Return the names of a device's metrics, sorted."""
        return list(self._names.metrics(device))

    def span(self, device: str, metric: str, start: int, end: int) -> Span:
        """Return how many points a series holds in a range, and between which times."""
        number = self._names.metrics(device).get(metric)
        if number is None:
            return Span(0, None, None)
        with self._read() as db:
            row = db.execute(queries.SPAN, {"series": number, "start": start, "end": end}).fetchone()
        return Span(*row) if row else Span(0, None, None)

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
        with self._wanted([number for _, _, number in series]) as db:
            found = db.execute(queries.READINGS, asked).fetchall()
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
        asked = {"series": number, "start": start, "end": end, "width": width_ms}
        with self._read() as db:
            return [rows.bucket(row) for row in db.execute(queries.buckets(aggregation), asked).fetchall()]

    def export_readings(
        self, devices: Sequence[str], metrics: Sequence[str], start: int, end: int
    ) -> Iterator[list[Reading]]:
        """Yield chunks of readings by device, metric, time and arrival."""
        series = self._names.select(devices, metrics)
        keys = [number for _, _, number in series]
        for chunk in self._export(queries.EXPORT_POINTS, keys, {"start": start, "end": end}):
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
        with self._read() as db:
            found = db.execute(queries.OLDEST_EVENTS if oldest_first else queries.NEWEST_EVENTS, asked).fetchall()
        page = found[:limit]
        more = rows.write_cursor(page[-1][2], page[-1][0]) if len(found) > limit else None
        return [rows.event(row[1], row[2:]) for row in page], more

    def export_events(
        self, devices: Sequence[str], names: Sequence[str], start: int, end: int
    ) -> Iterator[list[StoredEvent]]:
        """Yield chunks of events by device, time and arrival."""
        keys = sorted(set(devices)) or self._event_devices()
        for chunk in self._export(queries.EXPORT_EVENTS, keys, {"start": start, "end": end, "names": list(names)}):
            yield [rows.event(keys[row[0]], row[1:]) for row in chunk]

    def quarantine(
        self, agent: str | None, reason: str | None, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Quarantined], str | None]:
        """Return a page of what was set aside, newest first, and the next cursor."""
        n = rows.read_numbers(cursor, 1)[0] if cursor else END_OF_TIME
        asked = {"agent": agent, "reason": reason, "n": n, "limit": limit + 1}
        with self._read() as db:
            found = db.execute(queries.QUARANTINE, asked).fetchall()
        page = found[:limit]
        return [Quarantined(*row[1:]) for row in page], str(page[-1][0]) if len(found) > limit else None

    def quarantined(self, entry: str) -> Quarantined | None:
        """Return one quarantined entry by its id."""
        with self._read() as db:
            row = db.execute(queries.QUARANTINED, {"id": entry}).fetchone()
        return Quarantined(*row) if row else None

    def counts(self) -> Counts:
        """Return the store's sizes."""
        sizes = self._sizes
        files = (self._path, self._path.with_name(self._path.name + ".wal"))
        return Counts(
            points=sizes.points,
            events=sizes.events,
            series=len(self._names),
            marks=sizes.marks,
            quarantined=sizes.quarantined,
            quarantined_bytes=sizes.quarantined_bytes,
            quarantine_evicted=sizes.evicted,
            disk_bytes=sum(file.stat().st_size for file in files if file.exists()),
        )

    def backup(self, folder: Path) -> None:
        """Write all of one moment into a file in an empty folder."""
        with self._backing, self._read() as db:
            self._copying = db
            try:
                _copy(db, folder / FILE)
            finally:
                self._copying = None

    # inside

    def _learn(self, db: Cursor) -> None:
        """Learn what the file holds. A file that is in order is not written to: the disk may be full."""
        db.execute("BEGIN")
        db.execute(queries.SCHEMA)
        facts = dict(db.execute("SELECT name, value FROM meta").fetchall())
        for name, value in {"schema": queries.VERSION, "quarantine_evicted": 0}.items():
            if name not in facts:
                db.execute("INSERT INTO meta VALUES ($name, $value)", {"name": name, "value": value})
        db.execute("COMMIT")
        if facts.get("schema", queries.VERSION) != queries.VERSION:
            raise StoreUnavailable(f"{self._path} was written by another version of Lamplighter; use that version")
        self._names = Dictionary(db.execute("SELECT id, device, metric FROM series").fetchall())
        self._newest = Newest()
        self._sizes = _Sizes(*db.execute(queries.COUNTS).fetchall()[0])
        self._sizes.loose_marks = self._sizes.marks - db.execute(queries.COUNT_JOINED).fetchall()[0][0]

    def _write(self, db: Cursor, commit: Commit, points: Points) -> None:
        _append(db, "series", relation(self._names.staged, ("id", "device", "metric")))
        _append(db, "points", points.relation())
        first = self._sizes.event_n + 1
        events = [(first + place, e.device, e.t, e.name, as_json(e.data)) for place, e in enumerate(commit.events)]
        _append(db, "events", relation(events, queries.EVENT_COLUMNS))
        _append(db, "marks", relation(commit.marks, queries.MARK_COLUMNS))
        first = self._sizes.quarantine_n + 1
        entries = [(first + place, size_of(entry), *entry) for place, entry in enumerate(commit.quarantined)]
        _append(db, "quarantine", relation(entries, queries.QUARANTINE_COLUMNS))

    def _settle(self, commit: Commit, points: Points) -> None:
        """Bring what is in memory up to what is durable now."""
        sizes = self._sizes
        sizes.points += len(points.t)
        sizes.events += len(commit.events)
        sizes.event_n += len(commit.events)
        sizes.marks += len(commit.marks)
        sizes.loose_marks += len(commit.marks)
        sizes.quarantined += len(commit.quarantined)
        sizes.quarantine_n += len(commit.quarantined)
        sizes.quarantined_bytes += sum(map(size_of, commit.quarantined))
        self._newest.take(points)
        self._newest.began(self._names.settle())

    def _recover(self, error: duckdb.Error, commit: Commit) -> None:
        """Return when the failed commit is durable after all; raise what it means otherwise.

        Whether a commit reached the file before it failed only the file can tell, so it is opened afresh.
        """
        if isinstance(error, _NEVER_STORABLE):
            raise Unstorable(_line(error)) from error
        self._drop()
        self._doubtful = (self._sizes.rows(), commit)
        try:
            if not self._already_taken(commit):
                raise SeriesError(f"{self._path.name} did not take the data: {_line(error)}") from error
        except StoreUnavailable as again:
            raise SeriesError(str(again)) from error

    def _already_taken(self, commit: Commit) -> bool:
        """Make sure that the file is open; True when it holds this commit, whose end was not seen before."""
        if self._database is None:
            self._reopen()
        if self._doubtful is None:
            return False
        (before, doubtful), self._doubtful = self._doubtful, None
        return self._sizes.rows() != before and doubtful[:3] == commit[:3]

    def _reopen(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"{self._path.name} is closed")
        self.open()

    def _tidy(self) -> None:
        """Keep quarantine and marks small. What fails here is tried again after a later commit."""
        sizes, limits = self._sizes, self._limits
        try:
            if sizes.quarantined > limits.quarantine_rows or sizes.quarantined_bytes > limits.quarantine_bytes:
                self._evict()
            if sizes.loose_marks > max(limits.loose_marks, (sizes.marks - sizes.loose_marks) // 2):
                with self._transaction() as db:
                    sizes.marks = _join_marks(db)
                sizes.loose_marks = 0
        except duckdb.Error as error:
            log.warning("%s could not be tidied up: %s", self._path.name, _line(error))

    def _evict(self) -> None:
        """Let the oldest of quarantine go, down to nine tenths of its bounds."""
        keep = {"rows": self._limits.quarantine_rows * 9 // 10, "bytes": self._limits.quarantine_bytes * 9 // 10}
        with self._transaction() as db:
            oldest, count, size = db.execute(queries.EVICTABLE, keep).fetchall()[0]
            db.execute("DELETE FROM quarantine WHERE n <= $n", {"n": oldest})
            db.execute("UPDATE meta SET value = value + $n WHERE name = 'quarantine_evicted'", {"n": count})
        self._sizes.quarantined -= count
        self._sizes.quarantined_bytes -= int(size)
        self._sizes.evicted += count

    def _look_back(self, numbers: Sequence[int]) -> None:
        """Read the newest points of series that were not asked for since the start."""
        if missing := self._newest.missing(numbers):
            with self._wanted(missing) as db:
                self._newest.merge(missing, db.execute(queries.NEWEST).fetchall())

    def _export(
        self, export: queries.Export, keys: Sequence[int | str], asked: Mapping[str, Any]
    ) -> Iterator[list[Any]]:
        with self._wanted(keys) as db:
            plan = db.execute(export.plan, asked).fetchall()
        for group in together(plan):
            for part in self._slices(export, keys, group, asked):
                with self._wanted([keys[rank] for rank in part.ranks], part.ranks) as db:
                    db.execute(export.rows, {**asked, "start": part.start, "end": part.end})
                    while chunk := db.fetchmany(CHUNK):
                        yield chunk

    def _slices(
        self, export: queries.Export, keys: Sequence[int | str], group: list[tuple[int, int]], asked: Mapping[str, Any]
    ) -> Iterator[Slice]:
        start, end = asked["start"], asked["end"]
        (rank, count), *others = group
        parts = fractions(count)
        if others or not parts:
            yield Slice([rank for rank, _ in group], start, end)
            return
        with self._wanted([keys[rank]]) as db:
            cuts = db.execute(export.cuts, {**asked, "cuts": parts}).fetchall()[0][0]
        yield from cut(rank, start, end, cuts or [])

    def _event_devices(self) -> list[str]:
        with self._read() as db:
            return [device for (device,) in db.execute(queries.EVENT_DEVICES).fetchall()]

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        db = self._cursor()
        try:
            db.execute("BEGIN")
            yield db
            db.execute("COMMIT")
        finally:
            db.close()

    @contextmanager
    def _read(self) -> Iterator[Cursor]:
        db = self._cursor()
        try:
            yield db
        except duckdb.Error as error:
            raise SeriesError(f"{self._path.name} could not be read: {_line(error)}") from error
        finally:
            db.close()

    @contextmanager
    def _wanted(self, keys: Sequence[int | str], ranks: Sequence[int] | None = None) -> Iterator[Cursor]:
        """Give a cursor that knows `wanted`: the keys asked for, with their rank in the answer."""
        with self._read() as db:
            order = range(len(keys)) if ranks is None else ranks
            db.register("wanted", {"key": array(keys), "rank": np.array(order, dtype=np.int64)})
            yield db

    def _cursor(self) -> Cursor:
        with self._handing:
            if self._database is None:
                raise StoreUnavailable(f"{self._path.name} is closed")
            return self._database.cursor()

    def _drop(self) -> None:
        with self._handing:
            database, self._database = self._database, None
        if database is not None:
            with suppress(duckdb.Error):  # a reader is at work: the file is let go of when it has ended
                database.close()


def _config(path: Path, limits: Limits) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "memory_limit": limits.memory,
        "threads": limits.threads,
        "async_threads": 1,
        # Else its allocator keeps what a query has used, for ever: 14 MB in an idle hub.
        "allocator_background_threads": True,
        "temp_directory": str(path.with_name(path.name + ".tmp")),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }


def _unavailable(path: Path, error: duckdb.Error) -> StoreUnavailable:
    if "could not set lock" in str(error).lower():
        return StoreUnavailable(f"{path} is used by another hub; stop it, or choose another folder with --data")
    if "no space left" in str(error).lower():
        return StoreUnavailable(f"{path} cannot be opened: the disk is full; make room")
    return StoreUnavailable(f"{path} cannot be opened: {_line(error)}; restore a backup, or move the file away")


def _line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0][:300]


def _join_marks(db: Cursor) -> int:
    """Replace the marks by the joined ones, inside the caller's transaction; return how many there are."""
    db.execute("CREATE OR REPLACE TEMP TABLE joined AS " + queries.JOINED_MARKS)
    db.execute("DELETE FROM marks")
    db.execute("INSERT INTO marks SELECT * FROM joined")
    db.execute("DROP TABLE joined")
    found: int = db.execute("SELECT count(*) FROM marks").fetchall()[0][0]
    return found


def _copy(db: Cursor, target: Path) -> None:
    """Copy the whole database as one transaction sees it: rows keep their order, commits go on meanwhile."""
    db.execute(f"ATTACH '{str(target).replace(chr(39), chr(39) * 2)}' AS backup")
    try:
        db.execute(f'BEGIN; COPY FROM DATABASE "{target.stem}" TO backup; COMMIT; CHECKPOINT backup')
    finally:
        with suppress(duckdb.TransactionException):
            db.rollback()
        db.execute("DETACH backup")


def _append(db: Cursor, table: str, incoming: Mapping[str, Any]) -> None:
    """Append equally long columns to a table, in their order. DuckDB finds `incoming` by its name in this frame."""
    if incoming and len(next(iter(incoming.values()))):
        names = ", ".join(incoming)
        db.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming")  # noqa: S608 (names of this package)
