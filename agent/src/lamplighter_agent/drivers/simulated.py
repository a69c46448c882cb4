"""Driver `simulated`: a device of the simulator, over TCP, one JSON object a line, request and response.

`read` carries how many of the device's events are durable here (`seen`), and the answer how many there are (`next`):
events are asked for again until they are safe, and none comes twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any, Final

from pydantic import Field
from pydantic_core import from_json, to_json

from lamplighter_agent.driver import (
    Context,
    Driver,
    DriverError,
    DriverSettings,
    Event,
    Fatal,
    Output,
    Position,
    Refused,
    Retriable,
    Row,
)
from lamplighter_agent.outputs import flaw
from lamplighter_protocols.ids import DeviceId
from lamplighter_protocols.readings import Quality

MAX_LINE: Final = 1024 * 1024
_ERRORS: Final[dict[str, type[DriverError]]] = {"retriable": Retriable, "fatal": Fatal, "rejected": Refused}


class SimulatedSettings(DriverSettings):
    """Where the simulator's face listens, and which of its devices is meant."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)]
    device: DeviceId


class SimulatedDriver(Driver):
    """Speaks to one device of `lamplighter-sim`."""

    Settings = SimulatedSettings

    def __init__(self, context: Context, settings: SimulatedSettings) -> None:
        super().__init__(context, settings)
        renamed = context.profile.simulated.metrics if context.profile.simulated else {}
        self._names = {theirs: ours for ours, theirs in renamed.items()}
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._seen = 0

    async def open(self, position: Position | None) -> None:
        """Connect. The position holds how many events are durable."""
        self._seen = int((position or {}).get("seen", 0))
        settings: SimulatedSettings = self.settings
        try:
            self._reader, self._writer = await asyncio.open_connection(settings.host, settings.port, limit=MAX_LINE)
        except OSError as error:
            raise Retriable(f"{settings.host}:{settings.port}: {error.strerror or error}") from None

    async def close(self) -> None:
        """Disconnect."""
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        self._reader = self._writer = None

    async def read(self) -> Output:
        """Return the metrics of now, and the events since the last durable one."""
        answer = await self._ask({"op": "read", "seen": self._seen})
        try:
            rows = [self._row(answer)] if answer.get("metrics") or answer.get("quality") else []
            events = [_event(item) for item in answer.get("events", [])]
            following = int(answer.get("next", self._seen))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Retriable(f"a garbled answer: {type(error).__name__}: {error}") from None
        position = {"seen": following} if following != self._seen else None
        output = Output(rows=rows, events=events, position=position)
        if what := flaw(output):
            raise Retriable(f"a garbled answer: {what}")
        self._seen = following
        return output

    async def command(self, name: str, args: dict[str, Any], lease_s: int | None) -> dict[str, Any]:
        """Act; the peer's data come back."""
        lease = {} if lease_s is None else {"lease_s": lease_s}
        return _object(await self._ask({"op": "command", "name": name, "args": args, **lease}), "data")

    async def configure(self, document: dict[str, Any]) -> dict[str, Any]:
        """Hand the document over; the peer says what is now in force."""
        return _object(await self._ask({"op": "configure", "document": document}), "document")

    def _row(self, answer: dict[str, Any]) -> Row:
        values = {self._names.get(name, name): value for name, value in answer.get("metrics", {}).items()}
        flags = {self._names.get(name, name): Quality(flag) for name, flag in answer.get("quality", {}).items()}
        return Row(values, flags, answer.get("t"))

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._reader is None or self._writer is None:
            raise Retriable("not connected")
        self._writer.write(to_json({**request, "device": self.settings.device}) + b"\n")
        try:
            await self._writer.drain()
            line = await self._reader.readline()
        except (OSError, ValueError) as error:
            raise Retriable(f"the connection broke: {error}") from None
        if not line.endswith(b"\n"):
            raise Retriable("the peer closed the connection")
        return _answer(line)


def _answer(line: bytes) -> dict[str, Any]:
    try:
        found = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise Retriable(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Retriable("the answer is not an object")
    problem = found.get("error")
    if isinstance(problem, dict):
        raise _ERRORS.get(str(problem.get("kind")), Retriable)(
            (str(problem.get("detail", "")).strip() or "no detail")[:400]
        )
    return found


def _object(answer: dict[str, Any], key: str) -> dict[str, Any]:
    found = answer.get(key, {})
    if not isinstance(found, dict):
        raise Retriable(f"{key} is not an object")
    return found


def _event(item: dict[str, Any]) -> Event:
    t = item.get("t")
    if t is not None and not isinstance(t, int):
        raise ValueError("t is not in milliseconds")
    return Event(str(item["name"]), dict(item.get("data") or {}), t)
