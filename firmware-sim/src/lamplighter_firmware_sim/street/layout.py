"""What stands on the street, behind which agent, seen through which face. Data only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lamplighter_firmware_sim.devices.air import AirStation
from lamplighter_firmware_sim.devices.device import Device
from lamplighter_firmware_sim.devices.flood import FloodGauge
from lamplighter_firmware_sim.devices.kiosk import Kiosk
from lamplighter_firmware_sim.devices.noise import SoundLevelMeter
from lamplighter_firmware_sim.devices.signal import SignalController
from lamplighter_firmware_sim.devices.stream import StreamLogger


class Face(StrEnum):
    """How a device is seen; the agent's driver of the same field protocol stands in DRIVERS."""

    MODBUS_TCP = "modbus_tcp"
    LOG = "log"
    SIMULATED = "simulated"


DRIVERS: Final = {Face.MODBUS_TCP: "modbus", Face.LOG: "tail", Face.SIMULATED: "simulated"}


@dataclass(frozen=True)
class Place:
    """One device on the street. `interval_s` is how often its agent reads it; `line_s` how often a logger writes."""

    device: str
    agent: str
    profile: str
    face: Face
    start: Callable[[int], Device]
    interval_s: float
    line_s: float = 0.0


STREET: Final[Sequence[Place]] = (
    Place("air-1", "station-road", "air-station", Face.MODBUS_TCP, AirStation, 2.0),
    Place("noise-1", "station-road", "sound-level-meter", Face.MODBUS_TCP, SoundLevelMeter, 1.0),
    Place("flood-1", "mill-creek", "flood-gauge", Face.MODBUS_TCP, FloodGauge, 2.0),
    Place("creek-1", "mill-creek", "trout-creek-logger", Face.LOG, StreamLogger, 2.0, line_s=4.0),
    Place("kiosk-1", "town-hall", "kiosk", Face.SIMULATED, Kiosk, 2.0),
    Place("signal-1", "junction-12", "signal-controller", Face.SIMULATED, SignalController, 1.0),
)


def agents(street: Sequence[Place]) -> dict[str, list[Place]]:
    """Return the places by agent, in the street's order."""
    found: dict[str, list[Place]] = {}
    for place in street:
        found.setdefault(place.agent, []).append(place)
    return found
