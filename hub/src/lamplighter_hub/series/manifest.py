"""Sealed files: what the store knows of each, where they lie, and how hot and sealed points are read as one.

A file holds points of one span of device time - an hour, or a whole day of a small hub - sorted by series, time and
arrival (docs/series-files.md). The manifest is a table of the store's own database, so a file begins and ends to count
in the same transaction as the hot points that it replaces.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter_hub.series.engine import Cursor, quoted

FOLDER: Final = "series"
LAST_SEQ: Final = "last_seq"
ROLLUPS: Final = "rollups"
HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
GATHER: Final = 16 * DAY
"""How long a span is whose hours are gathered."""
EARLIEST: Final = -62_135_596_800_000
"""Begin of the year 1 (ms): what is earlier, or after the year 9999, has no folder and stays hot."""
LATEST: Final = 253_402_300_800_000
FEW: Final = 256
"""Series up to which a query names each of them."""


class SealedFile(NamedTuple):
    """A line of the manifest: points with begin <= t < end; `first`..`last` and `low`..`high` are what is in it.

    `path` is relative to the store's folder. A file with a higher `seq` holds points that arrived later.
    """

    seq: int
    path: str
    begin: int
    end: int
    rows: int
    first: int
    last: int
    low: int
    high: int
    size: int
    sha256: str


class Rolled(NamedTuple):
    """A line of the manifest: the roll-ups by `level` ms of the file `seq`. Those of an older version have no checksum.

    One that is not `sound` is damaged and left out of answers.
    """

    seq: int
    level: int
    size: int
    sha256: str
    sound: bool = True


class Entry(NamedTuple):
    """A sealed file with its roll-ups; of a thinned one only these are there."""

    file: SealedFile
    rolled: tuple[Rolled, ...]
    thinned: bool = False


class Gathered(NamedTuple):
    """A line of the manifest: the hours, once more, of series `low`..`high` of all files of a span (16 days).

    Meant are files with `begin` <= their begin < `until` whose seq is not above `upto`; -1: it counts no more. Of days
    that are stale the hours of each file count instead.
    """

    seq: int
    path: str
    begin: int
    until: int
    low: int
    high: int
    upto: int
    size: int
    sha256: str


SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS hot (generation BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    seq BIGINT NOT NULL, path VARCHAR NOT NULL, "begin" BIGINT NOT NULL, "end" BIGINT NOT NULL, rows BIGINT NOT NULL,
    first BIGINT NOT NULL, last BIGINT NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL, size BIGINT NOT NULL,
    sha256 VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS damaged (seq BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS thinned (seq BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS rolled (
    seq BIGINT NOT NULL, level BIGINT NOT NULL, size BIGINT NOT NULL, sha256 VARCHAR NOT NULL,
    sound BOOLEAN NOT NULL);
CREATE TABLE IF NOT EXISTS gathered (
    seq BIGINT NOT NULL, path VARCHAR NOT NULL, "begin" BIGINT NOT NULL, until BIGINT NOT NULL, low INTEGER NOT NULL,
    high INTEGER NOT NULL, upto BIGINT NOT NULL, size BIGINT NOT NULL, sha256 VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS stale (t BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS newest (
    series INTEGER NOT NULL, t BIGINT NOT NULL, number DOUBLE, truth BOOLEAN, text VARCHAR, quality UTINYINT NOT NULL);
"""
COLUMNS: Final = "series, t, number, truth, text, quality"
HOT_TABLE: Final = """CREATE TABLE {name} (
    series INTEGER NOT NULL, t BIGINT NOT NULL, number DOUBLE, truth BOOLEAN, text VARCHAR, quality UTINYINT NOT NULL)
"""

_FILES: Final = """
SELECT * FROM files WHERE seq NOT IN (SELECT seq FROM damaged)
    AND seq NOT IN (SELECT seq FROM thinned) AND last >= $start AND first < $end
    AND high >= $low AND low <= $high ORDER BY seq
"""
_ROLLED_FILES: Final = """
SELECT f.* FROM files f JOIN rolled r ON r.seq = f.seq AND r.level = $level AND r.sound
WHERE f.last >= $start AND f.first < $end AND f.high >= $low AND f.low <= $high ORDER BY f.seq
"""
SPAN_OF: Final = f'(f."begin" - ((f."begin" % {GATHER}) + {GATHER}) % {GATHER})'
_DAY_OF: Final = f'(f."begin" - ((f."begin" % {DAY}) + {DAY}) % {DAY})'
IS_GATHERED: Final = f"""
SELECT f.seq FROM files f JOIN (SELECT DISTINCT "begin", until, upto FROM gathered) g
ON g."begin" = {SPAN_OF} AND f."begin" < g.until AND f.seq <= g.upto
WHERE {_DAY_OF} NOT IN (SELECT t FROM stale)
"""  # noqa: S608
_UNGATHERED: Final = f"SELECT * FROM ({_ROLLED_FILES}) WHERE seq NOT IN ({IS_GATHERED}) ORDER BY seq"  # noqa: S608
_GATHERED: Final = """
SELECT * FROM gathered WHERE upto >= 0 AND "begin" < $end AND until > $start AND low <= $number AND high >= $number
ORDER BY "begin"
"""
_VOID: Final = f"""
UPDATE gathered SET upto = -1
WHERE upto >= 0 AND "begin" IN (SELECT {SPAN_OF} FROM files f
    WHERE f.seq = $seq AND f."begin" < until AND (f.seq <= upto OR {_DAY_OF} IN (SELECT t FROM stale)))
"""  # noqa: S608
_STALE: Final = f"""
INSERT INTO stale SELECT {_DAY_OF} FROM files f WHERE f.seq = $seq AND f.seq IN ({IS_GATHERED})
"""  # noqa: S608
_UNROLLED: Final = "SELECT seq FROM rolled WHERE level = $level AND NOT sound"
_ROLLED_OF: Final = """
SELECT r.* FROM rolled r JOIN files f ON f.seq = r.seq WHERE f."begin" = $start AND f."end" = $end ORDER BY r.level
"""
_HOT_PLACE: Final = 1 << 60
_SEALED: Final = f"""SELECT {COLUMNS}, (file_index::BIGINT << 40) + file_row_number AS place
FROM read_parquet([{{paths}}], file_row_number = true)"""  # noqa: S608
_NOTHING: Final = """SELECT NULL::INTEGER AS series, NULL::BIGINT AS t, NULL::DOUBLE AS number, NULL::BOOLEAN AS truth,
NULL::VARCHAR AS text, NULL::UTINYINT AS quality, NULL::BIGINT AS place WHERE false"""


def hot_name(generation: int) -> str:
    """Return the table of a generation of hot points."""
    return f"points_{generation}"


def generations(db: Cursor) -> list[int]:
    """Return the generations of hot points in order of arrival; new points go to the last one."""
    return [row[0] for row in db.execute("SELECT generation FROM hot ORDER BY generation").fetchall()]


def files(
    db: Cursor,
    start: int = EARLIEST,
    end: int = LATEST,
    numbers: Sequence[int] | None = None,
) -> list[SealedFile]:
    """Return the sound files that may hold points of a range and of some series, in order of arrival."""
    low, high = (min(numbers, default=0), max(numbers, default=-1)) if numbers is not None else (-1, 2**31)
    asked = {"start": start, "end": end, "low": low, "high": high}
    return [SealedFile(*row) for row in db.execute(_FILES, asked).fetchall()]


def rolled_files(db: Cursor, start: int, end: int, level: int, number: int | None = None) -> list[SealedFile]:
    """Return the files that have sound roll-ups of a level (ms) in a range, of a series, in order of arrival."""
    low, high = (0, 2**31) if number is None else (number, number)
    asked = {"start": start, "end": end, "low": low, "high": high, "level": level}
    return [SealedFile(*row) for row in db.execute(_ROLLED_FILES, asked).fetchall()]


def ungathered(db: Cursor, start: int, end: int, number: int | None = None) -> list[SealedFile]:
    """Return the files whose sound hours are in no gathered file, in a range, of a series, in order of arrival."""
    low, high = (0, 2**31) if number is None else (number, number)
    asked = {"start": start, "end": end, "low": low, "high": high, "level": HOUR}
    return [SealedFile(*row) for row in db.execute(_UNGATHERED, asked).fetchall()]


def gathered(db: Cursor, start: int, end: int, number: int) -> list[Gathered]:
    """Return the gathered files that may hold hours of a series in a range, by time."""
    asked = {"start": start, "end": end, "number": number}
    return [Gathered(*row) for row in db.execute(_GATHERED, asked).fetchall()]


def every_gathered(db: Cursor) -> list[Gathered]:
    """Return every gathered file that is named, also those that count no more."""
    return [Gathered(*row) for row in db.execute("SELECT * FROM gathered ORDER BY seq").fetchall()]


def stale(db: Cursor, start: int, end: int) -> list[int]:
    """Return the days (ms) of a range whose gathered hours do not count: late points changed them."""
    asked = {"start": start // DAY * DAY, "end": end}
    return [day for (day,) in db.execute("SELECT t FROM stale WHERE t >= $start AND t < $end", asked).fetchall()]


def gathered_seqs(db: Cursor) -> set[int]:
    """Return the numbers of the files whose hours are gathered."""
    return {seq for (seq,) in db.execute(IS_GATHERED).fetchall()}


def unrolled(db: Cursor, start: int, end: int, level: int, number: int | None = None) -> list[SealedFile]:
    """Return the files of raw points in a range, of a series, whose roll-ups of a level (ms) are damaged."""
    damaged = {seq for (seq,) in db.execute(_UNROLLED, {"level": level}).fetchall()}
    if not damaged:
        return []
    return [item for item in files(db, start, end, None if number is None else [number]) if item.seq in damaged]


def add(db: Cursor, entry: Entry) -> None:
    """Let a file and its roll-ups count, inside the caller's transaction."""
    _insert(db, "files", entry.file)
    for rolled in entry.rolled:
        _insert(db, "rolled", rolled)
    if entry.thinned:
        db.execute("INSERT INTO thinned VALUES ($seq)", {"seq": entry.file.seq})


def drop(db: Cursor, seq: int) -> None:
    """Let a file and its roll-ups count no longer, inside the caller's transaction. Some of what it holds is to go.

    What was gathered of it and others counts no longer either, so that it is removed.
    """
    db.execute(_VOID, {"seq": seq})
    _forget(db, seq)


def replace(db: Cursor, seq: int) -> None:
    """Let a file count no longer, all of which another of its day holds, inside the caller's transaction.

    The hours that were gathered of its day are stale then.
    """
    db.execute(_STALE, {"seq": seq})
    _forget(db, seq)


def _forget(db: Cursor, seq: int) -> None:
    for table in ("files", "rolled", "thinned", "damaged"):
        db.execute(f"DELETE FROM {table} WHERE seq = $seq", {"seq": seq})  # noqa: S608 (names of this module)


def gather(db: Cursor, begin: int, found: Sequence[Gathered]) -> None:
    """Let gathered files of a span count instead of those before, inside the caller's transaction."""
    db.execute('DELETE FROM gathered WHERE "begin" = $begin', {"begin": begin})
    db.execute("DELETE FROM stale WHERE t >= $begin AND t < $end", {"begin": begin, "end": begin + GATHER})
    for item in found:
        _insert(db, "gathered", item)
        used_seq(db, item.seq)


def _insert(db: Cursor, table: str, row: SealedFile | Rolled | Gathered) -> None:
    db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", list(row))  # noqa: S608


def last_seq(db: Cursor) -> int:
    """Return the highest number that a file ever had: a name is never given twice."""
    asked = (
        "SELECT greatest((SELECT coalesce(max(seq), 0) FROM files), (SELECT max(value) FROM meta WHERE name = $name))"
    )
    found: int = db.execute(asked, {"name": LAST_SEQ}).fetchall()[0][0]
    return found


def used_seq(db: Cursor, seq: int) -> None:
    """Remember a number whose file may be dropped, inside the caller's transaction."""
    db.execute("UPDATE meta SET value = greatest(value, $seq) WHERE name = $name", {"seq": seq, "name": LAST_SEQ})


def rolled(db: Cursor) -> list[Rolled]:
    """Return every roll-up of the manifest, sound or not."""
    return [Rolled(*row) for row in db.execute("SELECT * FROM rolled ORDER BY seq, level").fetchall()]


def entries(db: Cursor, start: int, end: int) -> list[Entry]:
    """Return what there is, sound or not, of the span with exactly these bounds, in order of arrival."""
    asked = {"start": start, "end": end}
    found = db.execute('SELECT * FROM files WHERE "begin" = $start AND "end" = $end ORDER BY seq', asked).fetchall()
    thinned = {row[0] for row in db.execute("SELECT seq FROM thinned").fetchall()}
    made = [Rolled(*row) for row in db.execute(_ROLLED_OF, asked).fetchall()]
    return [
        Entry(SealedFile(*row), tuple(item for item in made if item.seq == row[0]), row[0] in thinned) for row in found
    ]


def known(db: Cursor, *, thinned: bool = False) -> list[SealedFile]:
    """Return every file of the manifest, sound or not, in order of arrival; with `thinned` also mere roll-ups."""
    chosen = "" if thinned else "WHERE seq NOT IN (SELECT seq FROM thinned)"
    return [SealedFile(*row) for row in db.execute(f"SELECT * FROM files {chosen} ORDER BY seq").fetchall()]  # noqa: S608


def union(
    folder: Path,
    sealed: Sequence[SealedFile],
    hot: Sequence[int],
    numbers: Sequence[int] | None = None,
    before: int | None = None,
) -> str:
    """Return hot and sealed points as one relation; `place` is the order of arrival within equal times of a series.

    `numbers` are the series that matter; hot points count only if they lie `before` a time.
    """
    parts = []
    if sealed:
        paths = ", ".join(quoted(folder / item.path) for item in sealed)
        parts.append(_SEALED.format(paths=paths) + _chosen(numbers, None))
    for rank, generation in enumerate(hot):
        place = _HOT_PLACE + (rank << 44)
        table = f"{hot_name(generation)}{_chosen(numbers, before)}"
        parts.append(f"SELECT {COLUMNS}, {place} + rowid AS place FROM {table}")  # noqa: S608
    return "(" + " UNION ALL ".join(parts or [_NOTHING]) + ")"


def _chosen(numbers: Sequence[int] | None, before: int | None) -> str:
    """Name the series, so that whole row groups are skipped."""
    conditions = [] if before is None else [f"t < {before}"]
    if numbers is not None:
        few = 0 < len(numbers) <= FEW
        between = f"series BETWEEN {min(numbers, default=0)} AND {max(numbers, default=-1)}"
        conditions.append(f"series IN ({', '.join(map(str, numbers))})" if few else between)
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def place_of(begin: int, end: int, seq: int) -> str:
    """Return the path of a new file, relative to the store's folder.

    >>> place_of(1_795_474_800_000, 1_795_478_400_000, 7), place_of(1_795_392_000_000, 1_795_478_400_000, 8)
    ('series/2026/11/23/23-7.parquet', 'series/2026/11/23/day-8.parquet')
    """
    day = datetime.fromtimestamp(begin / 1000, UTC)
    hour = f"{day.hour:02}" if end - begin == HOUR else "day"
    return f"{FOLDER}/{day.year:04}/{day.month:02}/{day.day:02}/{hour}-{seq}.parquet"


def gathered_place(begin: int, seq: int) -> str:
    """Return the path of a new file of gathered hours, relative to the store's folder.

    >>> gathered_place(1_795_392_000_000, 7)
    'rollups/gathered/2026/11/23-7.parquet'
    """
    day = datetime.fromtimestamp(max(begin, EARLIEST) / 1000, UTC)
    return f"{ROLLUPS}/gathered/{day.year:04}/{day.month:02}/{day.day:02}-{seq}.parquet"


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_durable(written: Path, final: Path) -> None:
    """Give a file that is written its name so that a power cut does not take it back. Raises OSError."""
    with written.open("rb") as file:
        os.fsync(file.fileno())
    written.rename(final)
    for folder in list(final.parents)[:5]:
        _sync_folder(folder)
        if folder.name in {FOLDER, ROLLUPS}:
            break


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_whole(folder: Path, file: SealedFile | Gathered) -> bool:
    """Whether a file is there, unchanged."""
    path = folder / file.path
    try:
        return path.stat().st_size == file.size and checksum(path) == file.sha256
    except OSError:
        return False


def sweep(folder: Path, kept: AbstractSet[Path]) -> int:
    """Remove files that are not in the manifest, `kept`: what a crash left. Return how many. Raises OSError."""
    found = [path for root in (FOLDER, ROLLUPS) for path in (folder / root).rglob("*.parquet*")]
    strays = [path for path in found if path not in kept]
    for path in strays:
        path.unlink()
    return len(strays)


class Readers:
    """Who reads now, so that a file which was replaced is removed when the last one who may still need it is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0
        self._reading: set[int] = set()
        self._retired: list[tuple[int, Path]] = []

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep every file that the manifest names from here on."""
        with self._lock:
            self._next += 1
            ticket = self._next
            self._reading.add(ticket)
        try:
            yield
        finally:
            with self._lock:
                self._reading.discard(ticket)
            self.clear()

    def retire(self, paths: Sequence[Path]) -> None:
        """Remove files that the manifest does not name any more, as soon as nobody reads them."""
        with self._lock:
            self._retired += [(self._next, path) for path in paths]
        self.clear()

    def clear(self) -> None:
        """Remove what nobody needs. What cannot be removed now is swept at the next start."""
        with self._lock:
            if not self._retired:
                return
            oldest = min(self._reading, default=self._next + 1)
            gone = [path for ticket, path in self._retired if ticket < oldest]
            self._retired = [item for item in self._retired if item[0] >= oldest]
        for path in gone:
            path.unlink(missing_ok=True)
