"""Driver `tail`: follows a logger's growing text file, also when it is rotated or truncated.

What the columns mean stands in the profile (`[tail]`); `lamplighter_protocols.field.tail` reads the lines. The position
(which file, how far, the header that names its columns) is stored in one transaction with the records, so that a crash
neither loses nor doubles a line. A line that cannot be read is counted, reported at a bounded rate, and passed over.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

from pydantic import Field

from lamplighter_agent.driver import Context, Driver, DriverSettings, Event, Fatal, Output, Position, Retriable, Row
from lamplighter_protocols.errors import BadField
from lamplighter_protocols.field.tail import LineCodec, Sample
from lamplighter_protocols.profile import TailMap

LINES: Final = 1_000
"""Lines in one read: what becomes durable at once."""
CHUNK: Final = 256 * 1024
LONGEST_LINE: Final = 64 * 1024
MARK: Final = 64
"""Bytes before the position that are remembered, to notice a file that was written anew in place."""


class TailSettings(DriverSettings):
    """`path` of the file (relative to agent.toml) and how often to look for more."""

    path: Path
    poll_s: Annotated[float, Field(ge=0.05, le=3_600)] = 1.0


@dataclass(slots=True)
class _Taken:
    """What one chunk of a file gave; `offset` is behind its last line, `count` how many lines were refused."""

    rows: list[Row]
    events: list[Event]
    offset: int
    count: int = 0
    detail: str = ""
    line: str = ""
    full: bool = False


class TailDriver(Driver):
    """One file that grows."""

    Settings = TailSettings

    def __init__(self, context: Context, settings: TailSettings) -> None:
        super().__init__(context, settings)
        if context.profile.tail is None:
            raise Fatal(f"profile {context.profile.id} has no [tail] part")
        self._map: TailMap = context.profile.tail
        self._path = context.folder / settings.path
        self._file: BinaryIO | None = None
        self._inode = 0
        self._offset = 0
        self._mark = ""
        self._codec: LineCodec | None = None
        self._refused = 0
        self._told = 0

    @property
    def poll_s(self) -> float:
        """How often to look."""
        settings: TailSettings = self.settings
        return settings.poll_s

    async def open(self, position: Position | None) -> None:
        """Go on where the position says, if it is still the same file; else from the file's beginning."""
        await asyncio.to_thread(self._open, position or {})

    async def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    async def read(self) -> Output:
        """Return the samples of up to LINES whole lines. What has no line end yet is left for later."""
        return await asyncio.to_thread(self._read)

    def _open(self, position: dict[str, Any]) -> None:
        try:
            file = self._path.open("rb")
        except OSError as error:
            raise Retriable(f"{self._path}: {error.strerror}") from None
        self._file = file
        status = os.fstat(file.fileno())
        self._inode = status.st_ino
        same = position.get("inode") == status.st_ino and self._unchanged(file, position, status.st_size)
        if position and not same and self._finish_rotated(position):
            return
        self._start(position if same else {})

    def _start(self, position: dict[str, Any]) -> None:
        self._offset = int(position.get("offset", 0))
        self._mark = str(position.get("mark", ""))
        self._codec = LineCodec(self._map, self.context.profile.metrics, str(position.get("header", "")))

    def _unchanged(self, file: BinaryIO, position: dict[str, Any], size: int) -> bool:
        """True when the bytes before the position are those that were read: neither truncated nor written anew."""
        offset = int(position.get("offset", 0))
        if offset > size:
            return False
        return _mark(file, offset) == str(position.get("mark", ""))

    def _finish_rotated(self, position: dict[str, Any]) -> bool:
        """Go on with the old file where a rotation has moved it to: lines written there while nobody read count too."""
        with os.scandir(self._path.parent) as found:
            old = next((item.path for item in found if item.inode() == position.get("inode")), None)
        if old is None:
            return False
        file = Path(old).open("rb")  # noqa: SIM115 - kept open
        if not self._unchanged(file, position, os.fstat(file.fileno()).st_size):
            file.close()
            return False
        if self._file is not None:
            self._file.close()
        self._file = file
        self._inode = os.fstat(file.fileno()).st_ino
        self._start(position)
        return True

    def _read(self) -> Output:
        if self._file is None or self._codec is None:
            raise Retriable("not open")
        try:
            if _mark(self._file, self._offset) != self._mark:
                return self._begin_again(self._file)
            rotated = self._rotated(self._file)
            taken = self._take(self._file, self._codec, last=rotated)
            if taken.offset == self._offset:
                return self._begin_again(self._file) if rotated else Output()
            self._mark = _mark(self._file, taken.offset)
        except OSError as error:
            raise Retriable(f"{self._path}: {error.strerror}") from None
        self._offset = taken.offset
        events = [*taken.events, *self._refusals(taken)]
        return Output(rows=taken.rows, events=events, position=self._position(), more=taken.full or rotated)

    def _position(self) -> Position:
        header = self._codec.header if self._codec else ""
        return {"inode": self._inode, "offset": self._offset, "header": header, "mark": self._mark}

    def _take(self, file: BinaryIO, codec: LineCodec, *, last: bool) -> _Taken:
        """Feed whole lines to the codec, at most LINES and CHUNK bytes; `last`: nothing more will be written."""
        file.seek(self._offset)
        chunk = file.read(CHUNK)
        end = chunk.rfind(b"\n") + 1
        if last and chunk and not end:
            chunk, end = chunk + b"\n", len(chunk) + 1
        taken = _Taken([], [], self._offset)
        if not end:
            return self._overlong(taken, chunk)
        lines = chunk[:end].split(b"\n", LINES)
        whole = lines[:-1]
        for raw in whole:
            taken.offset += len(raw) + 1
            _sort(taken, codec.feed(raw.decode("utf-8", "replace")), raw)
        taken.full = len(whole) == LINES or len(chunk) == CHUNK
        return taken

    def _overlong(self, taken: _Taken, chunk: bytes) -> _Taken:
        """Pass over a piece that is longer than any line: nobody will ever end it."""
        if len(chunk) > LONGEST_LINE:
            taken.offset += len(chunk)
            taken.full = True
            _refuse(taken, f"a line of more than {LONGEST_LINE} bytes", chunk[:80])
        return taken

    def _rotated(self, file: BinaryIO) -> bool:
        """True when another file has taken the name, or this one was cut short."""
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False  # between the two steps of a rotation
        return now.st_ino != self._inode or os.fstat(file.fileno()).st_size < self._offset

    def _begin_again(self, old: BinaryIO) -> Output:
        """Go to the beginning of the file that has the name now."""
        old.close()
        self._file = None
        self._file = self._path.open("rb")
        self._inode = os.fstat(self._file.fileno()).st_ino
        self._start({})
        return Output(position=self._position(), more=True)

    def _refusals(self, taken: _Taken) -> list[Event]:
        """Return one event for the lines that were refused; only at 1, 2, 4, 8 ... of them, or each thousand."""
        self._refused += taken.count
        if not taken.count or (self._refused < 2 * self._told and self._refused - self._told < 1_000):
            return []
        self._told = self._refused
        data = {"count": self._refused, "detail": taken.detail, "line": taken.line}
        return [Event("line_refused", data)]


def _sort(taken: _Taken, found: Sample | BadField | None, raw: bytes) -> None:
    if found is None:
        return
    if isinstance(found, BadField):
        _refuse(taken, str(found), raw)
    elif found.event:
        taken.events.append(Event(found.event, found.values, found.t))
    elif found.values or found.quality:
        taken.rows.append(Row(found.values, found.quality, found.t))


def _refuse(taken: _Taken, detail: str, raw: bytes) -> None:
    taken.count += 1
    taken.detail = detail[:200]
    taken.line = raw[:80].decode("utf-8", "replace")


def _mark(file: BinaryIO, offset: int) -> str:
    start = max(0, offset - MARK)
    file.seek(start)
    return file.read(offset - start).hex()
