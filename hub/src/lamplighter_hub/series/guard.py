"""The disk guard: before a disk is full the oldest raw points go (docs/decisions/0047).

Raw points of a sealed file go as a whole; what they come to by minute, hour and day stays. What goes by age is another
matter (expiry.py).
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

from lamplighter_hub.series.engine import Engine, EngineError, line
from lamplighter_hub.series.manifest import Readers, SealedFile
from lamplighter_hub.series.store import SeriesError

log = logging.getLogger(__name__)

_RAW: Final = """
SELECT * FROM files WHERE seq NOT IN (SELECT seq FROM thinned) AND seq NOT IN (SELECT seq FROM damaged)
    AND seq NOT IN (SELECT seq FROM rolled WHERE NOT sound)
    ORDER BY "begin", seq LIMIT $limit
"""
_AT_ONCE: Final = 1_000


class Keep(NamedTuple):
    """When less than `free_bytes` of the disk are free, the oldest raw points go; 0 lets none go."""

    free_bytes: int = 0


@dataclass(slots=True)
class Gone:
    """What went since the start: raw files and points in all, by age or for want of room.

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

    def went(self, files: int, points: int, size: int) -> None:
        """Note raw points that are no longer there, and the room that they took."""
        self.files += files
        self.points += points
        self.bytes += size

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


class Guard:
    """Lets raw points go before the disk is full. `free` tells how much room the disk has."""

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
                self.gone.went(len(found), sum(item.rows for item in found), sum(item.size for item in found))
                self.gone.took(found, now_ms)
                log.error("the disk is nearly full: raw points up to %s were let go", found[-1].path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing go meanwhile; whoever lacks room waits."""
        with self._going:
            yield

    def _oldest(self, lacking: int) -> list[SealedFile]:
        found, size = [], 0
        for item in self._raw():
            if _is_shared(self._folder / item.path):
                break
            found.append(item)
            size += item.size
            if size >= lacking:
                break
        return found

    def _raw(self) -> list[SealedFile]:
        with self._engine.read() as db:
            return [SealedFile(*row) for row in db.execute(_RAW, {"limit": _AT_ONCE}).fetchall()]

    def _thin(self, files: Sequence[SealedFile]) -> None:
        try:
            with self._engine.transaction() as db:
                for item in files:
                    db.execute("INSERT INTO thinned VALUES ($seq)", {"seq": item.seq})
        except EngineError as error:
            raise SeriesError(f"old data could not be let go: {line(error)}") from error
        self._readers.retire([self._folder / item.path for item in files])


def _is_shared(path: Path) -> bool:
    """Whether a backup has the same file: then letting it go makes no room."""
    try:
        return path.stat().st_nlink > 1
    except OSError:
        return False
