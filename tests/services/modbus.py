"""A real Modbus server (pymodbus), as a process of its own: over TCP, or RTU behind a pair of pseudo terminals."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from services.need import need
from services.ports import free_port, listens
from services.process import Children
from services.wait import eventually


@dataclass
class ModbusDevice:
    """Unit 1: holding 0 = 123, holding 1..2 = 65538, input 40 = 7, coil 2 set, the rest 0 up to 99."""

    settings: dict[str, Any]
    written: Path
    children: Children

    @property
    def port(self) -> int:
        """Its TCP port."""
        return int(self.settings["port"])

    def holding(self, address: int) -> int:
        """Return what was last written there."""
        pairs = [line.split() for line in self.written.read_text().splitlines()]
        return {int(at): int(value) for at, value in pairs}.get(address, 0)

    def start(self, *argv: str) -> None:
        """Start the server process."""
        folder = str(Path(__file__).parents[1])
        self.children.start([sys.executable, __file__, str(self.written), *argv], env={"PYTHONPATH": folder})

    def kill(self) -> None:
        """Kill -9."""
        self.children.started[-1].kill()


@contextmanager
def modbus_tcp(port: int = 0) -> Iterator[ModbusDevice]:
    """Serve on a free loopback port."""
    port = port or free_port()
    with TemporaryDirectory() as name:
        device = _device(Path(name), {"host": "127.0.0.1", "port": port})
        try:
            device.start("tcp", str(port))
            eventually(lambda: listens(port))
            yield device
        finally:
            device.children.end()


@contextmanager
def modbus_rtu() -> Iterator[ModbusDevice]:
    """Serve at one end of a line of pseudo terminals; `settings` name the other end."""
    with TemporaryDirectory() as name:
        ends = [Path(name) / "line-a", Path(name) / "line-b"]
        device = _device(Path(name), {"serial": str(ends[1]), "baudrate": 19_200})
        try:
            device.children.start([need("socat"), *(f"pty,rawer,link={end}" for end in ends)])
            eventually(lambda: all(end.exists() for end in ends))
            device.start("rtu", str(ends[0]))
            eventually(lambda: "ready" in device.children.started[-1].said())
            yield device
        finally:
            device.children.end()


def _device(folder: Path, settings: dict[str, Any]) -> ModbusDevice:
    written = folder / "written"
    written.touch()
    return ModbusDevice(settings, written, Children(folder))


async def _serve(written: Path, kind: str, where: str) -> None:
    from pymodbus.server import ModbusSerialServer, ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    async def remember(
        code: int, _s: int, at: int, _c: int, _r: list[int], values: list[int] | list[bool] | None
    ) -> None:
        if values is not None and code in (6, 16):
            with written.open("a") as file:
                file.writelines(f"{at + nth} {int(value)}\n" for nth, value in enumerate(values))

    words, inputs = [0] * 100, [0] * 100
    words[0:3], inputs[40] = [123, 1, 2], 7
    coils = [nth == 2 for nth in range(112)]
    bits = [SimData(0, values=coils, datatype=DataType.BITS)]
    holding = [SimData(0, values=words, datatype=DataType.REGISTERS)]
    others = [SimData(0, values=inputs, datatype=DataType.REGISTERS)]
    device = SimDevice(1, simdata=(bits, bits, holding, others), action=remember)
    server: Any
    if kind == "tcp":
        server = ModbusTcpServer(device, address=("127.0.0.1", int(where)))
    else:
        server = ModbusSerialServer(device, port=where, baudrate=19_200)
    if await server.listen():
        sys.stdout.write("ready\n")
        sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
