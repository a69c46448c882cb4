"""A broker that takes an agent in as it should, and then says what no broker says; and an agent's link to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from lamplighter_agent.clock import Clock, system_ms
from lamplighter_agent.disk import Disk
from lamplighter_agent.entries import Inventory
from lamplighter_agent.link import Link, LinkPlan
from lamplighter_agent.metering import Meter
from lamplighter_agent.outbox import Outbox
from lamplighter_agent.settings import HABITS, LinkKind
from lamplighter_agent.state import Broker
from lamplighter_agent.traffic import Account, Budget
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.presence import Birth
from services.wait import eventually_async

AGENT: Final = "kiosk-3"
_PUBLISH: Final = 3
_QOS_1: Final = 2


class Garbled:
    """Says `says` behind the answer to each birth; then it says nothing more, and waits until the agent leaves."""

    def __init__(self) -> None:
        self.says = b""
        self.port = 0
        self.begun = 0
        """How many connections there were."""
        self.left = 0
        """How many of them the agent has closed."""
        self._open: set[asyncio.StreamWriter] = set()
        self._going = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it is closed."""
        self.begun += 1
        self._open.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head, body = await _packet(reader)
                writer.write(self._answer(head, body))
                if head >> 4 == _PUBLISH and head & _QOS_1 and writer.can_write_eof():
                    writer.write_eof()
        self.left += 1
        self._going.set()
        self._open.discard(writer)
        writer.close()

    async def gone(self, connections: int) -> None:
        """Wait until the agent has closed so many connections."""
        while self.left < connections:
            self._going.clear()
            await self._going.wait()

    async def hang_up(self) -> None:
        """End all connections."""
        for writer in self._open:
            writer.close()
        await eventually_async(lambda: not self._open)

    def _answer(self, head: int, body: bytes) -> bytes:
        match head >> 4:
            case 1:  # CONNECT
                return b"\x20\x02\0\0"
            case 8:  # SUBSCRIBE
                return b"\x90\x03" + body[:2] + b"\0"
            case 3 if head & _QOS_1:
                mid = 2 + int.from_bytes(body[:2], "big")
                return b"\x40\x02" + body[mid : mid + 2] + self.says
            case _:
                return b""


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the first byte and the body of an MQTT packet."""
    head, length, shift = (await reader.readexactly(1))[0], 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return head, await reader.readexactly(length)


@asynccontextmanager
async def garbled() -> AsyncIterator[Garbled]:
    """Listen for as long as the block."""
    broker = Garbled()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
        await broker.hang_up()


@asynccontextmanager
async def linked(folder: Path, port: int) -> AsyncIterator[Link]:
    """Make an agent's link to a broker, over an outbox in this folder; who runs it is the caller's business."""
    clock, disk = Clock(), Disk()
    outbox = Outbox(folder / "outbox.sqlite", 1_000_000, clock.own)
    habits = HABITS[LinkKind.ETHERNET]
    plan = LinkPlan(AGENT, Broker(url=f"mqtt://127.0.0.1:{port}", username=AGENT, password=""), 30, habits, 65_536)
    boot = new_ulid(system_ms(), bytes(10))

    def birth(session: int, _: Inventory) -> Birth:
        return Birth(session=session, boot=boot, heard_within_s=30, sent=clock.own())

    async def keep(_: Account) -> None:
        return

    await disk.run(outbox.open)
    meter = Meter(LinkKind.ETHERNET, Budget(None), Account({}), clock.now, keep, 3_600.0)
    try:
        yield Link(plan, outbox, disk, clock, lambda known: known + 1, birth, meter)
    finally:
        await disk.run(outbox.close)
        disk.close()
