"""Roll-ups: what minutes, hours and days of a series come to, so that a chart of a year reads no raw points.

For each sealed file there are its minutes and its hours (`rollups/minute/`, `rollups/hour/`, below which the paths are
the same); days that are over stand in the table `daily`, made of the hours of all their files in the transaction that
changes those. A roll-up is a sum, so
late points add theirs: hot points are taken as they are, and a late file brings roll-ups of its own.

What a range cuts is made of raw points. Where these are not there any more (`_gone`), the finest roll-ups that are left
count whole as soon as the range touches what is in them, and are marked as `cut`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter_hub.series import manifest
from lamplighter_hub.series.engine import Cursor, quoted
from lamplighter_hub.series.manifest import DAY, HOUR, Gathered, SealedFile
from lamplighter_protocols.profile import Aggregation

MINUTE: Final = 60_000
LEVELS: Final = (MINUTE, HOUR)
"""Roll-ups that a file has; days are in a table."""
_BASIC: Final = frozenset({Aggregation.MEAN, Aggregation.SUM})
"""What minutes can answer; hours and days answer all."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS daily (
    series INTEGER NOT NULL, t BIGINT NOT NULL, count BIGINT, flagged BIGINT, n BIGINT, low DOUBLE, high DOUBLE,
    sum DOUBLE, first_t BIGINT, last_t BIGINT, good_t BIGINT, number DOUBLE, truth BOOLEAN, text VARCHAR,
    energy DOUBLE, sin DOUBLE, cos DOUBLE, x_t BIGINT, x DOUBLE);
CREATE TABLE IF NOT EXISTS daily_done (t BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS daily_kept AS FROM daily LIMIT 0;
"""
_X: Final = "CASE WHEN quality = 0 THEN coalesce(number, truth::INTEGER::DOUBLE) END"
_RAW: Final = f"""
SELECT {{names}}series, t, place, false AS cut, (quality = 0)::INTEGER AS count, (quality <> 0)::INTEGER AS flagged,
       (x IS NOT NULL)::INTEGER AS n, x AS low, x AS high, x AS sum, t AS first_t, t AS last_t,
       CASE WHEN quality = 0 THEN t END AS good_t, number, truth, text,
       CASE WHEN x IS NOT NULL THEN pow(10, greatest(-3000, least(3000, x)) / 10) END AS energy,
       sin(radians(x)) AS sin, cos(radians(x)) AS cos, CASE WHEN x IS NOT NULL THEN t END AS x_t, x
FROM (SELECT *, {_X} AS x FROM {{points}}) WHERE {{where}}
"""  # noqa: S608
_CUT: Final = """
SELECT *, min(first_t) OVER one < {start} OR max(last_t) OVER one >= {end} AS cut FROM ({rolled})
WHERE series = {series} AND t > {start} - {level} AND t < {end}
WINDOW one AS (PARTITION BY t)
QUALIFY min(first_t) OVER one < {end} AND max(last_t) OVER one >= {start}
"""
_GONE: Final = """
SELECT r.level, f.* FROM files f JOIN rolled r ON r.seq = f.seq AND r.sound
WHERE f.seq IN (SELECT seq FROM thinned UNION ALL SELECT seq FROM damaged)
    AND f.last >= $start AND f.first < $end AND f.high >= $number AND f.low <= $number ORDER BY r.level, f.seq
"""
_LAST: Final = """arg_max(struct_pack(a := number, b := truth, c := text), struct_pack(t := good_t, place := place))
    FILTER (good_t IS NOT NULL)"""
_SUMS: Final = """sum(count)::BIGINT AS count, sum(flagged)::BIGINT AS flagged, sum(n)::BIGINT AS n, min(low) AS low,
    max(high) AS high, sum(sum) AS sum, min(first_t) AS first_t, max(last_t) AS last_t, max(good_t) AS good_t"""
_MORE: Final = """, sum(energy) AS energy, sum(sin) AS sin, sum(cos) AS cos, max(x_t) AS x_t,
    arg_max(x, struct_pack(t := x_t, place := place)) FILTER (x_t IS NOT NULL) AS x"""
_BASIC_COLUMNS: Final = (
    "series, t, count, flagged, n, low, high, sum, first_t, last_t, good_t, last.a AS number, last.b AS truth, "
    "last.c AS text"
)
_MORE_COLUMNS: Final = ", energy, sin, cos, x_t, x"
_FIGURE: Final = {
    Aggregation.MEAN: "sum(sum) / nullif(sum(n), 0)",
    Aggregation.SUM: "sum(sum)",
    Aggregation.ENERGY: "10 * log10(sum(energy) / nullif(sum(n), 0))",
    Aggregation.CIRCULAR: """CASE WHEN sqrt(pow(sum(sin) / sum(n), 2) + pow(sum(cos) / sum(n), 2)) > 1e-9
        THEN fmod(degrees(atan2(sum(sin) / sum(n), sum(cos) / sum(n))) + 360, 360) END""",
    Aggregation.LAST: "arg_max(x, struct_pack(t := x_t, place := place)) FILTER (x_t IS NOT NULL)",
}


class Wanted(NamedTuple):
    """What is asked of a series by number: the coarsest and the finest roll-ups (ms) that serve it."""

    number: int
    level: int = DAY
    finest: int = MINUTE


def wanted(number: int, width: int, aggregation: Aggregation) -> Wanted | None:
    """Return which roll-ups serve buckets of a width (ms); None when none do.

    >>> wanted(1, 2 * HOUR, Aggregation.LAST), wanted(1, HOUR // 6, Aggregation.LAST)
    (Wanted(number=1, level=3600000, finest=3600000), None)
    """
    finest = MINUTE if aggregation in _BASIC else HOUR
    found = next((level for level in (DAY, HOUR, MINUTE) if width % level == 0 and level >= finest), None)
    return None if found is None else Wanted(number, found, finest)


def companions(folder: Path, file: SealedFile) -> list[Path]:
    """Return where the roll-ups of a file lie."""
    return [folder / companion(file, level) for level in LEVELS]


def companion(file: SealedFile, level: int) -> str:
    """Return the path of a file's minutes or hours, relative to the store's folder."""
    name = "hour" if level > MINUTE else "minute"
    return file.path.replace(manifest.FOLDER, f"{manifest.ROLLUPS}/{name}", 1)


def paths(db: Cursor, folder: Path) -> set[Path]:
    """Return every file of roll-ups that the manifest names."""
    files = {item.seq: item for item in manifest.known(db, thinned=True)}
    gathered = {folder / item.path for item in manifest.every_gathered(db)}
    return gathered | {folder / companion(files[rolled.seq], rolled.level) for rolled in manifest.rolled(db)}


def making(source: Path, level: int) -> str:
    """Return the query that makes the roll-ups of a sealed file."""
    points = f"(SELECT *, file_row_number AS place FROM read_parquet({quoted(source)}, file_row_number = true))"  # noqa: S608
    more = _MORE if level > MINUTE else ""
    raw = _RAW.format(points=points, where="true", names="device, metric, ")
    return f"""SELECT device, metric, {_BASIC_COLUMNS}{_MORE_COLUMNS if more else ""} FROM (
        SELECT any_value(device) AS device, any_value(metric) AS metric, series,
               t - ((t % {level}) + {level}) % {level} AS t, {_SUMS}, {_LAST} AS last{more}
        FROM ({raw}) GROUP BY 3, 4) ORDER BY series, t"""  # noqa: S608


def counting(folder: Path, files: Sequence[SealedFile]) -> str:
    """Return the query for how many hours each series has in files."""
    return f"SELECT series, count(*) FROM ({_stored(folder, files, HOUR)}) GROUP BY series ORDER BY series"  # noqa: S608


def gathering(folder: Path, files: Sequence[SealedFile], low: int, high: int) -> str:
    """Return the query for the hours of series `low`..`high` in files, in order of series, time and arrival."""
    return f"""SELECT * EXCLUDE (place) FROM ({_stored(folder, files, HOUR)})
        WHERE series BETWEEN {low} AND {high} ORDER BY series, t, place"""  # noqa: S608


def keep_days(db: Cursor, folder: Path, days: Sequence[int], closed: int) -> None:
    """Make the roll-ups of days anew, of the hours that the manifest names now, inside a transaction.

    A day that is not over has none.
    """
    for day in days:
        found = manifest.rolled_files(db, day, day + DAY, HOUR)
        mine = [item for item in found if day <= item.begin < day + DAY]
        raw = [item for item in manifest.unrolled(db, day, day + DAY, HOUR) if day <= item.begin < day + DAY]
        db.execute("DELETE FROM daily WHERE t = $day", {"day": day})
        db.execute("DELETE FROM daily_done WHERE t = $day", {"day": day})
        if (mine or raw) and day + DAY <= closed:
            parts = [_stored(folder, mine, HOUR)] if mine else []
            parts += [f"SELECT *, 0::BIGINT AS place FROM ({making(folder / item.path, HOUR)})" for item in raw]  # noqa: S608
            hours = " UNION ALL BY NAME ".join(parts)
            kept = f"SELECT *, -1::BIGINT AS place FROM daily_kept WHERE t = {day}"  # noqa: S608
            db.execute(f"INSERT INTO daily {_day(f'{hours} UNION ALL BY NAME {kept}', day)}")
            db.execute("INSERT INTO daily_done VALUES ($day)", {"day": day})


def keep_day(db: Cursor, folder: Path, file: SealedFile, numbers: Sequence[int]) -> None:
    """Keep what some series of a file come to in their day, inside the transaction that lets their hours go."""
    named = ", ".join(map(str, numbers))
    hours = f"SELECT * FROM ({_stored(folder, [file], HOUR)}) WHERE series IN ({named})"  # noqa: S608
    db.execute(f"INSERT INTO daily_kept {_day(hours, file.begin // DAY * DAY)}")


def _day(hours: str, day: int) -> str:
    return f"""SELECT {_BASIC_COLUMNS}{_MORE_COLUMNS} FROM (
        SELECT series, {day} AS t, {_SUMS}, {_LAST} AS last{_MORE} FROM ({hours}) GROUP BY series) ORDER BY series"""  # noqa: S608


def undone(db: Cursor, closed: int) -> list[int]:
    """Return the days that are over and have no roll-up."""
    asked = {"day": DAY, "closed": closed}
    return [
        row[0]
        for row in db.execute(
            """
        SELECT DISTINCT "begin" - (("begin" % $day) + $day) % $day AS day FROM files
        WHERE seq NOT IN (SELECT seq FROM damaged) AND day + $day <= $closed
            AND day NOT IN (SELECT t FROM daily_done) ORDER BY day""",
            asked,
        ).fetchall()
    ]


class Relation(NamedTuple):
    """A relation, and the files that it reads: raw ones, those whose roll-ups it reads by level (ms), gathered ones."""

    points: str
    raw: tuple[SealedFile, ...] = ()
    rolled: tuple[tuple[int, SealedFile], ...] = ()
    gathered: tuple[Gathered, ...] = ()


def relation(db: Cursor, folder: Path, wanted: Wanted, start: int, end: int) -> Relation:
    """Return what a range holds of a series as one relation: roll-ups, and raw points for what is finer."""
    hot = _raw(manifest.union(folder, (), manifest.generations(db), [wanted.number]), start, end)
    parts = [Relation(hot), *_sealed(db, folder, wanted, start, end)]
    points = "(" + " UNION ALL BY NAME ".join(part.points for part in parts) + ")"
    raw, rolled, gathered = (tuple(chain.from_iterable(found)) for found in list(zip(*parts, strict=True))[1:])
    return Relation(points, raw, rolled, gathered)


def _sealed(db: Cursor, folder: Path, wanted: Wanted, start: int, end: int) -> Iterator[Relation]:
    """Yield what is sealed of a range: whole roll-ups of a level, and what finer ones say beside them."""
    first, last = -(-start // wanted.level) * wanted.level, end // wanted.level * wanted.level
    edges = [(start, end)] if first >= last else [(start, first), (last, end)]
    if first < last:
        yield from _LEVELS[wanted.level](db, folder, wanted.number, first, last)
    for begin, stop in edges:
        if begin < stop and wanted.level == DAY:
            yield _cut("SELECT *, -1::BIGINT AS place FROM daily_kept", wanted.number, begin, stop, DAY)
            yield from _sealed(db, folder, wanted._replace(level=HOUR), begin, stop)
        elif begin < stop:
            yield from _edge(db, folder, wanted, begin, stop)


def _edge(db: Cursor, folder: Path, wanted: Wanted, start: int, end: int) -> Iterator[Relation]:
    """Yield raw points, and for those that are gone the finest roll-ups that are left."""
    if files := manifest.files(db, start, end, [wanted.number]):
        yield Relation(_raw(manifest.union(folder, files, (), [wanted.number]), start, end), raw=tuple(files))
    for level, gone in _gone(db, wanted, start, end).items():
        found = _cut(_stored(folder, gone, level), wanted.number, start, end, level)
        yield found._replace(rolled=tuple((level, item) for item in gone))


def _gone(db: Cursor, wanted: Wanted, start: int, end: int) -> dict[int, list[SealedFile]]:
    """Return the files without raw points by the finest level that is left of each."""
    asked = {"start": start, "end": end, "number": wanted.number}
    found: dict[int, list[SealedFile]] = {}
    known: set[int] = set()
    for level, *row in db.execute(_GONE, asked).fetchall():
        file = SealedFile(*row)
        if wanted.finest <= level <= wanted.level and file.seq not in known:
            known.add(file.seq)
            found.setdefault(level, []).append(file)
    return found


def _cut(rolled: str, number: int, start: int, end: int, level: int) -> Relation:
    """Return the roll-ups of a level whose points lie in a range, or on both sides of one of its bounds."""
    return Relation(_CUT.format(rolled=rolled, series=number, start=start, end=end, level=level))


def _days(db: Cursor, folder: Path, number: int, first: int, last: int) -> Iterator[Relation]:
    within = f"series = {number} AND t >= {first} AND t < {last}"
    done = {row[0] for row in db.execute("SELECT t FROM daily_done").fetchall()}
    yield Relation(f"SELECT *, -1::BIGINT AS place FROM daily WHERE {within}")  # noqa: S608
    kept = f"{within} AND t NOT IN (SELECT t FROM daily_done)"  # noqa: S608
    yield Relation(f"SELECT *, -1::BIGINT AS place FROM daily_kept WHERE {kept}")  # noqa: S608
    for day in _lacking(db, number, first, last, done):
        yield from _hours(db, folder, number, day, day + DAY)


def _lacking(db: Cursor, number: int, first: int, last: int, done: AbstractSet[int]) -> list[int]:
    """Return the days of a range that have hours, or raw points instead, and no row of their own."""
    found = manifest.ungathered(db, first, last, number) + manifest.unrolled(db, first, last, HOUR, number)
    days = {item.begin // DAY * DAY for item in found}
    days |= {day for item in manifest.gathered(db, first, last, number) for day in range(item.begin, item.until, DAY)}
    return sorted(day for day in days - done if first <= day < last)


def _hours(db: Cursor, folder: Path, number: int, first: int, last: int) -> Iterator[Relation]:
    if gathered := manifest.gathered(db, first, last, number):
        within = f"series = {number} AND t >= {first} AND t < {last}"
        if stale := manifest.stale(db, first, last):
            within += f" AND t - ((t % {DAY}) + {DAY}) % {DAY} NOT IN ({', '.join(map(str, stale))})"
        found = _gathered(folder, gathered)
        yield Relation(f"SELECT * FROM ({found}) WHERE {within}", gathered=tuple(gathered))  # noqa: S608
    covered = manifest.gathered_seqs(db) if (raw := manifest.unrolled(db, first, last, HOUR, number)) else set()
    raw = [item for item in raw if item.seq not in covered]
    yield from _of_files(folder, number, (first, last), HOUR, manifest.ungathered(db, first, last, number), raw)


def _minutes(db: Cursor, folder: Path, number: int, first: int, last: int) -> Iterator[Relation]:
    raw = manifest.unrolled(db, first, last, MINUTE, number)
    rolled = manifest.rolled_files(db, first, last, MINUTE, number)
    yield from _of_files(folder, number, (first, last), MINUTE, rolled, raw)


def _of_files(
    folder: Path,
    number: int,
    between: tuple[int, int],
    level: int,
    rolled: Sequence[SealedFile],
    raw: Sequence[SealedFile],
) -> Iterator[Relation]:
    """Yield what roll-ups of files say of a range, and raw points where these are damaged."""
    first, last = between
    if raw:
        yield Relation(_raw(manifest.union(folder, raw, (), [number]), first, last), raw=tuple(raw))
    if rolled:
        within = f"series = {number} AND t >= {first} AND t < {last}"
        found = f"SELECT * FROM ({_stored(folder, rolled, level)}) WHERE {within}"  # noqa: S608
        yield Relation(found, rolled=tuple((level, item) for item in rolled))


_LEVELS: Final = {DAY: _days, HOUR: _hours, MINUTE: _minutes}


def buckets(points: str, width: int, aggregation: Aggregation) -> str:
    """Return the query for the buckets of what `relation` gives."""
    return f"""SELECT t - ((t % {width}) + {width}) % {width} AS bucket, sum(count)::BIGINT, min(low), max(high),
        {_FIGURE[aggregation]}, {_LAST}, sum(flagged)::BIGINT FROM {points} GROUP BY bucket ORDER BY bucket"""  # noqa: S608


def span(points: str, start: int, end: int) -> str:
    """Return the query for number, first and last time of what `relation` gives, and how many of these are cut."""
    return f"""SELECT coalesce(sum(count + flagged), 0)::BIGINT, min(greatest(first_t, {start})),
        max(least(last_t, {end - 1})), coalesce(sum(count + flagged) FILTER (cut), 0)::BIGINT FROM {points}"""  # noqa: S608


def _raw(points: str, begin: int, stop: int) -> str:
    return _RAW.format(names="", points=points, where=f"t >= {begin} AND t < {stop}")


def _stored(folder: Path, files: Sequence[SealedFile], level: int) -> str:
    paths = ", ".join(quoted(folder / companion(item, level)) for item in files)
    return f"SELECT * EXCLUDE (device, metric), (file_index::BIGINT << 40) AS place FROM read_parquet([{paths}])"  # noqa: S608


def _gathered(folder: Path, files: Sequence[Gathered]) -> str:
    """Return gathered hours; whatever has hours of its own arrived later."""
    paths = ", ".join(quoted(folder / item.path) for item in files)
    return f"""SELECT * EXCLUDE (file_row_number), file_row_number - (1::BIGINT << 60) AS place
        FROM read_parquet([{paths}], file_row_number = true)"""  # noqa: S608
