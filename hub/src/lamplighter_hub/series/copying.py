"""A copy of the whole store as of one moment: the database, and the sealed files and roll-ups that it names.

Sealed files are never written to, so on the same disk a second name for each is as good as a copy and costs nothing.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from lamplighter_hub.series import manifest, rollups
from lamplighter_hub.series.engine import Cursor, Engine, EngineError, line, quoted
from lamplighter_hub.series.guard import Guard
from lamplighter_hub.series.manifest import Readers
from lamplighter_hub.series.store import SeriesError

log = logging.getLogger(__name__)

_DAMAGED: Final = "SELECT seq FROM damaged"


class Copier:
    """Makes copies, one at a time, while commits and sealing go on. `working` is held by whoever makes one."""

    def __init__(self, engine: Engine, readers: Readers, guard: Guard) -> None:
        self._engine = engine
        self._folder = engine.path.parent
        self._readers = readers
        self._guard = guard
        self._stop = threading.Event()
        self._copying: Cursor | None = None
        self.working = threading.Lock()

    def copy(self, folder: Path) -> None:
        """Write all of one moment into an empty folder. Raises SeriesError."""
        with self.working, closing(self._engine.cursor()) as db:
            self._copying = db
            try:
                self._check()
                self._copy(db, folder)
            except EngineError as error:
                raise SeriesError(f"{self._engine.path.name} could not be copied: {line(error)}") from error
            except OSError as error:
                raise SeriesError(f"a sealed file could not be copied: {error}") from error
            finally:
                self._copying = None

    def stop(self) -> None:
        """End the copy that is being made, for good."""
        self._stop.set()
        if (copying := self._copying) is not None:
            copying.interrupt()

    def _check(self) -> None:
        if self._stop.is_set():
            raise SeriesError(f"{self._engine.path.name} is being closed")

    def _copy(self, db: Cursor, folder: Path) -> None:
        """Copy what one transaction sees: rows keep their order, commits go on meanwhile."""
        target = folder / self._engine.path.name
        db.execute(f"ATTACH {quoted(target)} AS backup")
        try:
            db.execute("BEGIN")
            # Whoever reads keeps the files of the manifest; what is seen is settled by the first look at it.
            with self._guard.held(), self._readers.reading():
                self._take_files(db, folder)
            db.execute(f'COPY FROM DATABASE "{target.stem}" TO backup')
            db.execute("COMMIT; CHECKPOINT backup")
        finally:
            with suppress(EngineError):  # there is none to take back
                db.rollback()
            db.execute("DETACH backup")

    def _take_files(self, db: Cursor, folder: Path) -> None:
        raw = manifest.known(db)
        damaged = {seq for (seq,) in db.execute(_DAMAGED).fetchall()}
        for item in raw:
            self._check()
            if not _take(self._folder, item.path, folder) and item.seq not in damaged:
                log.error("%s is not there: the backup is made without its %d points", item.path, item.rows)
        for path in sorted(rollups.paths(db, Path())):
            self._check()
            _take(self._folder, str(path), folder)


def _take(source: Path, path: str, target: Path) -> bool:
    """Give a file its place in the copy, too; return whether it was there. Raises OSError."""
    (target / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.link(source / path, target / path)
    except FileNotFoundError:
        return False
    except OSError:  # another disk, or one without links
        shutil.copyfile(source / path, target / path)
    return True
