"""Questions to hot and sealed points as one: a query, a page, an export in slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from lamplighter_hub.series import manifest, queries, rollups
from lamplighter_hub.series.damage import Damage
from lamplighter_hub.series.engine import Engine, may_be_damage, want
from lamplighter_hub.series.slices import Slice, cut, fractions, together
from lamplighter_hub.series.store import SeriesError

CHUNK: Final = 5_000
"""Rows that an export hands out at once."""
WINDOW: Final = 64
"""Sealed files that a page of readings looks into at once."""
_TRIES: Final = 3


class Questions:
    """Asks the database, with the sealed files that a question needs, in one state of both."""

    def __init__(self, engine: Engine, readers: manifest.Readers, damage: Damage) -> None:
        self._engine = engine
        self._folder = engine.path.parent
        self._readers = readers
        self._damage = damage

    def ask(
        self,
        query: str,
        asked: Mapping[str, Any],
        keys: Sequence[int | str],
        ranks: Sequence[int] | None = None,
        *,
        sealed: bool = True,
    ) -> list[Any]:
        """Return the rows of a query on hot and sealed points, or on events; a damaged file is noted and left out."""
        for left in reversed(range(_TRIES)):
            used: list[manifest.SealedFile] = []
            try:
                with self._readers.reading(), self._engine.read() as db:
                    if "wanted" in query:
                        want(db, keys, ranks)
                    statement = query
                    if "{points}" in query:
                        numbers = [int(key) for key in keys]
                        if sealed:
                            used += manifest.files(db, asked["start"], asked["end"], numbers)
                        hot = manifest.generations(db)
                        statement = query.replace("{points}", manifest.union(self._folder, used, hot, numbers))
                    return db.execute(statement, dict(asked)).fetchall()
            except SeriesError as error:
                if not left or not may_be_damage(error) or not self._damage.look(used):
                    raise
        raise AssertionError("the last try returns or raises")

    def rolled(self, wanted: rollups.Wanted, start: int, end: int, query: Callable[[str], str]) -> list[Any]:
        """Return the rows of a query on a series in which roll-ups stand for raw points; damage is left out."""
        for left in reversed(range(_TRIES)):
            used = rollups.Relation("")
            try:
                with self._readers.reading(), self._engine.read() as db:
                    used = rollups.relation(db, self._folder, wanted, start, end)
                    return db.execute(query(used.points)).fetchall()
            except SeriesError as error:
                if not left or not may_be_damage(error) or not self._look(used):
                    raise
        raise AssertionError("the last try returns or raises")

    def _look(self, used: rollups.Relation) -> bool:
        """Return whether something of what was read is damaged; it is left out from then on."""
        damaged = len(self._damage.look(used.raw)) + len(self._damage.look_gathered(used.gathered))
        for level in {level for level, _ in used.rolled}:
            damaged += len(self._damage.look_level([file for of, file in used.rolled if of == level], level))
        return damaged > 0

    def page(self, keys: Sequence[int], asked: Mapping[str, Any]) -> list[Any]:
        """Return the rows of a page of readings, looking into few sealed files at a time."""
        start, end, limit = asked["start"], asked["end"], asked["limit"]
        with self._engine.read() as db:
            firsts = sorted(item.first for item in manifest.files(db, start, end, keys))
        cuts = sorted({first for first in firsts[WINDOW::WINDOW] if start < first < end})
        found: list[Any] = []
        skip = asked["skip"]
        for begin, stop in pairwise([start, *cuts, end]):
            within = {**asked, "start": begin, "end": stop, "limit": limit - len(found), "skip": skip}
            found += self.ask(queries.READINGS, within, keys)
            skip = 0
            if len(found) >= limit:
                break
        return found

    def export(
        self, export: queries.Export, keys: Sequence[int | str], asked: Mapping[str, Any]
    ) -> Iterator[list[Any]]:
        """Yield the rows of an export in chunks, slice by slice (slices.py)."""
        plan = self.ask(export.plan, asked, keys)
        for group in together(plan):
            for part in self._slices(export, keys, group, asked):
                within = {**asked, "start": part.start, "end": part.end}
                found = self.ask(export.rows, within, [keys[rank] for rank in part.ranks], part.ranks)
                for place in range(0, len(found), CHUNK):
                    yield found[place : place + CHUNK]

    def _slices(
        self, export: queries.Export, keys: Sequence[int | str], group: list[tuple[int, int]], asked: Mapping[str, Any]
    ) -> Iterator[Slice]:
        start, end = asked["start"], asked["end"]
        (rank, count), *others = group
        parts = fractions(count)
        if others or not parts:
            yield Slice([rank for rank, _ in group], start, end)
            return
        cuts = self.ask(export.cuts, {**asked, "cuts": parts}, [keys[rank]])[0][0]
        yield from cut(rank, start, end, cuts or [])
