"""Reads every file that the manifest names and compares checksums; roll-ups that are damaged are made anew."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Final

from lamplighter_hub.series import filing, manifest, rollups
from lamplighter_hub.series.damage import Damage, told
from lamplighter_hub.series.engine import Engine, EngineError, line
from lamplighter_hub.series.manifest import GATHER, HOUR, Readers, Rolled, SealedFile
from lamplighter_hub.series.store import Checked, Damaged, SeriesError

log = logging.getLogger(__name__)

_LINES: Final = f"""
SELECT seq, 0 AS level, size FROM files WHERE seq NOT IN (SELECT seq FROM thinned)
UNION ALL SELECT seq, level, size FROM rolled
UNION ALL SELECT seq, {GATHER}, size FROM gathered WHERE upto >= 0 ORDER BY seq, level
"""  # noqa: S608
Key = tuple[int, int]
"""A file's number, and the level (ms) of its roll-ups; 0 is raw, GATHER gathered."""


class Verifier:
    """Looks whether files are what was written. Whoever rewrites files holds `passing`."""

    def __init__(self, engine: Engine, readers: Readers, damage: Damage, passing: threading.Lock) -> None:
        self._engine = engine
        self._folder = engine.path.parent
        self._readers = readers
        self._damage = damage
        self._passing = passing

    def size(self) -> tuple[int, int]:
        """Return how many files there are to read, and how many bytes. Raises SeriesError."""
        found = self._lines()
        return len(found), sum(found.values())

    def check(self, after: str = "") -> Iterator[Checked]:
        """Read the files behind a place, one at each step, in an order that stays. Raises SeriesError."""
        self._damage.review()
        begin = _read_place(after)
        for key in [key for key in self._lines() if key > begin]:
            if (found := self._one(*key)) is not None:
                yield found

    def _lines(self) -> dict[Key, int]:
        with self._engine.read() as db:
            return {(seq, level): size for seq, level, size in db.execute(_LINES).fetchall()}

    def _gathered(self, seq: int) -> Checked | None:
        """Look at a file of gathered hours: damaged, it is made anew of the hours of each file."""
        with self._readers.reading():
            with self._engine.read() as db:
                found = [item for item in manifest.every_gathered(db) if item.seq == seq and item.upto >= 0]
            if not found:
                return None
            file, damaged = found[0], self._damage.look_gathered(found)
        fault = Damaged(file.path, file.begin, file.until, 0, HOUR) if damaged else None
        return Checked(f"{seq}-{GATHER}", file.path, file.size, fault, rebuilt=bool(damaged))

    def _one(self, seq: int, level: int) -> Checked | None:
        """Look at one file, if it is still named."""
        if level == GATHER:
            return self._gathered(seq)
        with self._readers.reading():
            known = self._named(seq, level)
            if known is None:
                return None
            file, rolled = known
            place = f"{seq}-{level}"
            if rolled is None:
                fault = told(file) if self._damage.look([file]) else None
                return Checked(place, file.path, file.size, fault)
            path = rollups.companion(file, level)
            if self._damage.look_rolled(file, rolled):
                return Checked(place, path, rolled.size, None)
        return Checked(place, path, rolled.size, told(file, level), rebuilt=self._rebuild(seq, level))

    def _named(self, seq: int, level: int) -> tuple[SealedFile, Rolled | None] | None:
        asked = {"seq": seq, "level": level}
        with self._engine.read() as db:
            files = db.execute("SELECT * FROM files WHERE seq = $seq", {"seq": seq}).fetchall()
            rolled = db.execute("SELECT * FROM rolled WHERE seq = $seq AND level = $level", asked).fetchall()
            thinned = db.execute("SELECT 1 FROM thinned WHERE seq = $seq", {"seq": seq}).fetchall()
        if not files or (level and not rolled) or (not level and thinned):
            return None
        return SealedFile(*files[0]), Rolled(*rolled[0]) if level else None

    def _rebuild(self, seq: int, level: int) -> bool:
        """Make roll-ups anew of their raw points, where these are there and whole."""
        with self._passing:
            known, raw = self._named(seq, level), self._named(seq, 0)
            if known is None or raw is None or self._damage.look([raw[0]]):
                return False
            file, path = raw[0], self._folder / rollups.companion(raw[0], level)
            try:
                with self._engine.read() as db:
                    filing.copy(db, rollups.making(self._folder / file.path, level), path)
                self._damage.take_up(filing.finish(seq, level, path))
            except (OSError, EngineError, SeriesError) as error:
                said = line(error) if isinstance(error, EngineError) else error
                log.warning("%s could not be made anew: %s", path, said)
                return False
        log.warning("%s was damaged and is made anew of its raw points", rollups.companion(file, level))
        return True


def _read_place(after: str) -> Key:
    seq, _, level = after.partition("-")
    return (int(seq), int(level)) if seq.isdigit() and level.isdigit() else (-1, 0)
