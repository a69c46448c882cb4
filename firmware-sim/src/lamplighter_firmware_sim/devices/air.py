"""An air-quality station: particles and gases that follow traffic, wind and rain; cells that must warm up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from lamplighter_firmware_sim.chance import happens, wander
from lamplighter_firmware_sim.devices.device import (
    Event,
    Observation,
    Value,
    known_changes,
    unknown_command,
)
from lamplighter_firmware_sim.world import Weather

WARM_UP_MS: Final = 15_000
ZERO_CHECK_MS: Final = 60_000
DOOR_OPEN_MS: Final = 45_000
GASES: Final = ("so2", "no2", "co", "o3")
PARTICLES: Final = ("pm25", "pm10")


@dataclass(frozen=True)
class AirStation:
    """The state; concentrations are derived from age and weather, so there is little to remember."""

    seed: int
    age_ms: int = 0
    weather: Weather = field(default_factory=Weather)
    heater: bool = False
    zero_until_ms: int = 0
    door_until_ms: int = 0
    settings: Mapping[str, Value] = field(default_factory=lambda: {"pm25_slope": 1.0, "pm25_alarm": 150})
    events: tuple[Event, ...] = ()

    def step(self, dt_ms: int, weather: Weather) -> Self:
        """See Device.step. Somebody opens the cabinet about once in twenty minutes."""
        age = self.age_ms + dt_ms
        opens = age > self.door_until_ms and happens(self.seed, age, "door", 1 / 1200, dt_ms)
        return replace(
            self, age_ms=age, weather=weather, door_until_ms=age + DOOR_OPEN_MS if opens else self.door_until_ms
        )

    def observe(self) -> Observation:
        """See Device.observe."""
        weather, dust = self.weather, self._dust()
        sun = max(0.0, 1 - abs(weather.day_ms / 3_600_000 - 13) / 7)
        nitrogen = 12 + 55 * weather.traffic + 6 * self._drift("no2", 9_000)
        metrics: dict[str, Value] = {
            "pm25": round(max(dust * float(self.settings["pm25_slope"]), 3.0)),
            "pm10": round(max(dust * 1.6 + 8 + 5 * self._drift("coarse", 6_000), 5.0)),
            "so2": round(max(5 + 2 * self._drift("so2", 30_000), 0.0), 1),
            "no2": round(max(nitrogen, 1.0), 1),
            "co": round(400 + 700 * weather.traffic + 60 * self._drift("co", 12_000)),
            "o3": round(max(25 + 95 * sun - 0.35 * nitrogen + 5 * self._drift("o3", 20_000), 1.0), 1),
            "temp": round(weather.temperature_c, 1),
            "rh": round(weather.humidity * (0.85 if self.heater else 1.0), 1),
            "wind_speed": round(weather.wind_ms, 2),
            "wind_direction": round(weather.wind_deg) % 360,
            "heater": self.heater,
            "door": "open" if self.age_ms < self.door_until_ms else "closed",
        }
        return Observation(metrics, self._quality())

    def _quality(self) -> dict[str, str]:
        warming = GASES if self.age_ms < WARM_UP_MS else ()
        zero = (*GASES, *PARTICLES) if self.age_ms < self.zero_until_ms else ()
        return {**dict.fromkeys(zero, "warming_up"), **dict.fromkeys(warming, "warming_up")}

    def _dust(self) -> float:
        washed = 1 / (1 + self.weather.rain_mm_h / 15)
        blown = 1 / (1 + self.weather.wind_ms / 6)
        lasting = 34 + 12 * self._drift("haze", 1_200_000) + 38 * self.weather.traffic
        return lasting * washed * blown + 4 * self._drift("dust", 7_000) + 1.5 * self._drift("grain", 2_000)

    def _drift(self, purpose: str, period_ms: int) -> float:
        return wander(self.seed, self.age_ms, period_ms, purpose)

    def command(self, name: str, args: Mapping[str, Any], lease_s: float | None) -> tuple[Self, dict[str, Any]]:  # noqa: ARG002
        """See Device.command: `set_heater` {on}, `zero_check`."""
        if name == "set_heater":
            return replace(self, heater=bool(args["on"])), {"on": bool(args["on"])}
        if name == "zero_check":
            return replace(self, zero_until_ms=self.age_ms + ZERO_CHECK_MS), {"for_s": ZERO_CHECK_MS / 1000}
        raise unknown_command(name)

    def configuration(self) -> dict[str, Value]:
        """See Device.configuration."""
        return dict(self.settings)

    def configure(self, changes: Mapping[str, Value]) -> Self:
        """See Device.configure."""
        return replace(self, settings=known_changes(self.settings, changes))
