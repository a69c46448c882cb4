"""What stands around a measured agent: Modbus devices, and a proxy that counts what crosses the wire."""

from __future__ import annotations

import asyncio
import random
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Background:
    """An event loop in a thread, for servers beside a measurement."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    @contextmanager
    def running(self) -> Iterator[Background]:
        self._thread.start()
        try:
            yield self
        finally:
            self.run(self._end())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class ModbusDevices:
    """Answers reads of registers of any unit (Modbus Messaging on TCP/IP 1.0b). Each register walks at random, as a
    measured value does: numbers in a pattern would be compressed too well."""

    def __init__(self) -> None:
        self._chance = random.Random(1)
        self._values: dict[tuple[int, int], int] = {}
        self.requests = 0

    async def start(self) -> int:
        """Listen on loopback; return the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                transaction, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                request = await reader.readexactly(length - 1)
                writer.write(self._answer(transaction, unit, request))
                await writer.drain()
        writer.close()

    def _answer(self, transaction: int, unit: int, request: bytes) -> bytes:
        self.requests += 1
        function, first, count = struct.unpack(">BHH", request[:5])
        values = [self._step(unit, address) for address in range(first, first + count)]
        body = struct.pack(f">BB{count}H", function, 2 * count, *values)
        return struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body

    def _step(self, unit: int, address: int) -> int:
        before = self._values.get((unit, address)) or self._chance.randint(1_000, 9_000)
        now = min(max(before + round(self._chance.gauss(0, 20)), 0), 10_000)
        self._values[unit, address] = now
        return now


class CountingProxy:
    """Passes TCP on and counts the bytes of both directions, without the headers of TCP and IP."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.up = 0
        self.down = 0

    async def start(self) -> int:
        """Listen on loopback; return the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._pass(reader, back, "up"), self._pass(there, writer, "down"))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                setattr(self, direction, getattr(self, direction) + len(piece))
                writer.write(piece)
                await writer.drain()
        writer.close()
