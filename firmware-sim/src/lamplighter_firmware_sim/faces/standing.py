"""An installed device as registers: joins what a Modbus face needs to what stands on the street."""

from __future__ import annotations

from lamplighter_firmware_sim.devices.device import NotReady, Value
from lamplighter_firmware_sim.devices.installed import Installed
from lamplighter_firmware_sim.faces.registers import Image, image
from lamplighter_protocols.profile import ModbusMap


class StandingRegisters:
    """The registers of an installed device (see modbus_tcp.Registers)."""

    def __init__(self, device: Installed, registers: ModbusMap) -> None:
        self._device = device
        self._map = registers

    def image(self) -> Image | None:
        """Return the registers now; None while the device does not answer."""
        try:
            return image(self._map, self._device.observe(), self._device.state.configuration())
        except NotReady:
            return None

    def command(self, name: str, args: dict[str, Value]) -> None:
        """Act. Raises Refused or NotReady."""
        self._device.command(name, args)

    def configure(self, changes: dict[str, Value]) -> None:
        """Change the configuration. Raises Refused or NotReady."""
        self._device.configure(changes)
