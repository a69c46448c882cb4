"""Sealing: points of closed hours leave the hot tables and become sorted Parquet files (docs/decisions/0043).

A pass writes its files first, gives them their names durably, and then lets one transaction name them in the manifest,
drop what they replace and empty the hot tables. Whatever happens before that transaction leaves only files that nobody
knows, which the next start removes; what happens after it leaves only files that nobody needs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter_hub.series import filing, manifest, rollups
from lamplighter_hub.series.damage import Damage
from lamplighter_hub.series.engine import Cursor, Engine, EngineError, line, quoted
from lamplighter_hub.series.gathering import Gatherer
from lamplighter_hub.series.manifest import (
    DAY,
    HOUR,
    Entry,
    Readers,
    Rolled,
    SealedFile,
    files,
    generations,
    hot_name,
    union,
)
from lamplighter_hub.series.pace import Moment, Pace, Stopped
from lamplighter_hub.series.spans import Rules, Span, parts, plan
from lamplighter_hub.series.store import SeriesError

log = logging.getLogger(__name__)

_HOUR_OF: Final = f"(t - ((t % {HOUR}) + {HOUR}) % {HOUR})"
_SMALL_DAYS: Final = """
SELECT DISTINCT day FROM (
    SELECT "begin" - (("begin" % $day) + $day) % $day AS day, "begin", "end", rows FROM files
    WHERE seq NOT IN (SELECT seq FROM damaged UNION ALL SELECT seq FROM thinned))
GROUP BY day HAVING count(DISTINCT ("begin", "end")) > 1 AND sum(rows) <= $small AND day + $day <= $closed
"""
SLICE: Final = 500_000
"""About how many points are sorted at once: what sealing needs of memory."""
_SORTED: Final = """COPY (
    SELECT p.series, s.device, s.metric, p.t, p.number, p.truth, p.text, p.quality
    FROM {points} p JOIN series s ON s.id = p.series
    WHERE p.series BETWEEN {low} AND {high} AND p.t >= {begin} AND p.t < {end}
    ORDER BY p.series, p.t, p.place) TO {path} (FORMAT parquet, COMPRESSION lz4_raw)"""
_NEWEST: Final = """
SELECT p.series, p.t, p.number, p.truth, p.text, p.quality
FROM {points} p JOIN (
    SELECT series, max(t) AS t FROM {points} WHERE t >= {earliest} AND t < {closed} GROUP BY series) n
    ON p.series = n.series AND p.t = n.t
QUALIFY row_number() OVER (PARTITION BY p.series ORDER BY p.place DESC) = 1
"""


class Pass(NamedTuple):
    """What a pass of sealing did: hot points that are sealed now, files written and replaced, seconds of work."""

    points: int = 0
    written: int = 0
    replaced: int = 0
    busy_s: float = 0.0


class Sealer:
    """Seals what is closed. Whoever rewrites files holds `passing`; `rotate` lets the writer begin a new generation.

    Its thread does `first` before anything else.
    """

    def __init__(
        self,
        engine: Engine,
        readers: Readers,
        rules: Rules,
        clock: Callable[[], int],
        rotate: Callable[[], None],
        damage: Damage,
        pace: Pace,
        passing: threading.Lock,
        first: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._first = first
        self._damage = damage
        self._pace = pace
        self._passing = passing
        self._folder = engine.path.parent
        self._readers = readers
        self._rules = rules
        self._clock = clock
        self._rotate = rotate
        self._gatherer = Gatherer(engine, readers, damage, pace)
        self._busy_s = 0.0
        self._thread = threading.Thread(target=self._run, name="sealing", daemon=True)
        self.bytes = 0
        """Size of all sealed raw files, with those that went since the start."""
        self.trouble = ""
        """Why the last pass failed, in one line; empty when it did not."""

    def start(self) -> None:
        """Seal in a thread, from now on until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End after the file in hand."""
        self._pace.stop()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def seal(self) -> Pass:
        """Seal what is closed now, and return when it is done. Raises SeriesError; nothing is lost or doubled then."""
        with self._passing:
            self._busy_s = 0.0
            closed = self._closed()
            frozen = self._freeze(closed)
            hours, known = self._look(frozen, closed)
            spans = plan(hours, known, closed, self._rules)
            days = self._days(spans, closed)
            if not spans and not days:
                return Pass()
            written = self._write_all(spans, frozen, closed)
            return self._finish(written, spans, days, frozen, closed)._replace(points=sum(hours.values()))

    def gather(self) -> bool:
        """Gather the hours of one span; return whether there was one. Raises SeriesError."""
        with self._passing:
            return self._gatherer.gather(self._closed(), self._rules.gather)

    def _closed(self) -> int:
        return (self._clock() - self._rules.grace_ms) // HOUR * HOUR

    def _run(self) -> None:
        try:
            self._first()
        except SeriesError as error:
            log.warning("the newest values will be looked up when they are asked for: %s", error)
        while not self._pace.pause(self._rules.every_s):
            try:
                done = self.seal()
                self.gather()
                self.trouble = ""
                if done.written:
                    log.info("sealed %d points in %d files, %.1f s", done.points, done.written, done.busy_s)
            except Stopped:
                return
            except SeriesError as error:
                self.trouble = str(error)
                log.warning("sealing will be tried again: %s", error)
            except Exception as error:  # supervision: the points stay hot, and the hub goes on
                self.trouble = f"sealing failed: {error!r}"
                log.exception("sealing failed; it will be tried again")

    def _freeze(self, closed: int) -> list[int]:
        """Return the generations that nothing is added to any more, after a rotation when there is a reason for it."""
        with self._engine.read() as db:
            *frozen, active = generations(db)
            ripe = db.execute(
                f"SELECT 1 FROM {hot_name(active)} WHERE t >= {manifest.EARLIEST} AND t < {closed} LIMIT 1"  # noqa: S608
            ).fetchall()
        if not ripe:
            return frozen
        self._rotate()
        return [*frozen, active]

    def _look(self, frozen: Sequence[int], closed: int) -> tuple[dict[int, int], list[SealedFile]]:
        """Count what is closed by hour, and return the files of the days that are touched."""
        with self._engine.read() as db:
            counted = f"""SELECT {_HOUR_OF} AS hour, count(*) FROM {union(self._folder, (), frozen)} p
                WHERE t >= {manifest.EARLIEST} AND t < {closed} GROUP BY hour"""  # noqa: S608
            hours: dict[int, int] = dict(db.execute(counted).fetchall())
            asked = {"day": DAY, "small": self._rules.small_day, "closed": closed}
            days = {row[0] for row in db.execute(_SMALL_DAYS, asked).fetchall()} | {hour // DAY * DAY for hour in hours}
            known = [item for day in sorted(days) for item in _of_day(db, day)]
        return hours, known

    def _days(self, spans: Sequence[Span], closed: int) -> list[int]:
        """Return the days whose roll-ups change, or are over and still without."""
        with self._engine.read() as db:
            days = set(rollups.undone(db, closed))
        return sorted(days | {span.begin // DAY * DAY for span in spans})

    def _write_all(self, spans: Sequence[Span], frozen: Sequence[int], closed: int) -> list[Entry]:
        written: list[Entry] = []
        with self._engine.read() as db:
            seq = manifest.last_seq(db)
        try:
            for span in spans:
                self._check(span)
                points = union(self._folder, span.files, frozen, before=closed)
                for part in self._cut(span, points):
                    seq += 1
                    path = manifest.place_of(span.begin, span.end, seq)
                    rows, low, high = sum(count for _, count in part), part[0][0], part[-1][0]
                    made = SealedFile(seq, path, span.begin, span.end, rows, 0, 0, low, high, 0, "")
                    written.append(self._write(made, points, parts(part, SLICE)))
        except (OSError, SeriesError) as error:
            self._take_back(written)
            if isinstance(error, SeriesError):
                raise
            raise SeriesError(f"a sealed file could not be written: {error}") from error
        return written

    def _check(self, span: Span) -> None:
        """Make sure that nothing wrong is read and given a new checksum. Raises SeriesError."""
        began = Moment.now()
        if found := self._damage.look(span.files):
            raise SeriesError(f"{found[0].path} is damaged and was left out; the rest of it is sealed later")
        self._rest(began)

    def _cut(self, span: Span, points: str) -> list[list[tuple[int, int]]]:
        """Count the points of each series, by the file that they go to."""
        counted = f"""SELECT series, count(*) FROM {points} WHERE t >= {span.begin} AND t < {span.end}
            GROUP BY series ORDER BY series"""  # noqa: S608
        began = Moment.now()
        with self._engine.read() as db:
            series = db.execute(counted).fetchall()
        self._rest(began)
        files = parts(series, self._rules.part)
        return [[one for one in series if low <= one[0] <= high] for low, high, _ in files]

    def _write(self, file: SealedFile, points: str, slices: Sequence[tuple[int, int, int]]) -> Entry:
        """Write one file and its roll-ups, and read back what is in it. Raises SeriesError, OSError."""
        final = self._folder / file.path
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(final.name + ".partial")
        began = Moment.now()
        try:
            whole = self._fill(file, points, slices, partial)
            rolled = [self._roll_up(whole, partial, level) for level in rollups.LEVELS]
            manifest.make_durable(partial, final)
        except (OSError, SeriesError):
            for path in (partial, *self._paths(file)):
                path.unlink(missing_ok=True)
                path.with_name(path.name + ".partial").unlink(missing_ok=True)
            raise
        self._rest(began)
        return Entry(whole, tuple(rolled))

    def _roll_up(self, file: SealedFile, source: Path, level: int) -> Rolled:
        final = self._folder / rollups.companion(file, level)
        with self._engine.read() as db:
            filing.copy(db, rollups.making(source, level), final)
        return filing.finish(file.seq, level, final)

    def _fill(self, file: SealedFile, points: str, slices: Sequence[tuple[int, int, int]], partial: Path) -> SealedFile:
        """Sort slice by slice, and write them one behind the other."""
        sorted_ = [partial.with_suffix(f".{number}.partial") for number in range(len(slices))]
        try:
            for (low, high, _), path in zip(slices, sorted_, strict=True):
                asked = {"low": low, "high": high, "begin": file.begin, "end": file.end}
                with self._engine.read() as db:
                    db.execute(_SORTED.format(points=points, path=quoted(path), **asked))
            filing.join(sorted_, partial)
        finally:
            for path in sorted_:
                path.unlink(missing_ok=True)
        with self._engine.read() as db:
            counted = f"SELECT count(*), min(t), max(t) FROM read_parquet({quoted(partial)})"  # noqa: S608
            rows, first, last = db.execute(counted).fetchall()[0]
        if rows != file.rows:
            raise SeriesError(f"{file.path} holds {rows} points instead of {file.rows}")
        return file._replace(first=first, last=last, size=partial.stat().st_size, sha256=manifest.checksum(partial))

    def _finish(
        self,
        written: Sequence[Entry],
        spans: Sequence[Span],
        days: Sequence[int],
        frozen: Sequence[int],
        closed: int,
    ) -> Pass:
        """Let the manifest name the new files and forget the old ones and the hot points, all at once."""
        replaced = [item for span in spans for item in span.files]
        try:
            with self._engine.transaction() as db:
                _swap_files(db, written, replaced)
                rollups.keep_days(db, self._folder, days, closed)
                if frozen:
                    _keep_newest(db, union(self._folder, (), frozen), closed)
                    _empty(db, union(self._folder, (), frozen), frozen, closed)
        except EngineError as error:
            # Whether it is durable only the file can tell: nothing is removed before the next start has looked.
            raise SeriesError(f"the manifest could not be changed: {line(error)}") from error
        self.bytes += sum(item.file.size for item in written) - sum(item.size for item in replaced)
        self._readers.retire([path for item in replaced for path in self._paths(item)])
        return Pass(0, len(written), len(replaced), self._busy_s)

    def _take_back(self, written: Sequence[Entry]) -> None:
        for item in written:
            for path in self._paths(item.file):
                path.unlink(missing_ok=True)

    def _paths(self, file: SealedFile) -> list[Path]:
        return [self._folder / file.path, *rollups.companions(self._folder, file)]

    def _rest(self, began: Moment) -> None:
        self._busy_s += self._pace.rest(began)


def _of_day(db: Cursor, day: int) -> list[SealedFile]:
    return [item for item in files(db, day, day + DAY) if day <= item.begin < day + DAY]


def _swap_files(db: Cursor, written: Sequence[Entry], replaced: Sequence[SealedFile]) -> None:
    for item in replaced:
        manifest.replace(db, item.seq)
    for entry in written:
        manifest.add(db, entry)


def _keep_newest(db: Cursor, hot: str, closed: int) -> None:
    """Take up the newest sealed point of each series; of equal times the one that arrived last."""
    fresh = _NEWEST.format(points=hot, earliest=manifest.EARLIEST, closed=closed)
    db.execute(f"CREATE OR REPLACE TEMP TABLE fresh AS {fresh}")
    db.execute("DELETE FROM fresh f USING newest n WHERE n.series = f.series AND n.t > f.t")
    db.execute("DELETE FROM newest WHERE series IN (SELECT series FROM fresh)")
    db.execute("INSERT INTO newest SELECT * FROM fresh")
    db.execute("DROP TABLE fresh")


def _empty(db: Cursor, hot: str, frozen: Sequence[int], closed: int) -> None:
    """Drop the frozen generations; what is not closed goes into one between them and the one in use."""
    kept = frozen[-1] + 1
    left = f"FROM {hot} WHERE t >= {closed} OR t < {manifest.EARLIEST}"
    if db.execute(f"SELECT 1 {left} LIMIT 1").fetchall():
        db.execute(manifest.HOT_TABLE.format(name=hot_name(kept)))
        db.execute(f"INSERT INTO {hot_name(kept)} SELECT {manifest.COLUMNS} {left} ORDER BY place")
        db.execute("INSERT INTO hot VALUES ($kept)", {"kept": kept})
    for generation in frozen:
        db.execute(f"DROP TABLE {hot_name(generation)}")
        db.execute("DELETE FROM hot WHERE generation = $generation", {"generation": generation})
