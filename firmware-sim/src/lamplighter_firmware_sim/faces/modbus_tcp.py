"""Modbus TCP: a device's registers behind pymodbus' server. The only module that imports pymodbus."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from lamplighter_firmware_sim.devices.device import Failed, NotReady, Refused, Value
from lamplighter_firmware_sim.errors import UsageError
from lamplighter_firmware_sim.faces.registers import Image, meaning, size, width, written
from lamplighter_protocols.profile import ModbusMap, ModbusWrite

UNIT: Final = 1
_TABLES: Final = {1: "coil", 5: "coil", 15: "coil", 2: "discrete", 4: "input"}
"""Function codes to tables; all others work on holding registers."""
_BIT_TABLES: Final = ("coil", "discrete")
LOOK_AGAIN_S: Final = 0.2


class Registers(Protocol):
    """What stands behind the face: registers to show, and acts that writing to some of them means."""

    def image(self) -> Image | None:
        """Return the registers now; None while the device does not answer."""

    def command(self, name: str, args: dict[str, Value]) -> None:
        """Act. Raises Refused or NotReady."""

    def configure(self, changes: dict[str, Value]) -> None:
        """Change the configuration. Raises Refused or NotReady."""


class ModbusTcpFace:
    """Serves one device at unit UNIT."""

    def __init__(self, device: ModbusMap, behind: Registers) -> None:
        self._map = device
        self._behind = behind
        self._server: ModbusTcpServer | None = None
        self._written: dict[tuple[str, int], int] = {}

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port; port 0 takes any. Raises OSError when the port is taken."""
        # pymodbus also prints what it raises or answers.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        server = ModbusTcpServer(self._device(), address=(host, port))
        if not await server.listen():
            await server.shutdown()  # type: ignore[no-untyped-call]
            raise OSError(f"{host}:{port} is not free")
        self._server = server
        transport = server.transport
        if not isinstance(transport, asyncio.Server):
            raise UsageError("this pymodbus has another server than asyncio's; install >=3.16,<3.17")
        bound: int = transport.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._server:
            await self._server.shutdown()  # type: ignore[no-untyped-call]

    def _device(self) -> SimDevice:
        """Lay the registers out: blocks from 0 for bits, from the first to the last address for words."""
        return SimDevice(
            UNIT,
            simdata=(
                [self._bits("coil")],
                [self._bits("discrete")],
                [self._words("holding")],
                [self._words("input")],
            ),
            action=self._access,
        )

    def _bits(self, table: str) -> SimData:
        last = max(self._addresses(table), default=-1)
        return SimData(0, values=[False] * (16 * (last // 16 + 1) or 16), datatype=DataType.BITS)

    def _words(self, table: str) -> SimData:
        addresses = self._addresses(table) or {0}
        count = max(addresses) - min(addresses) + 1
        return SimData(min(addresses), count=count, values=0, datatype=DataType.REGISTERS)

    def _addresses(self, table: str) -> set[int]:
        """Return the addresses of a table, counted from 0."""
        base = self._map.base
        read = {
            r.address - base + nth for r in self._map.registers.values() if r.table == table for nth in range(width(r))
        }
        return read | {w.address - base + nth for w in self._writable() if w.table == table for nth in range(size(w))}

    def _writable(self) -> list[ModbusWrite]:
        commands = [write for writes in self._map.commands.values() for write in writes]
        return [*commands, *self._map.configuration.values()]

    async def _access(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Answer a request (pymodbus' SimAction): fill in what is read, act on what is written."""
        image = self._behind.image()
        while image is None:
            # A device that is silent does not even refuse; the caller runs into its time-out.
            await asyncio.sleep(LOOK_AGAIN_S)
            image = self._behind.image()
        table = _TABLES.get(function, "holding")
        if values is not None:
            return self._write(table, address, [int(value) for value in values], image)
        if table in _BIT_TABLES:
            return _show_bits(image, table, address, count, registers, start)
        if not any(place == table for place, _ in image):
            return ExcCodes.ILLEGAL_ADDRESS
        for place in range(address, address + count):
            registers[place - start] = image.get((table, place), 0)
        return None

    def _write(self, table: str, address: int, values: list[int], image: Image) -> ExcCodes | None:
        places = {(table, address + nth): value for nth, value in enumerate(values)}
        known = {
            (write.table, write.address - self._map.base + nth)
            for write in self._writable()
            for nth in range(size(write))
        }
        if not places.keys() <= known:
            return ExcCodes.ILLEGAL_ADDRESS
        self._written |= places
        try:
            self._act(places, image)
        except (Failed, Refused, ValueError):
            return ExcCodes.ILLEGAL_VALUE
        except NotReady:
            return ExcCodes.DEVICE_BUSY
        return None

    def _act(self, places: dict[tuple[str, int], int], image: Image) -> None:
        changes = {
            name: meaning(write, self._words_of(write, image))
            for name, write in self._map.configuration.items()
            if self._touches(write, places)
        }
        if changes:
            self._behind.configure(changes)
        for name, writes in self._map.commands.items():
            # The last register of a command is its trigger.
            if self._touches(writes[-1], places) and all(self._as_fixed(write, image) for write in writes):
                args = {write.arg: meaning(write, self._words_of(write, image)) for write in writes if write.arg}
                self._behind.command(name, args)

    def _touches(self, write: ModbusWrite, places: dict[tuple[str, int], int]) -> bool:
        first = write.address - self._map.base
        return any((write.table, first + nth) in places for nth in range(size(write)))

    def _words_of(self, write: ModbusWrite, image: Image) -> list[int]:
        """Return what was written last, else what the device shows."""
        first = write.address - self._map.base
        places = [(write.table, first + nth) for nth in range(size(write))]
        return [self._written.get(place, image.get(place, 0)) for place in places]

    def _as_fixed(self, write: ModbusWrite, image: Image) -> bool:
        return write.value is None or self._words_of(write, image) == written(write, write.value)


def _show_bits(image: Image, table: str, address: int, count: int, registers: list[int], start: int) -> ExcCodes | None:
    """Fill `count` words of sixteen bits, lowest address in the lowest bit."""
    if (table, address) not in image:
        return ExcCodes.ILLEGAL_ADDRESS
    for word in range(address // 16, address // 16 + count):
        registers[word - start] = sum(image.get((table, 16 * word + bit), 0) << bit for bit in range(16))
    return None
