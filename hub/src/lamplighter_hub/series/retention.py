"""What goes when: raw points and roll-ups after their days, and raw points before a disk is full.

Raw points of a sealed file go as a whole; what they come to by minute, hour and day stays until the roll-ups' own days
are over. Nothing goes unless it was told (docs/decisions/0047).
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter_hub.series import manifest, rollups
from lamplighter_hub.series.engine import Engine, EngineError, line
from lamplighter_hub.series.manifest import DAY, Readers, SealedFile
from lamplighter_hub.series.store import SeriesError

log = logging.getLogger(__name__)

_RAW: Final = """
SELECT * FROM files WHERE seq NOT IN (SELECT seq FROM thinned) AND seq NOT IN (SELECT seq FROM damaged)
    AND "end" <= $before ORDER BY "begin", seq LIMIT $limit
"""
_PAST: Final = """
SELECT * FROM files WHERE "begin" - (("begin" % $day) + $day) % $day + $day <= $before ORDER BY seq LIMIT $limit
"""
_AT_ONCE: Final = 1_000


class Keep(NamedTuple):
    """How long raw points and roll-ups are kept, in days; None is for ever.

    When less than `free_bytes` of the disk are free, the oldest raw points go; 0 lets none go.
    """

    raw_days: int | None = None
    rollup_days: int | None = None
    free_bytes: int = 0


@dataclass(slots=True)
class Gone:
    """What went since the start: files and points by age, and for want of room.

    What the disk guard took lies between `for_room_from` and `for_room_to` (ms), last at `for_room_at`; None: nothing.
    """

    files: int = 0
    points: int = 0
    bytes: int = 0
    for_room: int = 0
    for_room_bytes: int = 0
    for_room_from: int | None = None
    for_room_to: int | None = None
    for_room_at: int | None = None

    def took(self, files: Sequence[SealedFile], now_ms: int) -> None:
        """Note what the disk guard took."""
        self.for_room += len(files)
        self.for_room_bytes += sum(item.size for item in files)
        begins = [item.first for item in files]
        ends = [item.last + 1 for item in files]
        self.for_room_from = min(begins if self.for_room_from is None else [*begins, self.for_room_from])
        self.for_room_to = max(ends if self.for_room_to is None else [*ends, self.for_room_to])
        self.for_room_at = now_ms


def free_bytes(engine: Engine) -> int:
    """Return how much room the disk of the store has."""
    return shutil.disk_usage(engine.path.parent).free


class Retention:
    """Lets old data go. `free` tells how much room the disk has."""

    def __init__(
        self, engine: Engine, readers: Readers, keep: Keep, free: Callable[[Engine], int] = free_bytes
    ) -> None:
        self._engine = engine
        self._folder = engine.path.parent
        self._readers = readers
        self._keep = keep
        self._free = free
        self._going = threading.Lock()
        self.gone = Gone()

    def expire(self, now_ms: int) -> None:
        """Let go what is older than it is kept. Raises SeriesError."""
        with self._going:
            if self._keep.raw_days is not None:
                while found := self._ask(_RAW, now_ms - self._keep.raw_days * DAY):
                    self._thin(found)
            if self._keep.rollup_days is not None:
                while found := self._ask(_PAST, now_ms - self._keep.rollup_days * DAY):
                    self._forget(found)

    def make_room(self, now_ms: int) -> None:
        """Let the oldest raw points go until the disk has room. Raises SeriesError when nothing is left that may go."""
        if not self._keep.free_bytes or self._free(self._engine) >= self._keep.free_bytes:
            return
        with self._going:
            while (lacking := self._keep.free_bytes - self._free(self._engine)) > 0:
                if not (found := self._oldest(lacking)):
                    raise SeriesError(
                        f"the disk has less than {self._keep.free_bytes // 2**20} MB left and nothing may go: "
                        "make room, or delete backups, which hold the oldest sealed files"
                    )
                self._thin(found)
                self.gone.took(found, now_ms)
                log.error("the disk is nearly full: raw points up to %s were let go", found[-1].path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing go meanwhile; whoever lacks room waits."""
        with self._going:
            yield

    def _oldest(self, lacking: int) -> list[SealedFile]:
        found, size = [], 0
        for item in self._ask(_RAW, manifest.LATEST):
            if _is_shared(self._folder / item.path):
                break
            found.append(item)
            size += item.size
            if size >= lacking:
                break
        return found

    def _ask(self, query: str, before: int) -> list[SealedFile]:
        asked = {"before": before, "limit": _AT_ONCE} | ({"day": DAY} if "$day" in query else {})
        with self._engine.read() as db:
            return [SealedFile(*row) for row in db.execute(query, asked).fetchall()]

    def _thin(self, files: Sequence[SealedFile]) -> None:
        self._change([("INSERT INTO thinned VALUES (?)", [item.seq]) for item in files])
        self._readers.retire([self._folder / item.path for item in files])
        self.gone.files += len(files)
        self.gone.points += sum(item.rows for item in files)
        self.gone.bytes += sum(item.size for item in files)

    def _forget(self, files: Sequence[SealedFile]) -> None:
        tables = ("files", "thinned", "damaged")
        changes: list[tuple[str, list[int]]] = [
            (f"DELETE FROM {table} WHERE seq = ?", [item.seq])  # noqa: S608 (names of this module)
            for item in files
            for table in tables
        ]
        days = {item.begin // DAY * DAY for item in files}
        changes += [(f"DELETE FROM {table} WHERE t = ?", [day]) for day in days for table in ("daily", "daily_done")]  # noqa: S608
        points = sum(item.rows for item in files)
        changes.append(("UPDATE meta SET value = value + ? WHERE name = 'forgotten'", [points]))
        self._change(changes)
        paths = [[self._folder / item.path, *rollups.companions(self._folder, item)] for item in files]
        self._readers.retire([path for group in paths for path in group])

    def _change(self, changes: Sequence[tuple[str, list[int]]]) -> None:
        try:
            with self._engine.transaction() as db:
                for statement, asked in changes:
                    db.execute(statement, asked)
        except EngineError as error:
            raise SeriesError(f"old data could not be let go: {line(error)}") from error


def _is_shared(path: Path) -> bool:
    """Whether a backup has the same file: then letting it go makes no room."""
    try:
        return path.stat().st_nlink > 1
    except OSError:
        return False
