"""What every device can do, whichever face it is seen through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

from lamplighter_firmware_sim.errors import SimulatorError
from lamplighter_firmware_sim.world import Weather

Value = float | bool | str


class Event(NamedTuple):
    """Something that happened `after_ms` into the last step."""

    after_ms: int
    name: str
    data: Mapping[str, Any]


class Refused(SimulatorError):
    """The device does not do what it was asked to, and says why; `event` is what it notes of that."""

    def __init__(self, reason: str, event: Event | None = None) -> None:
        super().__init__(reason)
        self.event = event


class Occupied(Refused):
    """Not now, but perhaps within `wait_s` seconds: somebody is using the device."""

    def __init__(self, reason: str, wait_s: float) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Failed(SimulatorError):
    """The device tried and could not."""


class NotReady(SimulatorError):
    """The device does not answer now and will later."""


@dataclass(frozen=True)
class Observation:
    """What a device shows: values by metric, and why a value is missing or doubtful (as in protocols' Quality)."""

    metrics: Mapping[str, Value]
    quality: Mapping[str, str] = field(default_factory=dict)


class Device(Protocol):
    """A device's state. `step(state, dt_ms, weather)` and the others return a new state and change nothing."""

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened in the last step or command."""

    def step(self, dt_ms: int, weather: Weather) -> Self:
        """Return the state after so many milliseconds of this weather."""

    def observe(self) -> Observation:
        """Return what the device shows now. Raises NotReady."""

    def command(self, name: str, args: Mapping[str, Any], lease_s: float | None) -> tuple[Self, dict[str, Any]]:
        """Return the state after an act, and what the device answers. Raises Refused, Failed or NotReady."""

    def configuration(self) -> dict[str, Value]:
        """Return the configuration in force."""

    def configure(self, changes: Mapping[str, Value]) -> Self:
        """Return the state with changed configuration; fields that are not given stay. Raises Refused."""


def unknown_command(name: str) -> Refused:
    """Return the refusal of a command that the device does not have."""
    return Refused(f"no such command: {name}")


def known_changes(settings: Mapping[str, Value], changes: Mapping[str, Value]) -> dict[str, Value]:
    """Return settings overlaid by changes. Raises Refused for a field that the device does not have."""
    unknown = sorted(changes.keys() - settings.keys())
    if unknown:
        raise Refused(f"no such field: {', '.join(unknown)}; there are {', '.join(sorted(settings))}")
    return {**settings, **changes}
