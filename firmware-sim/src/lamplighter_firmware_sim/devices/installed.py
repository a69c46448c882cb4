"""A device that stands somewhere: the one place where its state changes. Faces look at it, the world moves it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lamplighter_firmware_sim.devices.device import Device, Event, NotReady, Observation, Refused, Value
from lamplighter_firmware_sim.world import FaultKind, Weather

KEPT_EVENTS: Final = 1_000


@dataclass(frozen=True)
class Happened:
    """An event with its number and the time outside. Numbers rise, also from one run of the simulator to the next."""

    number: int
    t: int
    name: str
    data: Mapping[str, Any]


class Installed:
    """One device. At most KEPT_EVENTS events wait until a reader has acknowledged them; `dropped` counts the rest."""

    def __init__(
        self, name: str, state: Device, wall_ms: Callable[[], int], faults: Callable[[], frozenset[FaultKind]]
    ) -> None:
        self.name = name
        self.state = state
        self.wall_ms = wall_ms
        self.faults = faults
        self.dropped = 0
        self._events: deque[Happened] = deque(maxlen=KEPT_EVENTS)
        self._number = wall_ms() * 1000

    def advance(self, dt_ms: int, weather: Weather, speed: float = 1.0) -> None:
        """Let time pass. With `speed`, a span inside is shorter outside, and events are dated accordingly."""
        self.state = self.state.step(dt_ms, weather)
        self._note(self.wall_ms() - round(dt_ms / speed), speed)

    def observe(self) -> Observation:
        """Return what the device shows; a broken sensor shows nothing good. Raises NotReady."""
        faults = self.faults()
        if FaultKind.SILENT in faults:
            raise NotReady("the device does not answer")
        seen = self.state.observe()
        if FaultKind.SENSOR in faults:
            numbers = [name for name, value in seen.metrics.items() if isinstance(value, int | float)]
            return Observation(seen.metrics, {**seen.quality, **dict.fromkeys(numbers, "sensor_fault")})
        return seen

    def command(self, name: str, args: Mapping[str, Any], lease_s: float | None = None) -> dict[str, Any]:
        """Act, and return the device's answer. Raises Refused, Failed or NotReady."""
        self._must_answer()
        try:
            self.state, data = self.state.command(name, args, lease_s)
        except Refused as error:
            if error.event:
                self._keep(self.wall_ms(), error.event)
            raise
        self._note(self.wall_ms(), 1.0)
        return data

    def configure(self, changes: Mapping[str, Value]) -> dict[str, Value]:
        """Change the configuration and return what is in force. Raises Refused or NotReady."""
        self._must_answer()
        self.state = self.state.configure(changes)
        return self.state.configuration()

    def events_after(self, seen: int) -> list[Happened]:
        """Forget what was seen and return the rest, oldest first."""
        while self._events and self._events[0].number <= seen:
            self._events.popleft()
        return list(self._events)

    def _must_answer(self) -> None:
        if FaultKind.SILENT in self.faults():
            raise NotReady("the device does not answer")

    def _note(self, since_ms: int, speed: float) -> None:
        for event in self.state.events:
            self._keep(since_ms + round(event.after_ms / speed), event)

    def _keep(self, t: int, event: Event) -> None:
        self._number += 1
        self.dropped += len(self._events) == KEPT_EVENTS
        self._events.append(Happened(self._number, t, event.name, event.data))
