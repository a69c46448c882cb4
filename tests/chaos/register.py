"""A device behind Modbus TCP whose register counts how often it was read, served by the simulator's own face."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from chaos.compare import Given, Item
from lamplighter_firmware_sim.faces.modbus_tcp import ModbusTcpFace
from lamplighter_firmware_sim.faces.registers import Image
from lamplighter_protocols.profile import parse_profile

SENTINEL: Final = 0xFFFFFFFF
PROFILE: Final = """
id = "chaos-register"
device_class = "test"
interval_s = 0.5
title = { en = "Counting register", zh = "计数寄存器" }
[metrics.count]
title = { en = "Count", zh = "计数" }
[modbus]
base = 0
[modbus.registers]
count = { address = 0, table = "input", type = "uint32", sentinels = { 0xffffffff = "sensor_fault" } }
"""


class CountingRegister:
    """Every read gives the next number; the time of a reading is its reader's, so none is known here."""

    def __init__(self, name: str, poisoned: Callable[[], bool]) -> None:
        self.name = name
        self.port = 0
        self._poisoned = poisoned
        self._given: dict[Item, float] = {}
        self._quiet = False
        self._reads = 0
        self._loop = asyncio.new_event_loop()
        registers = parse_profile(PROFILE).modbus
        assert registers is not None
        self._face = ModbusTcpFace(registers, self)
        threading.Thread(target=self._loop.run_forever, daemon=True, name=name).start()

    def start(self) -> CountingRegister:
        """Listen on `port`."""
        self.port = self._run(self._face.start("127.0.0.1", 0))
        return self

    def close(self) -> None:
        self._run(self._face.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def image(self) -> Image | None:
        """Give the next number; while poisoned every second one is a sentinel, which is no reading."""
        if self._quiet:
            return None
        self._reads += 1
        n = SENTINEL
        if not self._poisoned() or self._reads % 2:
            n = len(self._given)
            self._given[Item(0, n)] = time.monotonic()
        return {("input", 0): n >> 16, ("input", 1): n & 0xFFFF}

    def command(self, name: str, args: dict[str, Any]) -> None: ...
    def configure(self, changes: dict[str, Any]) -> None: ...

    def quiet(self) -> None:
        """Answer no more."""
        self._quiet = True

    def given(self) -> Given:
        """Return what was given; a poll is no promise, so each is stored once or not at all."""
        return Given(f"registers {self.name}", self.name, dict(self._given), owed=False)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)
