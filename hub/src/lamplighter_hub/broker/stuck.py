"""Whether nats-server stores nothing although its disk has room.

A write that failed stays failed: nats-server (2.15.1 here) refuses every message to that stream from then on,
until it is started again. What is left of it is what its log says.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

FULL: Final = b"no space left on device"
ROOM: Final = 32 * 1024 * 1024
"""A server that is started with less would soon fail again."""
MOST: Final = 1024 * 1024
"""How much of the log is looked at once."""


class StuckStore:
    """Looks at the server's log now and then. `log` may be begun anew when it is large."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = _size(log)
        self._doubtful = False

    def look(self) -> bool:
        """Return true when messages were refused although there was room already at an earlier look.

        Once is not enough: what the log says may be from the moment before there was room.
        """
        refused = FULL in self._news()
        if shutil.disk_usage(self._log.parent).free < ROOM:
            self._doubtful = False
            return False
        stuck, self._doubtful = refused and self._doubtful, refused or self._doubtful
        return stuck

    def _news(self) -> bytes:
        size = _size(self._log)
        if size < self._read:
            self._read = 0
        if size == self._read:
            return b""
        with self._log.open("rb") as log:
            log.seek(max(self._read, size - MOST))
            found = log.read(MOST)
        self._read = size
        return found


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
