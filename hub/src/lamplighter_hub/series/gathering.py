"""Gathers hours: those of all files of 16 days in few files sorted by series, which a chart of a year reads instead.

What is gathered is a copy (docs/decisions/0087). It counts as long as every file that it is made of does. Where late
points are merged into one of these its day is stale, and the hours of that day's files are read beside the rest; where
something goes by age all of it is void, and the hours of each file answer as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from lamplighter_hub.series import filing, manifest, rollups
from lamplighter_hub.series.damage import Damage
from lamplighter_hub.series.engine import Engine, EngineError, line
from lamplighter_hub.series.manifest import DAY, GATHER, HOUR, Gathered, Readers, SealedFile
from lamplighter_hub.series.pace import Moment, Pace
from lamplighter_hub.series.spans import parts
from lamplighter_hub.series.store import SeriesError

PART: Final = 1_000_000
"""About how many hours a file holds at most, sorted at once."""
_LINES: Final = f"""
SELECT f.seq, f."begin", {manifest.SPAN_OF} AS span, r.sound FROM files f JOIN rolled r ON r.seq = f.seq
WHERE r.level = {HOUR} AND f."begin" + {DAY} <= $closed
"""  # noqa: S608
_DUE: Final = f"""
SELECT span FROM ({_LINES}) GROUP BY span
HAVING bool_and(sound) AND count(*) FILTER (seq NOT IN ({manifest.IS_GATHERED})) >= $few ORDER BY span DESC
"""  # noqa: S608


class Gatherer:
    """Gathers a span at a time, and none twice a day: late points and age change again what they come to."""

    def __init__(self, engine: Engine, readers: Readers, damage: Damage, pace: Pace) -> None:
        self._engine = engine
        self._folder = engine.path.parent
        self._readers = readers
        self._damage = damage
        self._pace = pace
        self._tried: dict[int, int] = {}

    def gather(self, closed: int, few: int) -> bool:
        """Gather the newest span of which `few` files or more are not, of days over at `closed` (ms); False: none.

        Nobody else may rewrite files meanwhile. Raises SeriesError.
        """
        today = closed // DAY * DAY
        self._clear()
        with self._engine.read() as db:
            due = [begin for (begin,) in db.execute(_DUE, {"closed": today, "few": few}).fetchall()]
        begin = next((begin for begin in due if self._tried.get(begin) != today), None)
        if begin is None:
            return False
        self._tried[begin] = today
        self._span(begin, min(begin + GATHER, today))
        return True

    def _span(self, begin: int, until: int) -> None:
        with self._engine.read() as db:
            seq = manifest.last_seq(db)
            found = manifest.rolled_files(db, begin, until, HOUR)
        files = [item for item in found if begin <= item.begin < until]
        began = Moment.now()
        if self._damage.look_level(files, HOUR):
            return
        self._pace.rest(began)
        made: list[Gathered] = []
        try:
            made.extend(self._write(Gathered(seq, "", begin, until, 0, 0, seq, 0, ""), files))
            self._swap(begin, made)
        except (OSError, SeriesError) as error:
            for item in made:
                filing.discard(self._folder / item.path)
            if isinstance(error, SeriesError):
                raise
            raise SeriesError(f"hours could not be gathered: {error}") from error

    def _write(self, span: Gathered, files: Sequence[SealedFile]) -> Iterator[Gathered]:
        """Write the parts of a span. Raises SeriesError, OSError."""
        for number, (low, high, _) in enumerate(self._cut(files), span.seq + 1):
            began = Moment.now()
            path = manifest.gathered_place(span.begin, number)
            mine = [item for item in files if item.low <= high and item.high >= low]
            final = self._folder / path
            try:
                with self._engine.read() as db:
                    filing.copy(db, rollups.gathering(self._folder, mine, low, high), final, filing.FINE)
                rolled = filing.finish(number, HOUR, final)
            except (OSError, SeriesError):
                filing.discard(final)
                raise
            yield span._replace(seq=number, path=path, low=low, high=high, size=rolled.size, sha256=rolled.sha256)
            self._pace.rest(began)

    def _cut(self, files: Sequence[SealedFile]) -> list[tuple[int, int, int]]:
        began = Moment.now()
        with self._engine.read() as db:
            found = parts(db.execute(rollups.counting(self._folder, files)).fetchall(), PART)
        self._pace.rest(began)
        return found

    def _swap(self, begin: int, made: Sequence[Gathered]) -> None:
        with self._engine.read() as db:
            old = [item for item in manifest.every_gathered(db) if item.begin == begin]
        try:
            with self._engine.transaction() as db:
                manifest.gather(db, begin, made)
        except EngineError as error:
            raise SeriesError(f"the manifest could not be changed: {line(error)}") from error
        self._retire(old)

    def _clear(self) -> None:
        """Remove what counts no more, and with it what should be gone by age."""
        with self._engine.read() as db:
            void = [item for item in manifest.every_gathered(db) if item.upto < 0]
        if not void:
            return
        try:
            with self._engine.transaction() as db:
                db.execute("DELETE FROM gathered WHERE upto < 0")
        except EngineError as error:
            raise SeriesError(f"the manifest could not be changed: {line(error)}") from error
        self._retire(void)

    def _retire(self, files: Sequence[Gathered]) -> None:
        self._readers.retire([self._folder / item.path for item in files])
