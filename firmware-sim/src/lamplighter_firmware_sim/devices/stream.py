"""A stream gauge with a logger: it writes its own text file, in the format of its firmware.

The format is that of a real one (Northern Widget logger at Trout Creek): a line with firmware and serial number, a
header, then a line a sample that ends with a comma and CR LF.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from lamplighter_firmware_sim.chance import wander
from lamplighter_firmware_sim.devices.device import (
    Event,
    Observation,
    Value,
    known_changes,
    unknown_command,
)
from lamplighter_firmware_sim.world import Weather

PREAMBLE: Final = (
    b"Lib = 0.3.0 SN = 5A11-0001-0042-0000\r\n",
    b"Time [UTC], PresOB [mBar], RH_OB [%], TempOB [C], Temp RTC [C], Bat [V], Range [cm],Pitch [deg],Roll [deg],\r\n",
)
COLUMNS: Final = ("pressure", "rh", "temp_board", "temp_rtc", "battery", "range", "pitch", "roll")


@dataclass(frozen=True)
class StreamLogger:
    """The state: the range to the water, which falls when it rains upstream."""

    seed: int
    age_ms: int = 0
    weather: Weather = field(default_factory=Weather)
    stage_cm: float = 40.0
    events: tuple[Event, ...] = ()

    def step(self, dt_ms: int, weather: Weather) -> Self:
        """See Device.step. A creek rises within minutes of rain and falls back over half an hour."""
        seconds = dt_ms / 1000
        stage = self.stage_cm + weather.rain_mm_h / 3600 * seconds * 12 - (self.stage_cm - 40) * seconds / 1800
        return replace(self, age_ms=self.age_ms + dt_ms, weather=weather, stage_cm=stage)

    def observe(self) -> Observation:
        """See Device.observe."""
        board = self.weather.temperature_c + 6 + 0.6 * wander(self.seed, self.age_ms, 20_000, "board")
        metrics: dict[str, Value] = {
            "pressure": round(self.weather.pressure_hpa + 0.05 * wander(self.seed, self.age_ms, 9_000, "hum"), 2),
            "rh": round(self.weather.humidity * 0.7 + 0.3 * wander(self.seed, self.age_ms, 9_000, "damp"), 2),
            "temp_board": round(board, 2),
            "temp_rtc": round(board * 4) / 4,
            "battery": round(4.6 + 0.1 * wander(self.seed, self.age_ms, 600_000, "charge"), 2),
            "range": float(round(410 - self.stage_cm + 2 * wander(self.seed, self.age_ms, 8_000, "ripple"))),
            "pitch": round(91.4 + 0.1 * wander(self.seed, self.age_ms, 5_000, "pitch"), 2),
            "roll": round(45.6 + 0.1 * wander(self.seed, self.age_ms, 5_000, "roll"), 2),
        }
        return Observation(metrics)

    def line(self, now_ms: int) -> bytes:
        """Return the line of a sample at a time (ms since the epoch; the file knows whole seconds)."""
        return text_line(now_ms, self.observe().metrics)

    def command(self, name: str, args: Mapping[str, Any], lease_s: float | None) -> tuple[Self, dict[str, Any]]:  # noqa: ARG002
        """See Device.command: a file cannot be told anything."""
        raise unknown_command(name)

    def configuration(self) -> dict[str, Value]:
        """See Device.configuration."""
        return {}

    def configure(self, changes: Mapping[str, Value]) -> Self:
        """See Device.configure."""
        known_changes({}, changes)
        return self


def text_line(now_ms: int, metrics: Mapping[str, Value]) -> bytes:
    r"""Return a line of the logger's file.

    >>> text_line(1629320154000, dict.fromkeys(COLUMNS, 1.5))
    b'2021/08/18 20:55:54,1.50,1.50,1.50,1.50,1.50,1.50,1.50,1.50,\r\n'
    """
    when = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y/%m/%d %H:%M:%S")
    return (when + "," + "".join(f"{float(metrics[name]):.2f}," for name in COLUMNS) + "\r\n").encode()
