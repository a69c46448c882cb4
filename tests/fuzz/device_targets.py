"""What an agent's devices say: each driver with a device that answers anything, and all behind it up to the outbox."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from fuzz.kinds import AsyncFeed, Target, running
from fuzz.parts import DEVICE, parts
from lamplighter_agent.driver import Context, Driver, DriverError
from lamplighter_agent.drivers.modbus import ModbusDriver, ModbusSettings
from lamplighter_agent.drivers.simulated import SimulatedDriver, SimulatedSettings
from lamplighter_agent.drivers.tail import TailDriver, TailSettings
from lamplighter_protocols.errors import BadField
from lamplighter_protocols.profile import parse_profile

PROFILE: Final = parse_profile("""
id = "several"
device_class = "test"
title = { en = "Several" }
[metrics.a]
title = { en = "a" }
[metrics.b]
title = { en = "b" }
[metrics.on]
type = "boolean"
title = { en = "on" }
[events.paper_out]
title = { en = "paper out" }
severity = "warning"
[modbus.registers.a]
address = 0
scale = 0.1
[modbus.registers.b]
address = 1
type = "float32"
[modbus.registers.on]
address = 3
table = "coil"
type = "bit"
[tail]
header = true
time = ["time"]
time_format = "%Y-%m-%d %H:%M:%S"
[tail.columns.a]
column = "a"
""")
SAID: Final = (
    {"metrics": {"a": 1.5, "b": None, "on": True}, "quality": {"b": "no_data"}, "t": 1_795_476_600_000},
    {"metrics": {"a": 1}, "events": [{"name": "paper_out", "data": {"tray": 1}, "t": 1_795_476_600_000}], "next": 1},
    {"error": {"kind": "retriable", "detail": "busy"}},
)
LOG: Final = b"time,a\n2026-11-24 08:00:00,1.5\n2026-11-24 08:00:01,\n2026-11-24 08:00:02,x\n"
COIL, HOLDING = 1, 3
GOOD: Final = {
    COIL: bytes((0, 0, 0, 0, 0, 4, 1, COIL, 1, 1)),
    HOLDING: bytes((0, 0, 0, 0, 0, 9, 1, HOLDING, 6, 0, 123, 65, 72, 0, 0)),
}
"""Answers to the two reads of this profile: a coil, and three registers."""
OTHERS: Final = (
    bytes((0, 0, 0, 0, 0, 9, 1, HOLDING, 6, 255, 255, 255, 255, 255, 255)),
    bytes((0, 0, 0, 0, 0, 9, 1, HOLDING, 6, 128, 0, 127, 192, 0, 0)),
    bytes((0, 0, 0, 0, 0, 3, 1, 0x80 | HOLDING, 2)),
)
"""Other values, and a refusal."""
QUICK_S: Final = 0.02


def device_targets(folder: Path) -> Iterator[Target]:
    """Yield all of them; `folder` is for files."""
    said = tuple(json.dumps(one).encode() for one in SAID)
    yield running("simulated-device", said, lambda: _read(folder / "simulated", Device(), _simulated), slow=20)
    units = (*GOOD.values(), *OTHERS)
    yield running("modbus-device", units, lambda: _read(folder / "modbus", Unit(), _modbus), slow=100)
    yield running("tail-file", (LOG,), lambda: _tail(folder / "tail"), slow=20)


class Device:
    """Answers each request with what `answer` makes of `says`."""

    def __init__(self) -> None:
        self.says = b""

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """Read a line."""
        return await reader.readuntil(b"\n")

    def answer(self, request: bytes) -> bytes:  # noqa: ARG002
        """Say a line."""
        return self.says + b"\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it is closed."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                writer.write(self.answer(await self.request(reader)))
        writer.close()


class Unit(Device):
    """A Modbus unit: what it says answers the reads of its own function, others are answered well."""

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """Read header and PDU."""
        head = await reader.readexactly(6)
        return head + await reader.readexactly(int.from_bytes(head[4:6], "big"))

    def answer(self, request: bytes) -> bytes:
        """Answer under the request's transaction number; every other input under its true length, too."""
        function = self.says[7] & 0x7F if len(self.says) > 7 else HOLDING
        if request[7] != (function if function in GOOD else HOLDING):
            return request[:2] + GOOD[request[7]][2:]
        length = max(0, len(self.says) - 6).to_bytes(3, "big")[1:] if sum(self.says) % 2 else self.says[4:6]
        return request[:2] + self.says[2:4] + length + self.says[6:]


@asynccontextmanager
async def _read(folder: Path, device: Device, driver: Callable[[Context, int], Driver]) -> AsyncIterator[AsyncFeed]:
    """Read the device once for each input, as the runner does."""
    server = await asyncio.start_server(device.serve, "127.0.0.1", 0)
    context = Context(DEVICE, PROFILE, folder, logging.getLogger(DEVICE))
    made = driver(context, server.sockets[0].getsockname()[1])
    async with server, parts(folder, PROFILE, made) as own:

        async def feed(payload: bytes) -> None:
            device.says = payload
            try:
                await own.runner._once(None)
            except DriverError as error:
                _not_ours(str(error))
                raise
            finally:
                await own.runner.close()
                await own.settle()
                await own.hand_over()

        yield feed


def _not_ours(error: str) -> None:
    assert "bug" not in error, error


def _simulated(context: Context, port: int) -> Driver:
    return SimulatedDriver(context, SimulatedSettings(port=port, device=DEVICE))


def _modbus(context: Context, port: int) -> Driver:
    return ModbusDriver(context, ModbusSettings(host="127.0.0.1", port=port, request_timeout_s=QUICK_S))


@asynccontextmanager
async def _tail(folder: Path) -> AsyncIterator[AsyncFeed]:
    """Read a file of these bytes to its end, as the runner does."""
    file = folder / "log.csv"
    made = TailDriver(Context(DEVICE, PROFILE, folder, logging.getLogger(DEVICE)), TailSettings(path=file))
    async with parts(folder, PROFILE, made) as own:

        async def feed(payload: bytes) -> None:
            file.write_bytes(payload)
            refused = made._refused
            while await own.runner._once(None):
                pass
            await own.runner.close()
            await own.settle()
            await own.hand_over()
            if made._refused > refused:
                raise BadField("a line was refused")

        yield feed
