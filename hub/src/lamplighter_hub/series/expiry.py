"""What goes by age: each class of metric has its days for raw points and for each roll-up (docs/decisions/0049).

A sealed file holds series of all classes. When one class is to be left coarser than the rest, the file is rewritten in
parts, each of which has the same left of all its series; one transaction lets the parts count instead of the file. A
crash before it leaves files that nobody knows, a crash after it files that nobody needs: the next start removes them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter_hub.series import filing, manifest, rollups
from lamplighter_hub.series.ages import FOR_EVER, Ages, Level, Policy
from lamplighter_hub.series.damage import Damage
from lamplighter_hub.series.engine import Cursor, Engine, EngineError, line, quoted, want
from lamplighter_hub.series.guard import Guard
from lamplighter_hub.series.manifest import DAY, HOUR, Entry, Readers, Rolled, SealedFile
from lamplighter_hub.series.pace import Moment, Pace
from lamplighter_hub.series.rollups import MINUTE
from lamplighter_hub.series.store import SeriesError

log = logging.getLogger(__name__)

_HELD: Final = "SELECT * FROM read_parquet({source}) WHERE series IN ({named})"
_COUNTED: Final = """
SELECT sum(count + flagged)::BIGINT, min(first_t), max(last_t), min(series), max(series) FROM read_parquet({source})
"""
_ROWS: Final = "SELECT count(*), min(t), max(t), min(series), max(series) FROM read_parquet({source})"


class _Looked(NamedTuple):
    """When the last pass looked, up to which file, what it made, and what each series was then kept for."""

    now: int
    seq: int
    made: frozenset[int]
    ages: Mapping[int, Ages]


class _Part(NamedTuple):
    """Series of a file of which the same is to be left."""

    level: Level
    series: tuple[int, ...]


def parts(present: Level, series: Sequence[int], ages: Mapping[int, Ages], end: int, now: int) -> list[_Part]:
    """Return what is to be left of a file's series, `ages` by number, that has `present` left and ends at `end`.

    >>> parts(Level.RAW, [0, 1], {1: Ages(raw=1)}, 0, 2 * DAY)
    [_Part(level=<Level.RAW: 0>, series=(0,)), _Part(level=<Level.MINUTE: 1>, series=(1,))]
    """
    found: dict[Level, list[int]] = {}
    for number in series:
        kept = ages.get(number, FOR_EVER)  # it may have begun after this pass
        found.setdefault(max(present, kept.level(end, now)), []).append(number)
    return [_Part(level, tuple(numbers)) for level, numbers in sorted(found.items())]


class Expiry:
    """Lets go what is older than it is kept, a span of files at a time. Whoever rewrites files holds `passing`."""

    def __init__(
        self, engine: Engine, readers: Readers, damage: Damage, guard: Guard, pace: Pace, passing: threading.Lock
    ) -> None:
        self._engine = engine
        self._folder = engine.path.parent
        self._readers = readers
        self._damage = damage
        self._guard = guard
        self._pace = pace
        self._passing = passing
        self._looked: _Looked | None = None
        self._made: set[int] = set()

    def points(self, ages: Mapping[int, Ages], now: int) -> None:
        """Let points and roll-ups go; `ages` by number of series. Raises SeriesError."""
        with self._engine.read() as db:
            seq = manifest.last_seq(db)
            spans = self._spans(db, ages, now)
        self._made = set()
        trouble: SeriesError | None = None
        for begin, end in spans:
            began = Moment.now()
            try:
                with self._passing:
                    self._span(begin, end, ages, now)
            except SeriesError as error:  # the others go on: one damaged file must not fill the disk
                trouble = error
            self._pace.rest(began)
        self._days(ages, now)
        if trouble is not None:
            raise trouble
        self._looked = _Looked(now, seq, frozenset(self._made), ages)

    def events(self, policy: Policy, now: int) -> int:
        """Let events go, and return how many. Raises SeriesError."""
        longest = max((now - ages.events * DAY for ages in policy.ages.values() if ages.events), default=None)
        if longest is None:
            return 0
        with self._engine.read() as db:
            named = db.execute("SELECT DISTINCT device, name FROM events WHERE t < $t", {"t": longest}).fetchall()
        going = [
            (device, name, now - days * DAY)
            for device, name in named
            if (days := policy.of_event(device, name).events) is not None
        ]
        return self._forget_events(going) if going else 0

    # which files

    def _spans(self, db: Cursor, ages: Mapping[int, Ages], now: int) -> list[tuple[int, int]]:
        """Return the spans, oldest first, of which something may be kept less long than it is there."""
        kinds = set(ages.values())
        known = self._looked
        if known is not None and any(ages.get(number) != kept for number, kept in known.ages.items()):
            known = None

        def changes(file: SealedFile) -> bool:
            if known is None or (file.seq > known.seq and file.seq not in known.made):
                return any(kind.level(_day_end(file), now) > Level.RAW for kind in kinds)
            return any(kind.level(_day_end(file), now) != kind.level(_day_end(file), known.now) for kind in kinds)

        return sorted({(file.begin, file.end) for file in manifest.known(db, thinned=True) if changes(file)})

    def _span(self, begin: int, end: int, ages: Mapping[int, Ages], now: int) -> None:
        """Deal with the files of a span in order of their arrival, which their numbers keep."""
        with self._readers.reading(), self._engine.read() as db:
            entries = manifest.entries(db, begin, end)
            damaged = {item.seq for item in self._damage.files()}
            seq = manifest.last_seq(db)
            wanted = [self._parts(db, entry, ages, now) for entry in entries]
        renumber = False
        for entry, left in zip(entries, wanted, strict=True):
            if not renumber and len(left) == 1 and left[0].level == _present(entry):
                continue
            is_read = len(left) > 1 or left[0].level is Level.DAY
            if is_read and not self._is_sound(entry, damaged):
                log.warning("%s is damaged: what is old of it stays until it is restored", entry.file.path)
                return
            seq = self._replace(entry, left, seq)
            renumber = True

    def _parts(self, db: Cursor, entry: Entry, ages: Mapping[int, Ages], now: int) -> list[_Part]:
        series: Sequence[int] = range(entry.file.low, entry.file.high + 1)
        if all(rolled.sound for rolled in entry.rolled):
            source = quoted(self._folder / rollups.companion(entry.file, HOUR))
            asked = f"SELECT DISTINCT series FROM read_parquet({source}) ORDER BY series"  # noqa: S608
            series = [row[0] for row in db.execute(asked).fetchall()]
        return parts(_present(entry), series, ages, _day_end(entry.file), now)

    def _is_sound(self, entry: Entry, damaged: set[int]) -> bool:
        """Make sure that nothing wrong is read and given a new checksum."""
        if entry.file.seq in damaged or not all(rolled.sound for rolled in entry.rolled):
            return False
        return entry.thinned or not self._damage.look([entry.file])

    # what becomes of one

    def _replace(self, entry: Entry, left: Sequence[_Part], seq: int) -> int:
        """Let the parts of a file count in its place; return the highest number that is used."""
        made: list[Entry] = []
        try:
            for part in left:
                if part.level < Level.DAY:
                    seq += 1
                    whole = len(left) == 1
                    made.append(_coarser(entry, part.level, seq) if whole else self._write(entry, part, seq))
            with self._guard.held():
                self._swap(entry, left, made)
        except (OSError, EngineError, SeriesError) as error:
            self._take_back(entry, made)
            if isinstance(error, SeriesError):
                raise
            said = line(error) if isinstance(error, EngineError) else error
            raise SeriesError(f"what is old of {entry.file.path} could not be let go: {said}") from error
        self._made |= {part.file.seq for part in made}
        self._retire(entry, made)
        return seq

    def _write(self, entry: Entry, part: _Part, seq: int) -> Entry:
        """Write what is left of a part of a file. Raises EngineError, OSError, SeriesError."""
        old = entry.file
        file = old._replace(seq=seq, path=manifest.place_of(old.begin, old.end, seq), size=0, sha256="")
        levels = [rolled.level for rolled in entry.rolled if part.level < Level.HOUR or rolled.level == HOUR]
        try:
            rolled = [self._copy_rolled(old, file, level, part) for level in levels]
            if part.level > Level.RAW:
                return Entry(self._measured(file, _COUNTED, rollups.companion(file, HOUR)), tuple(rolled), thinned=True)
            return Entry(self._copy_raw(old, file, part), tuple(rolled))
        except (OSError, EngineError, SeriesError):
            for path in (file.path, *(rollups.companion(file, level) for level in levels)):
                filing.discard(self._folder / path)
            raise

    def _copy_rolled(self, old: SealedFile, new: SealedFile, level: int, part: _Part) -> Rolled:
        final = self._folder / rollups.companion(new, level)
        with self._engine.read() as db:
            filing.copy(db, _held(self._folder / rollups.companion(old, level), part), final)
        return filing.finish(new.seq, level, final)

    def _copy_raw(self, old: SealedFile, new: SealedFile, part: _Part) -> SealedFile:
        final = self._folder / new.path
        with self._engine.read() as db:
            filing.copy(db, _held(self._folder / old.path, part), final)
        line = filing.finish(new.seq, 0, final)
        return self._measured(new, _ROWS, new.path)._replace(size=line.size, sha256=line.sha256)

    def _measured(self, file: SealedFile, query: str, path: str) -> SealedFile:
        with self._engine.read() as db:
            found = db.execute(query.format(source=quoted(self._folder / path))).fetchall()[0]
        rows, first, last, low, high = found
        return file._replace(rows=rows, first=first, last=last, low=low, high=high)

    def _swap(self, entry: Entry, left: Sequence[_Part], made: Sequence[Entry]) -> None:
        """Let the manifest name the parts and forget the file, all at once. Raises EngineError, SeriesError."""
        gone = entry.file.rows - sum(part.file.rows for part in made)
        if gone and left[-1].level < Level.DAY:
            raise SeriesError(f"the parts of {entry.file.path} hold {gone} points less than it does")
        with self._engine.transaction() as db:
            if entry not in manifest.entries(db, entry.file.begin, entry.file.end):
                raise SeriesError(f"{entry.file.path} has changed meanwhile; it is looked at again")
            for kept in (part for part in left if part.level is Level.DAY):
                rollups.keep_day(db, self._folder, entry.file, kept.series)
            manifest.used_seq(db, max([entry.file.seq, *(part.file.seq for part in made)]))
            asked = {"old": entry.file.seq}
            damaged = db.execute("SELECT 1 FROM damaged WHERE seq = $old", asked).fetchall()
            manifest.drop(db, entry.file.seq)
            for part in made:
                manifest.add(db, part)
                if damaged and not part.thinned:
                    db.execute("INSERT INTO damaged VALUES ($seq)", {"seq": part.file.seq})
            db.execute("UPDATE meta SET value = value + $n WHERE name = 'forgotten'", {"n": gone})

    def _retire(self, entry: Entry, made: Sequence[Entry]) -> None:
        raw = [part.file for part in made if not part.thinned]
        if not entry.thinned:
            rows, size = sum(item.rows for item in raw), sum(item.size for item in raw)
            self._guard.gone.went(int(not raw), entry.file.rows - rows, entry.file.size - size)
        kept = {path for part in made for path in self._paths(part)}
        self._readers.retire([path for path in self._paths(entry) if path not in kept])

    def _take_back(self, entry: Entry, made: Sequence[Entry]) -> None:
        kept = set(self._paths(entry))
        for path in {path for part in made for path in self._paths(part)} - kept:
            filing.discard(path)

    def _paths(self, entry: Entry) -> list[Path]:
        rolled = [self._folder / rollups.companion(entry.file, item.level) for item in entry.rolled]
        return rolled if entry.thinned else [self._folder / entry.file.path, *rolled]

    # what is in tables

    def _days(self, ages: Mapping[int, Ages], now: int) -> None:
        """Let the days of series go."""
        by_age: dict[int, list[int]] = {}
        for number, kept in ages.items():
            if kept.day is not None:
                by_age.setdefault(kept.day, []).append(number)
        try:
            with self._engine.transaction() as db:
                for days, numbers in by_age.items():
                    _forget_days(db, numbers, now - days * DAY)
        except EngineError as error:
            raise SeriesError(f"old days could not be let go: {line(error)}") from error

    def _forget_events(self, going: Sequence[tuple[str, str, int]]) -> int:
        try:
            with self._engine.transaction() as db:
                found = 0
                for device, name, before in going:
                    asked = {"device": device, "name": name, "before": before}
                    deleted = "DELETE FROM events WHERE device = $device AND name = $name AND t < $before"
                    found += db.execute(deleted, asked).fetchall()[0][0]
                db.execute("UPDATE meta SET value = value + $n WHERE name = 'forgotten_events'", {"n": found})
        except EngineError as error:
            raise SeriesError(f"old events could not be let go: {line(error)}") from error
        return found


def _day_end(file: SealedFile) -> int:
    """Return when the day of a file is over: hours go with their day, so that it does not matter how they are filed."""
    return file.begin // DAY * DAY + DAY


def _present(entry: Entry) -> Level:
    """Return the finest that is left of a file."""
    if not entry.thinned:
        return Level.RAW
    return Level.MINUTE if any(rolled.level == MINUTE for rolled in entry.rolled) else Level.HOUR


def _coarser(entry: Entry, level: Level, seq: int) -> Entry:
    """Return a file, all of whose series have the same left, under a new number: nothing is rewritten."""
    rolled = [item._replace(seq=seq) for item in entry.rolled if level < Level.HOUR or item.level == HOUR]
    return Entry(entry.file._replace(seq=seq), tuple(rolled), thinned=level > Level.RAW)


def _held(source: Path, part: _Part) -> str:
    return _HELD.format(source=quoted(source), named=", ".join(map(str, part.series)))


def _forget_days(db: Cursor, numbers: Sequence[int], before: int) -> None:
    want(db, numbers)
    for table in ("daily", "daily_kept"):
        db.execute(
            f"DELETE FROM {table} WHERE t + {DAY} <= $before AND series IN (SELECT key FROM wanted)",  # noqa: S608
            {"before": before},
        )
