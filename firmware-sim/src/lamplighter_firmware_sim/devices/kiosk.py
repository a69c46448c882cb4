# ruff: noqa: SLF001 - a state's methods call those of the state that they return
"""A self-service kiosk: people come and go, paper runs down and is refilled, and nobody is thrown out of a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from lamplighter_firmware_sim.chance import draw, happens, wander
from lamplighter_firmware_sim.devices.device import (
    Event,
    Failed,
    NotReady,
    Observation,
    Occupied,
    Refused,
    Value,
    known_changes,
    unknown_command,
)
from lamplighter_firmware_sim.world import Weather

TRAY_SHEETS: Final = 250
START_SHEETS: Final = 50
APP_RESTART_MS: Final = 10_000
REBOOT_MS: Final = 30_000
ATTENDANT_COMES_MS: Final = 90_000
DOOR_OPEN_MS: Final = 25_000
SHORTEST_SESSION_MS: Final = 18_000
LONGEST_SESSION_MS: Final = 65_000
BETWEEN_SESSIONS_S: Final = 20.0


def _defaults() -> dict[str, Value]:
    return {
        "interval_s": 10.0,
        "idle_timeout_s": 60,
        "paper_low_percent": 15,
        "volume": 60,
        "screen_brightness": 80,
        "language": "zh",
        "opens_at": 0,
        "closes_at": 24,
    }


@dataclass(frozen=True)
class Kiosk:
    """The state. Times are ages in ms; 0 means that nothing is planned."""

    seed: int
    age_ms: int = 0
    weather: Weather = field(default_factory=Weather)
    sheets: int = START_SHEETS
    jammed: bool = False
    locked: bool = False
    message: str = ""
    session_from_ms: int = 0
    session_until_ms: int = 0
    restart_until_ms: int = 0
    away_until_ms: int = 0
    attendant_at_ms: int = 0
    door_until_ms: int = 0
    sessions: int = 1_204
    abandoned: int = 61
    duration_s: float = 0.0
    rating: int = 0
    settings: Mapping[str, Value] = field(default_factory=_defaults)
    events: tuple[Event, ...] = ()

    @property
    def in_session(self) -> bool:
        """Whether somebody is using it."""
        return self.session_until_ms > 0

    @property
    def paper_percent(self) -> int:
        """How full the tray is; nothing at all only when the last sheet is gone."""
        return -(-self.sheets * 100 // TRAY_SHEETS)

    @property
    def paper(self) -> str:
        """The tray in the words of XFS."""
        if self.jammed:
            return "jammed"
        if not self.sheets:
            return "out"
        return "low" if self.paper_percent <= int(self.settings["paper_low_percent"]) else "full"

    # time

    def step(self, dt_ms: int, weather: Weather) -> Self:
        """See Device.step. Steps longer than a second are taken second by second."""
        state, begun, left = replace(self, weather=weather, events=()), 0, dt_ms
        while left > 0:
            part = min(left, 1_000)
            state = state._one(part, begun + part)
            begun, left = begun + part, left - part
        return state

    def _one(self, dt_ms: int, at: int) -> Self:
        state = replace(self, age_ms=self.age_ms + dt_ms)
        state = state._restarts(at)._attended(at)._jams(dt_ms, at)
        if state.in_session:
            return state._session_goes_on(at)
        return state._somebody_comes(dt_ms)

    def _restarts(self, at: int) -> Self:
        state = self
        if 0 < state.restart_until_ms <= state.age_ms:
            state = replace(state, restart_until_ms=0)._with(at, "app_restarted", {"cause": "command"})
        if 0 < state.away_until_ms <= state.age_ms:
            state = replace(state, away_until_ms=0)._with(at, "rebooted", {"cause": "command"})
        return state

    def _attended(self, at: int) -> Self:
        """Somebody of the hall sees to a tray that is empty or jammed: opens the door, fills, closes."""
        state = self
        if (not state.sheets or state.jammed) and not state.attendant_at_ms and not state.door_until_ms:
            return replace(state, attendant_at_ms=state.age_ms + ATTENDANT_COMES_MS)
        if 0 < state.attendant_at_ms <= state.age_ms and not state.in_session:
            opened = replace(state, attendant_at_ms=0, door_until_ms=state.age_ms + DOOR_OPEN_MS)
            return opened._with(at, "door_open", {})
        if 0 < state.door_until_ms <= state.age_ms:
            full = replace(state, door_until_ms=0, sheets=TRAY_SHEETS, jammed=False)
            return full._with(at, "door_closed", {})
        return state

    def _jams(self, dt_ms: int, at: int) -> Self:
        if self.in_session and not self.jammed and happens(self.seed, self.age_ms, "jam", 1 / 5_400, dt_ms):
            return replace(self, jammed=True)._with(at, "paper_jam", {"tray": "upper"})
        return self

    def _somebody_comes(self, dt_ms: int) -> Self:
        rate = (0.3 + 0.7 * self.weather.traffic) / BETWEEN_SESSIONS_S
        if self.ui_state != "in_service" or not happens(self.seed, self.age_ms, "arrival", rate, dt_ms):
            return self
        lasts = SHORTEST_SESSION_MS + (LONGEST_SESSION_MS - SHORTEST_SESSION_MS) * self._chance("lasts")
        return replace(self, session_from_ms=self.age_ms, session_until_ms=self.age_ms + round(lasts))

    def _session_goes_on(self, at: int) -> Self:
        if self.age_ms < self.session_until_ms:
            return self
        seconds = round((self.age_ms - self.session_from_ms) / 1000, 1)
        state = replace(self, session_until_ms=0, sessions=self.sessions + 1, duration_s=seconds)
        if self._chance("abandons") < 0.08:
            state = replace(state, abandoned=state.abandoned + 1)
            return state._with(at, "session_abandoned", {"duration_s": seconds})
        state = state._with(at, "session_ended", {"duration_s": seconds})._print(1 + int(4 * self._chance("pages")), at)
        if self._chance("rates") < 0.5:
            grade = 5 - int(self._chance("grade") ** 3 * 5)
            state = replace(state, rating=grade)._with(at, "rated", {"grade": grade})
        return state

    def _print(self, pages: int, at: int) -> Self:
        if self.paper in ("out", "jammed"):
            return self
        printed = replace(self, sheets=max(self.sheets - pages, 0))
        if printed.paper == "out":
            return printed._with(at, "paper_out", {"tray": "upper"})
        if printed.paper == "low" and self.paper == "full":
            return printed._with(at, "paper_low", {"tray": "upper", "left": printed.paper_percent})
        return printed

    def _with(self, at: int, name: str, data: Mapping[str, Any]) -> Self:
        return replace(self, events=(*self.events, Event(at, name, data)))

    def _chance(self, purpose: str) -> float:
        return draw(self.seed, self.age_ms, purpose)

    # what it shows

    @property
    def ui_state(self) -> str:
        """What the screen shows."""
        if self.restart_until_ms or self.away_until_ms:
            return "restarting"
        if self.in_session:
            return "in_session"
        return "locked" if self.locked or not self._is_open() else "in_service"

    def _is_open(self) -> bool:
        hour = self.weather.day_ms / 3_600_000
        return int(self.settings["opens_at"]) <= hour < int(self.settings["closes_at"])

    def observe(self) -> Observation:
        """See Device.observe. While it reboots it does not answer."""
        if self.away_until_ms:
            raise NotReady("the kiosk is rebooting")
        busy = self.in_session
        metrics: dict[str, Value] = {
            "ui_state": self.ui_state,
            "printer_state": "hw_error"
            if self.jammed
            else "busy"
            if busy and self.age_ms % 9_000 < 2_000
            else "online",
            "printer_paper": self.paper,
            "printer_toner": "full",
            "printer_media": "jammed" if self.jammed else "not_present",
            "retract_bin": "ok",
            "card_reader_state": "busy" if busy else "online",
            "scanner_state": "online",
            "paper_left": self.paper_percent,
            "session_active": busy,
            "session_count": self.sessions,
            "session_abandoned": self.abandoned,
            "door": "open" if self.door_until_ms else "closed",
            "tamper": False,
            "mains": True,
            "backend_reachable": True,
            **({"session_duration": self.duration_s} if self.duration_s else {}),
            **({"rating": self.rating} if self.rating else {}),
        }
        return Observation(metrics | self._machine())

    def _machine(self) -> dict[str, Value]:
        busy = 22.0 if self.in_session else 0.0
        return {
            "ups_charge": 100,
            "temp": round(31 + 0.3 * self.weather.temperature_c + busy / 10 + self._wave("heat", 20_000), 1),
            "cpu": round(9 + busy + 6 * (1 + self._wave("cpu", 3_000)), 1),
            "memory": round(46 + busy / 4 + 1.5 * self._wave("memory", 30_000), 1),
            "disk": round(38 + self._wave("disk", 1_800_000), 1),
            "network_rtt": round(14 + 8 * (1 + self._wave("network", 4_000))),
        }

    def _wave(self, purpose: str, period_ms: int) -> float:
        return wander(self.seed, self.age_ms, period_ms, purpose)

    # what it can be told

    def command(self, name: str, args: Mapping[str, Any], lease_s: float | None) -> tuple[Self, dict[str, Any]]:  # noqa: ARG002
        """See Device.command: lock {message}, unlock, restart_app, print_test_page {copies}, reboot {grace_s}."""
        if self.away_until_ms:
            raise NotReady("the kiosk is rebooting")
        calm = replace(self, events=())
        match name:
            case "lock":
                waits = self.in_session
                return replace(calm, locked=True, message=str(args.get("message", ""))), {"after_session": waits}
            case "unlock":
                return replace(calm, locked=False, message=""), {}
            case "restart_app":
                self._must_be_free(0.0)
                return replace(calm, restart_until_ms=self.age_ms + APP_RESTART_MS), {"for_s": APP_RESTART_MS / 1000}
            case "reboot":
                self._must_be_free(float(args.get("grace_s", 60)))
                return replace(calm, away_until_ms=self.age_ms + REBOOT_MS), {"for_s": REBOOT_MS / 1000}
            case "print_test_page":
                return calm._test_page(int(args.get("copies", 1)))
        raise unknown_command(name)

    def _must_be_free(self, grace_s: float) -> None:
        if self.in_session:
            raise Occupied("somebody is using the kiosk", min(max(grace_s, 0.0), 300.0))

    def _test_page(self, copies: int) -> tuple[Self, dict[str, Any]]:
        if not 1 <= copies <= 3:
            raise Refused("copies must be 1 to 3")
        if self.paper in ("out", "jammed"):
            raise Failed(f"paper is {self.paper}")
        if self.sheets < copies:
            raise Failed(f"only {self.sheets} sheets are left")
        printed = self._print(copies, 0)
        return printed, {"pages": copies, "paper_left": printed.paper_percent}

    def configuration(self) -> dict[str, Value]:
        """See Device.configuration."""
        return dict(self.settings)

    def configure(self, changes: Mapping[str, Value]) -> Self:
        """See Device.configure."""
        settings = known_changes(self.settings, changes)
        if int(settings["opens_at"]) >= int(settings["closes_at"]):
            raise Refused("opens_at must be earlier than closes_at")
        return replace(self, settings=settings)
