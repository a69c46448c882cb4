"""Damaged files: found by their checksum, named, left out of answers, and taken up again when they are whole."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lamplighter_hub.series import manifest, rollups
from lamplighter_hub.series.engine import Engine, EngineError, line
from lamplighter_hub.series.manifest import Gathered, Rolled, SealedFile
from lamplighter_hub.series.store import Damaged, SeriesError

log = logging.getLogger(__name__)

_DAMAGED: Final = "SELECT * FROM files WHERE seq IN (SELECT seq FROM damaged) ORDER BY seq"
_UNSOUND: Final = """
SELECT r.level, f.* FROM rolled r JOIN files f ON f.seq = r.seq WHERE NOT r.sound ORDER BY r.seq, r.level
"""


class Damage:
    """Which files cannot be trusted. They stay on disk, for whoever restores them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._folder = engine.path.parent
        self._noting = threading.Lock()

    def files(self) -> list[SealedFile]:
        """Return the raw files that are left out of answers. Raises SeriesError."""
        with self._engine.read() as db:
            return [SealedFile(*row) for row in db.execute(_DAMAGED).fetchall()]

    def everything(self) -> list[Damaged]:
        """Return all that is left out of answers, raw files first. Raises SeriesError."""
        with self._engine.read() as db:
            thinned = {seq for (seq,) in db.execute("SELECT seq FROM thinned").fetchall()}
            raw = [SealedFile(*row) for row in db.execute(_DAMAGED).fetchall()]
            unsound = [(row[0], SealedFile(*row[1:])) for row in db.execute(_UNSOUND).fetchall()]
        return [told(file) for file in raw if file.seq not in thinned] + [told(file, level) for level, file in unsound]

    def of(self, numbers: Sequence[int], start: int, end: int) -> list[Damaged]:
        """Return what is damaged and leaves an answer on a range of some series incomplete. Raises SeriesError.

        Where raw points are whole they stand for damaged roll-ups.
        """
        low, high = min(numbers, default=0), max(numbers, default=-1)
        with self._engine.read() as db:
            thinned = {seq for (seq,) in db.execute("SELECT seq FROM thinned").fetchall()}
            raw = [SealedFile(*row) for row in db.execute(_DAMAGED).fetchall()]
            unsound = [(row[0], SealedFile(*row[1:])) for row in db.execute(_UNSOUND).fetchall()]

        def matters(file: SealedFile) -> bool:
            return file.low <= high and file.high >= low and file.first < end and file.last >= start

        lost = [told(file) for file in raw if file.seq not in thinned and matters(file)]
        return lost + [told(file, level) for level, file in unsound if file.seq in thinned and matters(file)]

    def missing(self) -> None:
        """Leave out files that are gone or have another size: a look without reading them. Raises SeriesError."""
        with self._engine.read() as db:
            known = manifest.known(db)
            every = {item.seq: item for item in manifest.known(db, thinned=True)}
            rolled = manifest.rolled(db)
            gathered = [item for item in manifest.every_gathered(db) if item.upto >= 0]
        self._note([item for item in known if not self._has_size(item.path, item.size)])
        self._void([item for item in gathered if not self._has_size(item.path, item.size)])
        for item in rolled:
            path = rollups.companion(every[item.seq], item.level)
            if not self._has_size(path, item.size if item.sha256 else None):
                self.leave_out(every[item.seq], item)

    def look(self, files: Sequence[SealedFile]) -> list[SealedFile]:
        """Read files, leave out those that are not what was written, and return them. Raises SeriesError."""
        return self._note([item for item in files if not manifest.is_whole(self._folder, item)])

    def look_rolled(self, file: SealedFile, rolled: Rolled) -> bool:
        """Read the roll-ups of a file, and leave them out unless they are what was written; return whether they are.

        Roll-ups of an older version get their checksum now. Raises SeriesError.
        """
        path = self._folder / rollups.companion(file, rolled.level)
        try:
            size, found = path.stat().st_size, manifest.checksum(path)
        except OSError:
            size, found = 0, ""
        if found and found == (rolled.sha256 or found):
            if not rolled.sound or not rolled.sha256:
                self.take_up(rolled._replace(size=size, sha256=found))
            return True
        if rolled.sound:
            self.leave_out(file, rolled)
        return False

    def look_level(self, files: Sequence[SealedFile], level: int) -> list[SealedFile]:
        """Read the roll-ups of files, leave out those that are damaged, and return their files. Raises SeriesError."""
        with self._engine.read() as db:
            known = {item.seq: item for item in manifest.rolled(db) if item.level == level}
        return [file for file in files if file.seq in known and not self.look_rolled(file, known[file.seq])]

    def look_gathered(self, files: Sequence[Gathered]) -> list[Gathered]:
        """Read gathered files, let those count no more that are damaged, and return them. Raises SeriesError."""
        return self._void([item for item in files if not manifest.is_whole(self._folder, item)])

    def leave_out(self, file: SealedFile, rolled: Rolled) -> None:
        """Let the roll-ups of a file count no more. Raises SeriesError."""
        if not rolled.sound:
            return
        self._execute("UPDATE rolled SET sound = false WHERE seq = $seq AND level = $level", _key(rolled))
        log.error("%s is damaged and left out of answers", rollups.companion(file, rolled.level))

    def take_up(self, rolled: Rolled) -> None:
        """Let roll-ups count as they are now. Raises SeriesError."""
        asked = {**_key(rolled), "size": rolled.size, "sha256": rolled.sha256}
        changed = "UPDATE rolled SET sound = true, size = $size, sha256 = $sha256 WHERE seq = $seq AND level = $level"
        self._execute(changed, asked)

    def review(self) -> list[SealedFile]:
        """Take up again raw files that are whole once more, and return them. Raises SeriesError."""
        whole = [item for item in self.files() if manifest.is_whole(self._folder, item)]
        for item in whole:
            self._execute("DELETE FROM damaged WHERE seq = $seq", {"seq": item.seq})
        if whole:
            log.warning("whole again: %s", ", ".join(item.path for item in whole))
        return whole

    def _note(self, found: list[SealedFile]) -> list[SealedFile]:
        with self._noting:
            noted = {item.seq for item in self.files()}
            for item in found:
                if item.seq not in noted:
                    self._execute("INSERT INTO damaged VALUES ($seq)", {"seq": item.seq})
                    log.error("%s is damaged: its %d points are left out; restore it", item.path, item.rows)
        return found

    def _void(self, found: list[Gathered]) -> list[Gathered]:
        for item in found:
            self._execute('UPDATE gathered SET upto = -1 WHERE "begin" = $begin', {"begin": item.begin})
            log.warning("%s is damaged: the hours of each file answer until they are gathered anew", item.path)
        return found

    def _execute(self, statement: str, asked: Mapping[str, Any]) -> None:
        try:
            with self._engine.transaction() as db:
                db.execute(statement, dict(asked))
        except EngineError as error:
            raise SeriesError(f"what is damaged could not be noted: {line(error)}") from error

    def _has_size(self, path: str, size: int | None) -> bool:
        try:
            found = (self._folder / path).stat().st_size
        except OSError:
            return False
        return size is None or found == size


def told(file: SealedFile, level: int = 0) -> Damaged:
    """Return a damaged file, or its roll-ups of a level (ms), as people are told of it."""
    path = rollups.companion(file, level) if level else file.path
    return Damaged(path, file.first, file.last + 1, file.rows, level)


def _key(rolled: Rolled) -> dict[str, int]:
    return {"seq": rolled.seq, "level": rolled.level}
