"""Damaged sealed files: found by their checksum, named, left out of answers, and taken up again when they are whole."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Final

from lamplighter_hub.series import manifest
from lamplighter_hub.series.engine import Engine, EngineError, line
from lamplighter_hub.series.manifest import SealedFile
from lamplighter_hub.series.store import SeriesError

log = logging.getLogger(__name__)

_DAMAGED: Final = "SELECT * FROM files WHERE seq IN (SELECT seq FROM damaged) ORDER BY seq"


class Damage:
    """Which sealed files cannot be trusted. They stay on disk, for whoever restores them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._folder = engine.path.parent
        self._noting = threading.Lock()

    def files(self) -> list[SealedFile]:
        """Return the files that are left out of answers. Raises SeriesError."""
        with self._engine.read() as db:
            return [SealedFile(*row) for row in db.execute(_DAMAGED).fetchall()]

    def missing(self) -> list[SealedFile]:
        """Leave out files that are gone or have another size, and return them: a look without reading them."""
        with self._engine.read() as db:
            known = manifest.known(db)
        return self._note([item for item in known if not self._has_size(item)])

    def look(self, files: Sequence[SealedFile]) -> list[SealedFile]:
        """Read files, leave out those that are not what was written, and return them. Raises SeriesError."""
        return self._note([item for item in files if not manifest.is_whole(self._folder, item)])

    def review(self) -> list[SealedFile]:
        """Take up again what is whole once more, and return it. Raises SeriesError."""
        whole = [item for item in self.files() if manifest.is_whole(self._folder, item)]
        if whole:
            self._change("DELETE FROM damaged WHERE seq = $seq", whole)
            log.warning("whole again: %s", ", ".join(item.path for item in whole))
        return whole

    def _note(self, found: list[SealedFile]) -> list[SealedFile]:
        with self._noting:
            noted = {item.seq for item in self.files()}
            if fresh := [item for item in found if item.seq not in noted]:
                self._change("INSERT INTO damaged VALUES ($seq)", fresh)
                for item in fresh:
                    log.error("%s is damaged: its %d points are left out; restore it", item.path, item.rows)
        return found

    def _change(self, statement: str, files: Sequence[SealedFile]) -> None:
        try:
            with self._engine.transaction() as db:
                for item in files:
                    db.execute(statement, {"seq": item.seq})
        except EngineError as error:
            raise SeriesError(f"damage of {files[0].path} could not be noted: {line(error)}") from error

    def _has_size(self, file: SealedFile) -> bool:
        try:
            return (self._folder / file.path).stat().st_size == file.size
        except OSError:
            return False
