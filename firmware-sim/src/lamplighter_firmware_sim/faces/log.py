"""A logger's text file: grows line by line, each line flushed, rotated or truncated as loggers do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from lamplighter_firmware_sim.errors import UsageError

KEPT: Final = 2
"""How many rotated files stay beside the one that grows."""


class LogFace:
    """Appends to one file. `preamble` are the lines that each new file begins with, such as a header."""

    def __init__(self, path: Path, preamble: Sequence[bytes] = ()) -> None:
        self._path = path
        self._preamble = preamble
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Go on with the file, or begin it. Raises UsageError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
        except OSError as error:
            raise UsageError(f"{self._path}: {error.strerror}") from None
        if self._file.tell() == 0:
            for line in self._preamble:
                self._file.write(line)
            self._file.flush()
        elif not self._ends_with_newline():
            # Power went in the middle of a line; a logger begins the next one afresh.
            self._file.write(b"\n")

    def write(self, line: bytes) -> None:
        """Append one line, its end included, and flush it."""
        self._opened().write(line)
        self._opened().flush()

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return self._opened().tell()

    def rotate(self) -> None:
        """Rename the file to NAME.1 (NAME.1 to NAME.2 ...) and begin a new one."""
        self.close()
        for number in range(KEPT - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        self.open()

    def truncate(self) -> None:
        """Empty the file and begin it again under the same name and inode."""
        self._opened().truncate(0)
        self.close()
        self.open()

    def close(self) -> None:
        """Close the file and leave it where it is."""
        if self._file:
            self._file.close()
            self._file = None

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        os.fsync(self._opened().fileno())

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _ends_with_newline(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise UsageError(f"{self._path} is not open")
        return self._file
