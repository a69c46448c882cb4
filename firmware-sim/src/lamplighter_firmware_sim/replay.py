"""Replays a recording through a face: its lines into a growing file, or its rows into Modbus registers.

Speed is a multiple of real time by the recording's own time stamps; 0 means as fast as possible. The lines are written
byte for byte as they were recorded.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lamplighter_firmware_sim.devices.device import Observation, Value
from lamplighter_firmware_sim.errors import UsageError
from lamplighter_firmware_sim.faces.log import LogFace
from lamplighter_firmware_sim.faces.modbus_tcp import ModbusTcpFace
from lamplighter_firmware_sim.faces.registers import Image, image
from lamplighter_protocols.profile import ModbusMap, Profile, TailMap

LONGEST_PAUSE_S: Final = 3_600.0
YIELD_EVERY: Final = 500
"""Lines written at full speed before others get a turn."""


@dataclass(frozen=True)
class Line:
    """One line of a recording, with its end. `t` in ms; None for headers and what has no time."""

    raw: bytes
    t: int | None
    fields: tuple[str, ...]


class Recording:
    """A text file, perhaps gzipped, that a profile's [tail] part describes."""

    def __init__(self, path: Path, tail: TailMap) -> None:
        self._path = path
        self._tail = tail
        self.header: tuple[str, ...] = ()
        try:
            self._zone = UTC if tail.timezone == "UTC" else ZoneInfo(tail.timezone)
        except ZoneInfoNotFoundError:
            raise UsageError(f"time zone {tail.timezone!r} is not known here; install tzdata") from None

    def lines(self) -> Iterator[Line]:
        """Yield the lines in order. Raises UsageError when the file cannot be read."""
        opener: Callable[..., object] = gzip.open if self._path.suffix == ".gz" else open
        try:
            with opener(self._path, "rb") as file:  # type: ignore[attr-defined]
                for raw in file:
                    yield self._line(raw)
        except OSError as error:
            raise UsageError(f"{self._path}: {error.strerror or error}") from None

    def _line(self, raw: bytes) -> Line:
        text = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not text or any(text.startswith(prefix) for prefix in self._tail.skip):
            return Line(raw, None, ())
        fields = tuple(part.strip() for part in text.split(self._tail.delimiter or None))
        if self._tail.header and not self.header:
            self.header = fields
            return Line(raw, None, ())
        return Line(raw, self._time(fields), fields)

    def _time(self, fields: tuple[str, ...]) -> int | None:
        with suppress(ValueError, IndexError, OverflowError):
            text = " ".join(fields[self.place(column)] for column in self._tail.time)
            return _milliseconds(text, self._tail.time_format, self._zone)
        return None

    def place(self, column: int | str) -> int:
        """Return where a column stands. Raises ValueError when the header does not have it."""
        return column if isinstance(column, int) else self.header.index(column)


def _milliseconds(text: str, form: str, zone: ZoneInfo | object) -> int:
    if form == "unix":
        return round(float(text) * 1000)
    if form == "unix_ms":
        return int(text)
    when = datetime.fromisoformat(text) if form == "iso" else datetime.strptime(text, form)  # noqa: DTZ007 - below
    if when.tzinfo is None:
        when = when.replace(tzinfo=zone)  # type: ignore[arg-type]
    return round(when.timestamp() * 1000)


class Pace:
    """Waits between two lines as long as they are apart, divided by the speed; speed 0 never waits."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first: int | None = None
        self._begun = 0.0
        self._count = 0

    async def until(self, t: int | None) -> None:
        """Wait until a line of this time is due. Times that run backwards are due at once."""
        self._count += 1
        if self._speed == 0:
            if self._count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            return
        if t is None:
            return
        now = asyncio.get_running_loop().time()
        if self._first is None:
            self._first, self._begun = t, now
        wait = self._begun + (t - self._first) / 1000 / self._speed - now
        if wait > 0:
            await asyncio.sleep(min(wait, LONGEST_PAUSE_S))


async def replay_log(recording: Recording, out: LogFace, pace: Pace, count: int | None) -> int:
    """Write up to `count` lines that carry a time (and what stands between them); return how many there were."""
    written = 0
    out.open()
    try:
        for line in recording.lines():
            if line.t is not None and written == count:
                break
            await pace.until(line.t)
            out.write(line.raw)
            written += line.t is not None
        out.sync()
    finally:
        out.close()
    return written


class SteppedRegisters:
    """Registers that show one row of a recording after the other (see modbus_tcp.Registers)."""

    def __init__(self, registers: ModbusMap) -> None:
        self._map = registers
        self._seen = Observation({})

    def show(self, seen: Observation) -> None:
        """Show another row."""
        self._seen = seen

    def image(self) -> Image | None:
        """Return the registers now."""
        return image(self._map, self._seen, {})

    def command(self, name: str, args: dict[str, Value]) -> None:
        """Take note of nothing: a recording cannot be told what to do."""

    def configure(self, changes: dict[str, Value]) -> None:
        """Take note of nothing."""


def row(recording: Recording, tail: TailMap, profile: Profile, line: Line) -> Observation:
    """Return a recorded line as what a device shows."""
    metrics: dict[str, Value] = {}
    for name, column in tail.columns.items():
        with suppress(ValueError, IndexError):
            text = line.fields[recording.place(column.column)]
            if text not in tail.missing and name in profile.metrics:
                metrics[name] = _value(text, profile.metrics[name].type)
    return Observation(metrics)


def _value(text: str, kind: str) -> Value:
    if kind == "number":
        return float(text)
    return text.lower() in ("1", "true", "on", "yes") if kind == "boolean" else text


async def replay_modbus(
    recording: Recording,
    profile: Profile,
    pace: Pace,
    count: int | None,
    listening: Callable[[int], None],
    at: tuple[str, int],
) -> int:
    """Step the profile's registers through the rows; return how many there were."""
    if profile.modbus is None or profile.tail is None:
        raise UsageError(f"profile {profile.id} needs [modbus] and [tail] to be replayed as registers")
    registers = SteppedRegisters(profile.modbus)
    face = ModbusTcpFace(profile.modbus, registers)
    try:
        listening(await face.start(*at))
    except OSError as error:
        raise UsageError(f"{at[0]}:{at[1]}: {error.strerror or error}") from None
    shown = 0
    try:
        for line in recording.lines():
            if line.t is None:
                continue
            if shown == count:
                break
            await pace.until(line.t)
            registers.show(row(recording, profile.tail, profile, line))
            shown += 1
    finally:
        await face.stop()
    return shown
