"""The street running: every device behind its face, the world moving them, until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from lamplighter_firmware_sim.devices.installed import Installed
from lamplighter_firmware_sim.devices.stream import PREAMBLE, StreamLogger
from lamplighter_firmware_sim.errors import UsageError
from lamplighter_firmware_sim.faces.log import LogFace
from lamplighter_firmware_sim.faces.simulated import SimulatedFace
from lamplighter_firmware_sim.faces.standing import StandingRegisters
from lamplighter_firmware_sim.street import papers
from lamplighter_firmware_sim.street.layout import STREET, Face, Place
from lamplighter_firmware_sim.world import World
from lamplighter_protocols.profile import Profile, load_profiles

TICK_S: Final = 0.2
LONGEST_LOG: Final = 1024 * 1024
"""A logger's card is changed when its file has so many bytes."""


class PortFace(Protocol):
    """A face that listens."""

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port."""

    async def stop(self) -> None:
        """Close everything."""


@dataclass
class Logger:
    """A device that writes a file by itself, every `line_s` seconds."""

    device: Installed
    face: LogFace
    line_s: float
    due_s: float = 0.0

    def write_due(self, world: World) -> None:
        """Write a line when it is time."""
        elapsed = world.elapsed_s()
        state = self.device.state
        if elapsed < self.due_s or not isinstance(state, StreamLogger):
            return
        self.due_s = elapsed + self.line_s
        if self.face.size > LONGEST_LOG:
            self.face.rotate()
        self.face.write(state.line(world.wall_ms()))


class Street:
    """Built cold; `start` makes it listen, `live` runs until `stopped` is set."""

    def __init__(self, folder: Path, host: str, world: World, places: Sequence[Place] = STREET) -> None:
        self._folder = folder
        self._host = host
        self._world = world
        self._places = places
        self._installed: list[Installed] = []
        self._loggers: list[Logger] = []
        self._faces: list[PortFace] = []
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        """Listen everywhere, at the ports of the last time where they are free; write the agents' papers."""
        papers.prepare(self._folder)
        before, profiles = papers.read_ports(self._folder), load_profiles()
        for index, place in enumerate(self._places):
            device = self._install(place, index)
            if place.face is Face.LOG:
                self._begin_log(place, device)
                continue
            face = _face(place, device, profiles)
            self.ports[place.device] = await _listen(face, self._host, before.get(place.device, 0))
            self._faces.append(face)
        papers.write_ports(self._folder, self.ports)
        papers.write_agents(self._folder, self._places, self._host, self.ports)
        described = papers.describe(self._folder, self._places, self._host, self.ports)
        papers.replace_file(self._folder / "street.json", json.dumps(described, indent=1))

    def _install(self, place: Place, index: int) -> Installed:
        device = Installed(
            place.device,
            place.start(self._world.seed * 1_000 + index),
            self._world.wall_ms,
            lambda: self._world.faults(place.device),
        )
        device.advance(1, self._world.weather(), self._world.speed)
        self._installed.append(device)
        return device

    def _begin_log(self, place: Place, device: Installed) -> None:
        face = LogFace(papers.log_file(self._folder, place), PREAMBLE)
        face.open()
        self._loggers.append(Logger(device, face, place.line_s))

    def listing(self) -> list[str]:
        """Return what listens where, a line a device."""
        return [
            f"  {place.device:10} {place.profile:20} {papers.address(self._folder, place, self._host, self.ports)}"
            f"  for agent {place.agent}"
            for place in self._places
        ]

    async def live(self, stopped: asyncio.Event, orphaned: Callable[[], bool]) -> None:
        """Move the world until `stopped` is set, or until the process that started this one is gone."""
        before = self._world.inside_ms()
        while not stopped.is_set() and not orphaned():
            now, weather = self._world.inside_ms(), self._world.weather()
            for device in self._installed:
                device.advance(now - before, weather, self._world.speed)
            before = now
            for logger in self._loggers:
                logger.write_due(self._world)
            try:
                await asyncio.wait_for(stopped.wait(), TICK_S)
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """Close every face."""
        for face in self._faces:
            await face.stop()
        for logger in self._loggers:
            logger.face.close()


def make_world(seed: int, speed: float, faults: Sequence[str]) -> World:
    """Return a world on the real clocks. Raises UsageError for a speed or fault that makes no sense."""
    from lamplighter_firmware_sim.world import parse_fault

    if not 0 < speed <= 1_000:
        raise UsageError(f"--speed {speed:g}: must be above 0 and at most 1000")
    parsed = [parse_fault(text) for text in faults]
    known = {place.device for place in STREET}
    for fault in parsed:
        if fault.device not in known:
            raise UsageError(f"--fault: no device {fault.device!r} on the street; there are {', '.join(sorted(known))}")
    return World(seed, speed, parsed, time.monotonic, lambda: time.time_ns() // 1_000_000)


def _face(place: Place, device: Installed, profiles: dict[str, Profile]) -> PortFace:
    if place.face is Face.SIMULATED:
        return SimulatedFace({place.device: device})
    try:
        from lamplighter_firmware_sim.faces.modbus_tcp import ModbusTcpFace
    except ImportError:
        raise UsageError("Modbus needs pymodbus: install lamplighter-firmware-sim[modbus]") from None
    registers = profiles[place.profile].modbus
    if registers is None:
        raise UsageError(f"profile {place.profile} has no [modbus] part")
    return ModbusTcpFace(registers, StandingRegisters(device, registers))


async def _listen(face: PortFace, host: str, wanted: int) -> int:
    """Listen at the wanted port, or at any when that is taken by now. Raises UsageError."""
    if wanted:
        try:
            return await face.start(host, wanted)
        except OSError:
            pass
    try:
        return await face.start(host, 0)
    except OSError as error:
        raise UsageError(f"--host {host}: cannot listen there ({error.strerror or error})") from None
