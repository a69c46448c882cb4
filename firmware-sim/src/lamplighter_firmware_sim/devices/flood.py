# ruff: noqa: SLF001 - a state's methods call those of the state that they return
"""A flood gauge in an underpass: water that rises with rain and drains away, seen from above by ultrasound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from lamplighter_firmware_sim.chance import wander
from lamplighter_firmware_sim.devices.device import (
    Event,
    Observation,
    Refused,
    Value,
    known_changes,
    unknown_command,
)
from lamplighter_firmware_sim.world import Weather

RISE_M_PER_MM: Final = 0.35
"""How far the water in the underpass rises for a millimetre of rain on its catchment."""
DRAINS_PER_S: Final = 1 / 240
HYSTERESIS_M: Final = 0.02
NEAREST_MM: Final = 250
FARTHEST_MM: Final = 10_000
ORDER: Final = ("normal", "warning", "danger")


@dataclass(frozen=True)
class FloodGauge:
    """The state. `water_m` is the truth; `reference` in the settings is what the gauge believes of its own height."""

    seed: int
    height_m: float = 4.2
    age_ms: int = 0
    weather: Weather = field(default_factory=Weather)
    water_m: float = 0.06
    rain_mm: float = 0.0
    alarm: str = "normal"
    beacon_until_ms: int = 0
    settings: Mapping[str, Value] = field(
        default_factory=lambda: {"warning_level": 0.15, "danger_level": 0.27, "reference": 4.2}
    )
    events: tuple[Event, ...] = ()

    def step(self, dt_ms: int, weather: Weather) -> Self:
        """See Device.step."""
        seconds = dt_ms / 1000
        fallen = weather.rain_mm_h / 3600 * seconds
        water = max(self.water_m + fallen * RISE_M_PER_MM - self.water_m * min(DRAINS_PER_S * seconds, 1.0), 0.0)
        moved = replace(self, age_ms=self.age_ms + dt_ms, weather=weather, water_m=water, rain_mm=self.rain_mm + fallen)
        return replace(moved, alarm=moved._alarm())

    def observe(self) -> Observation:
        """See Device.observe. A sensor under water gets no echo."""
        distance = self._distance_mm()
        submerged = distance < NEAREST_MM
        metrics: dict[str, Value] = {
            "level": round(self._level(), 3),
            "distance": distance,
            "rain": round(self.rain_mm, 1),
            "tilt": round(1.2 + 0.2 * wander(self.seed, self.age_ms, 10_000, "sway"), 1),
            "battery": round(12.3 + 0.3 * wander(self.seed, self.age_ms, 900_000, "charge"), 2),
            "submerged": submerged,
            "alarm": self.alarm,
        }
        return Observation(metrics, {"level": "sensor_fault", "distance": "no_data"} if submerged else {})

    def _distance_mm(self) -> int:
        ripple = 0.004 * wander(self.seed, self.age_ms, 2_000, "ripple")
        return min(round((self.height_m - max(self.water_m + ripple, 0.0)) * 1000), FARTHEST_MM)

    def _level(self) -> float:
        return float(self.settings["reference"]) - self._distance_mm() / 1000

    def _alarm(self) -> str:
        """Return the alarm level; it falls only when the water is HYSTERESIS_M below the mark."""
        level = self._level()
        marks = [float("-inf"), float(self.settings["warning_level"]), float(self.settings["danger_level"])]
        now = ORDER.index(self.alarm)
        up = max(place for place in range(3) if level >= marks[place])
        while now > up and level < marks[now] - HYSTERESIS_M:
            now -= 1
        return ORDER[max(now, up)]

    def command(self, name: str, args: Mapping[str, Any], lease_s: float | None) -> tuple[Self, dict[str, Any]]:  # noqa: ARG002
        """See Device.command: `reset_rain`, `test_beacon` {seconds}."""
        if name == "reset_rain":
            return replace(self, rain_mm=0.0), {}
        if name == "test_beacon":
            seconds = int(args.get("seconds", 10))
            if not 1 <= seconds <= 60:
                raise Refused("seconds must be 1 to 60")
            return replace(self, beacon_until_ms=self.age_ms + seconds * 1000), {"seconds": seconds}
        raise unknown_command(name)

    def configuration(self) -> dict[str, Value]:
        """See Device.configuration."""
        return dict(self.settings)

    def configure(self, changes: Mapping[str, Value]) -> Self:
        """See Device.configure."""
        return replace(self, settings=known_changes(self.settings, changes))
