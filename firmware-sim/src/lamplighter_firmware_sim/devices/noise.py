"""A sound level meter beside a street: a hum that follows traffic, and single vehicles above it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from lamplighter_firmware_sim.chance import draw, wander
from lamplighter_firmware_sim.devices.device import (
    Event,
    Observation,
    Value,
    known_changes,
    unknown_command,
)
from lamplighter_firmware_sim.world import Weather

SELF_TEST_MS: Final = 10_000
PASSAGE_MS: Final = 6_000
BACKGROUND_AFTER_MS: Final = 10_000
MICROPHONE: Final = ("laeq_1s", "laf", "lafmax", "la90")


@dataclass(frozen=True)
class SoundLevelMeter:
    """The state. `background` follows the quiet moments slowly, `loudest` is the maximum since the last reset."""

    seed: int
    age_ms: int = 0
    weather: Weather = field(default_factory=Weather)
    level: float = 50.0
    loudest: float = 0.0
    background: float = 45.0
    reset_at_ms: int = 0
    test_until_ms: int = 0
    settings: Mapping[str, Value] = field(default_factory=lambda: {"day_limit": 60.0, "night_limit": 50.0})
    events: tuple[Event, ...] = ()

    def step(self, dt_ms: int, weather: Weather) -> Self:
        """See Device.step."""
        age = self.age_ms + dt_ms
        level = _level(self.seed, age, weather)
        rate = min(dt_ms / 20_000, 1.0) * (1.0 if level < self.background else 0.05)
        return replace(
            self,
            age_ms=age,
            weather=weather,
            level=level,
            loudest=max(self.loudest, level + 2.5 + 2 * draw(self.seed, age, "peak")),
            background=self.background + (level - self.background) * rate,
        )

    def observe(self) -> Observation:
        """See Device.observe. During a self-test the microphone hears only itself."""
        testing = self.age_ms < self.test_until_ms
        metrics: dict[str, Value] = {
            "laeq_1s": round(self.level, 1),
            "laf": round(self.level + 1.5 * wander(self.seed, self.age_ms, 400, "fast"), 1),
            "lafmax": round(self.loudest, 1),
            "la90": round(self.background, 1),
            "temp": round(self.weather.temperature_c + 4.5, 1),
            "battery": round(12.45 + 0.12 * wander(self.seed, self.age_ms, 600_000, "charge"), 3),
            "overload": self.level > 120,
            "state": "self_test" if testing else "measuring",
        }
        if testing:
            return Observation(metrics, dict.fromkeys(MICROPHONE, "sensor_fault"))
        young = self.age_ms - self.reset_at_ms < BACKGROUND_AFTER_MS
        return Observation(metrics, {"la90": "no_data"} if young else {})

    def command(self, name: str, args: Mapping[str, Any], lease_s: float | None) -> tuple[Self, dict[str, Any]]:  # noqa: ARG002
        """See Device.command: `reset_statistics`, `self_test`."""
        if name == "reset_statistics":
            fresh = replace(self, loudest=self.level, background=self.level, reset_at_ms=self.age_ms)
            return fresh, {}
        if name == "self_test":
            return replace(self, test_until_ms=self.age_ms + SELF_TEST_MS), {"for_s": SELF_TEST_MS / 1000}
        raise unknown_command(name)

    def configuration(self) -> dict[str, Value]:
        """See Device.configuration."""
        return dict(self.settings)

    def configure(self, changes: Mapping[str, Value]) -> Self:
        """See Device.configure."""
        return replace(self, settings=known_changes(self.settings, changes))


def _level(seed: int, age_ms: int, weather: Weather) -> float:
    """Return the level in dB(A): hum, the vehicle that passes now, rain on the windscreen of the microphone."""
    hum = 44 + 12 * weather.traffic + 2 * wander(seed, age_ms, 1_500, "hum")
    slot, within = divmod(age_ms, PASSAGE_MS)
    strength = draw(seed, slot, "vehicle")
    passes = strength < 0.15 + 0.7 * weather.traffic
    near = 1 - abs(2 * within / PASSAGE_MS - 1)
    return hum + (6 + 18 * draw(seed, slot, "loudness")) * near * passes + min(weather.rain_mm_h, 30) * 0.15
