"""Driver `modbus`: registers over TCP, or RTU on a serial line that several devices may share.

What a register means stands in the profile (`[modbus]`); the arithmetic is in `lamplighter_protocols.field.modbus`.
This is the only module that knows pymodbus. Reads are merged into blocks; writes are never repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from lamplighter_agent.driver import (
    Context,
    Driver,
    DriverSettings,
    Fatal,
    Output,
    Partial,
    Position,
    Refused,
    Retriable,
    Row,
)
from lamplighter_protocols.errors import BadField
from lamplighter_protocols.field.modbus import Block, Write, decode, encode_write, plan_reads, writes
from lamplighter_protocols.profile import ModbusMap

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
    from pymodbus.pdu import ModbusPDU

    Client = AsyncModbusTcpClient | AsyncModbusSerialClient

_EXCEPTIONS: Final = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    10: "gateway path unavailable",
    11: "gateway target does not answer",
}


class ModbusSettings(DriverSettings):
    """Either `host` (Modbus TCP) or `serial` (a serial line, RTU), and the unit number on it."""

    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] = 502
    serial: str | None = None
    baudrate: Annotated[int, Field(ge=300, le=4_000_000)] = 9_600
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    request_timeout_s: Annotated[float, Field(gt=0, le=60)] = 1.5

    @model_validator(mode="after")
    def _one_way(self) -> ModbusSettings:
        if (self.host is None) == (self.serial is None):
            raise ValueError('give either host = "ADDRESS" for Modbus TCP or serial = "/dev/..." for RTU')
        return self


class Line:
    """A connection and who uses it. Requests of several devices on one serial line take turns."""

    def __init__(self, settings: ModbusSettings) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._users: set[str] = set()
        self._turn = asyncio.Lock()

    async def join(self, device: str) -> None:
        """Connect unless somebody did. Raises Retriable."""
        async with self._turn:
            self._users.add(device)
            await self._connected()

    def leave(self, device: str) -> None:
        """Disconnect when the last user has left."""
        self._users.discard(device)
        if not self._users:
            self.drop()

    def drop(self) -> None:
        """Disconnect at once: what still arrives would be taken for the answer to the next request."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def read(self, block: Block) -> list[int]:
        """Return the words or bits of a block. Raises Refused for the device's own refusal, else Retriable."""
        async with self._turn:
            client = await self._connected()
            read = {
                "holding": client.read_holding_registers,
                "input": client.read_input_registers,
                "coil": client.read_coils,
                "discrete": client.read_discrete_inputs,
            }[block.table]
            answer = await self._ask(read(block.address, count=block.count, device_id=self._settings.unit))
        found = (
            [int(bit) for bit in answer.bits[: block.count]]
            if block.table in ("coil", "discrete")
            else answer.registers
        )
        if len(found) != block.count:
            self.drop()
            raise Retriable(f"{len(found)} entries for the {block.count} that were asked for")
        return list(found)

    async def write(self, write: Write) -> None:
        """Write once. Errors as `read`."""
        async with self._turn:
            client = await self._connected()
            unit = self._settings.unit
            if isinstance(write.value, bool):
                await self._ask(client.write_coil(write.address, write.value, device_id=unit))
            elif len(write.value) == 1:
                await self._ask(client.write_register(write.address, write.value[0], device_id=unit))
            else:
                await self._ask(client.write_registers(write.address, write.value, device_id=unit))

    async def _connected(self) -> Client:
        if self._client is None or not self._client.connected:
            self.drop()
            self._client = _client(self._settings)
            if not await self._client.connect():
                self.drop()
                raise Retriable(f"no connection to {_place(self._settings)}")
        return self._client

    async def _ask(self, request: Any) -> ModbusPDU:
        from pymodbus.exceptions import ModbusException

        answered = False
        try:
            answer: ModbusPDU = await request
            answered = True
        except ModbusException as error:
            raise Retriable(_short(error)) from None
        finally:
            if not answered:
                self.drop()
        if answer.isError():
            code = int(getattr(answer, "exception_code", 0))
            raise Refused(f"exception {code} ({_EXCEPTIONS.get(code, 'unknown')})")
        return answer


class ModbusDriver(Driver):
    """One unit behind Modbus TCP or on a serial line."""

    Settings = ModbusSettings

    def __init__(self, context: Context, settings: ModbusSettings) -> None:
        super().__init__(context, settings)
        if context.profile.modbus is None:
            raise Fatal(f"profile {context.profile.id} has no [modbus] part")
        self._map: ModbusMap = context.profile.modbus
        self._blocks = plan_reads(self._map)
        self._line: Line | None = None

    async def open(self, position: Position | None) -> None:
        """Connect, or join the line that another device has opened. Registers have no position."""
        del position
        settings: ModbusSettings = self.settings
        if self._line is None:
            self._line = self._shared() if settings.serial else Line(settings)
        await self._line.join(self.context.device)

    async def close(self) -> None:
        """Leave the line."""
        if self._line is not None:
            self._line.leave(self.context.device)

    async def read(self) -> Output:
        """Read all blocks; a block that the device refuses costs only its own metrics."""
        raw: dict[tuple[str, int], int] = {}
        refused: list[str] = []
        for block in self._blocks:
            try:
                words = await self._joined.read(block)
            except Refused as error:
                refused.append(f"{block.table} {block.address}..{block.address + block.count - 1}: {error}")
                continue
            raw.update(((block.table, block.address + nth), word) for nth, word in enumerate(words))
        if refused and not raw:
            raise Retriable("; ".join(refused)[:400])
        values, quality = decode(self._map, raw)
        output = Output(rows=[Row(values, quality)])
        if refused:
            raise Partial("; ".join(refused)[:400], output)
        return output

    async def command(self, name: str, args: dict[str, Any], lease_s: int | None) -> dict[str, Any]:
        """Write what the profile says, in its order. A lease cannot be lent by registers and is refused."""
        if name not in self._map.commands:
            raise Refused(f"profile {self.context.profile.id} has no modbus.commands.{name}")
        if lease_s is not None:
            raise Refused("registers have no lease")
        try:
            planned = list(writes(self._map, name, args))
        except BadField as error:
            raise Refused(f"args.{error}") from None
        for write in planned:
            await self._joined.write(write)
        return {"written": len(planned)}

    async def configure(self, document: dict[str, Any]) -> dict[str, Any]:
        """Write the fields that differ, and read all of them back."""
        found = dict(document)
        for field, write in self._fields(document):
            block = Block(write.table, write.address, 1 if isinstance(write.value, bool) else len(write.value))
            wanted = [int(write.value)] if isinstance(write.value, bool) else write.value
            # Registers often live in flash: what is right already is not written again.
            if await self._joined.read(block) != wanted:
                await self._joined.write(write)
                if (now := await self._joined.read(block)) != wanted:
                    found[field] = f"registers hold {now}"
        return found

    def _fields(self, document: dict[str, Any]) -> Iterator[tuple[str, Write]]:
        for field, target in self._map.configuration.items():
            if field not in document:
                continue
            try:
                value = encode_write(target, document[field])
            except BadField as error:
                raise Refused(f"{field}: {error.detail}") from None
            yield field, Write(target.table, target.address - self._map.base, value)

    @property
    def _joined(self) -> Line:
        if self._line is None:
            raise Retriable("not connected")
        return self._line

    def _shared(self) -> Line:
        settings: ModbusSettings = self.settings
        line: Line = self.context.shared.setdefault(("modbus", settings.serial), Line(settings))
        return line


def _client(settings: ModbusSettings) -> Client:
    # Reconnecting and retrying are the runner's work.
    if settings.serial is None:
        from pymodbus.client import AsyncModbusTcpClient

        return AsyncModbusTcpClient(
            settings.host or "", port=settings.port, timeout=settings.request_timeout_s, retries=0, reconnect_delay=0
        )
    from pymodbus.client import AsyncModbusSerialClient

    return AsyncModbusSerialClient(
        settings.serial,
        baudrate=settings.baudrate,
        parity=settings.parity,
        stopbits=settings.stopbits,
        timeout=settings.request_timeout_s,
        retries=0,
        reconnect_delay=0,
    )


def _place(settings: ModbusSettings) -> str:
    return settings.serial or f"{settings.host}:{settings.port}"


def _short(error: Exception) -> str:
    text = str(error).removeprefix("Modbus Error: ").removeprefix("[Input/Output] ")
    return "no answer" if "No response" in text or "No Response" in text else text[:200]
