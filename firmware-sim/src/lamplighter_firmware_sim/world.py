"""The world that devices stand in: its clock, its weather, and the faults that are invented for them.

Time inside may run faster than outside. Devices live by the time inside; what they report carries the time outside,
because a hub rightly refuses readings from the future.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lamplighter_firmware_sim.chance import wander
from lamplighter_firmware_sim.errors import UsageError

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Weather:
    """What surrounds a device. `day_ms` is the time of day inside; `traffic` and `rain` drive most of what moves."""

    day_ms: int = 12 * 3_600_000
    temperature_c: float = 18.0
    humidity: float = 60.0
    wind_ms: float = 2.0
    wind_deg: float = 270.0
    pressure_hpa: float = 1013.0
    rain_mm_h: float = 0.0
    traffic: float = 0.5


def weather_at(seed: int, t_ms: int) -> Weather:
    """Return the weather at a time inside (ms since the epoch); rain comes in showers of some minutes."""
    day_ms = t_ms % DAY_MS
    phase = math.tau * (day_ms / DAY_MS - 0.375)
    shower = wander(seed, t_ms, 180_000, "shower") + 0.4 * wander(seed, t_ms, 1_800_000, "front")
    rain = max(shower - 0.35, 0.0) * 60
    return Weather(
        day_ms=day_ms,
        temperature_c=17 + 6 * math.sin(phase) + 1.2 * wander(seed, t_ms, 240_000, "air") - min(rain, 20) * 0.1,
        humidity=min(max(62 - 14 * math.sin(phase) + 8 * wander(seed, t_ms, 300_000, "moisture") + rain, 15), 100),
        wind_ms=max(2.4 + 2.0 * wander(seed, t_ms, 15_000, "gust") + wander(seed, t_ms, 3_000, "puff"), 0.0),
        wind_deg=(250 + 60 * wander(seed, t_ms, 120_000, "veer") + 15 * wander(seed, t_ms, 4_000, "vane")) % 360,
        pressure_hpa=1008 + 9 * wander(seed, t_ms, 3_600_000, "pressure"),
        rain_mm_h=rain,
        traffic=_traffic(day_ms, wander(seed, t_ms, 60_000, "platoon")),
    )


def _traffic(day_ms: int, wave: float) -> float:
    """Return how busy the street is, 0 to 1: two peaks on a working day, never quite asleep."""
    hour = day_ms / 3_600_000
    peaks = math.exp(-(((hour - 8) / 1.6) ** 2)) + math.exp(-(((hour - 18) / 2.0) ** 2))
    day = 0.35 if 6 <= hour <= 23 else 0.12
    return min(max(day + 0.4 * peaks + 0.2 * wave, 0.05), 1.0)


class FaultKind(StrEnum):
    """What can be wrong with a device: its sensor, or its line."""

    SENSOR = "sensor"
    SILENT = "silent"


@dataclass(frozen=True)
class Fault:
    """A fault of one device, from `after_s` for `for_s` seconds after the world began (time outside)."""

    device: str
    kind: FaultKind
    after_s: float
    for_s: float

    def active(self, elapsed_s: float) -> bool:
        """Say whether it is there now."""
        return self.after_s <= elapsed_s < self.after_s + self.for_s


def parse_fault(text: str) -> Fault:
    """Read `DEVICE:KIND:AFTER:FOR`. Raises UsageError.

    >>> parse_fault("air-1:silent:30:10")
    Fault(device='air-1', kind=<FaultKind.SILENT: 'silent'>, after_s=30.0, for_s=10.0)
    """
    try:
        device, kind, after, span = text.split(":")
        return Fault(device, FaultKind(kind), float(after), float(span))
    except ValueError:
        kinds = "|".join(FaultKind)
        raise UsageError(f"--fault {text!r}: write DEVICE:{kinds}:AFTER_S:FOR_S, such as air-1:silent:30:10") from None


class World:
    """The clock, the weather and the faults of one street. `monotonic` counts seconds, `wall_ms` is the time of day."""

    def __init__(
        self,
        seed: int,
        speed: float,
        faults: Sequence[Fault],
        monotonic: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self.seed = seed
        self.speed = speed
        self._faults = faults
        self._monotonic = monotonic
        self.wall_ms = wall_ms
        self._began = monotonic()
        self._began_wall_ms = wall_ms()

    def elapsed_s(self) -> float:
        """Return the seconds outside since the world began."""
        return self._monotonic() - self._began

    def inside_ms(self) -> int:
        """Return the time inside, in ms since the epoch."""
        return self._began_wall_ms + round(self.elapsed_s() * self.speed * 1000)

    def weather(self) -> Weather:
        """Return the weather now."""
        return weather_at(self.seed, self.inside_ms())

    def faults(self, device: str) -> frozenset[FaultKind]:
        """Return what is wrong with a device now."""
        elapsed = self.elapsed_s()
        return frozenset(fault.kind for fault in self._faults if fault.device == device and fault.active(elapsed))
