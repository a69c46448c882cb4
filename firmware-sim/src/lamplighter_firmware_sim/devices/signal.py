# ruff: noqa: SLF001 - a state's methods call those of the state that they return
"""A signal controller: a ring of stages that never shows conflicting greens, whoever asks for what.

    start flash -> all red -> green -> yellow -> red clearance -> green of the next stage ...

Colours are not stored but follow from stage and interval, so no sequence of requests can mix them. What the centre asks
for is a lease: it ends by itself, and the controller's own plan goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

from lamplighter_firmware_sim.chance import draw, happens, wander
from lamplighter_firmware_sim.devices.device import (
    Event,
    Observation,
    Refused,
    Value,
    known_changes,
)
from lamplighter_firmware_sim.devices.phases import (
    CROSSINGS,
    FLASH,
    FREE,
    PED_CLEAR_MS,
    PHASES,
    PLANS,
    RED_CLEAR_MS,
    STAGES,
    START_FLASH_MS,
    START_RED_MS,
    WALK_MS,
    YELLOW_MS,
    local_plan,
    longest_green_ms,
    shortest_green_ms,
)
from lamplighter_firmware_sim.world import Weather

LONGEST_LEASE_S: Final = {"set_plan": 3_600.0, "request_flash": 900.0}
DOOR_OPEN_MS: Final = 40_000
VEHICLES_PER_GREEN_S: Final = 0.4


class Interval(StrEnum):
    """Where the ring is."""

    FLASH = "flash"
    ALL_RED = "all_red"
    GREEN = "green"
    YELLOW = "yellow"
    RED_CLEAR = "red_clear"


class Lease(NamedTuple):
    """What the centre asked for: a plan number (FLASH among them), and for how long still."""

    plan: int
    left_ms: int


@dataclass(frozen=True)
class SignalController:
    """The state. `interval_ms` is the time spent in `interval`; `plan` is in force, changed only between cycles."""

    seed: int
    age_ms: int = 0
    weather: Weather = field(default_factory=Weather)
    interval: Interval = Interval.FLASH
    interval_ms: int = 0
    stage: int = 0
    crossing: bool = True
    plan: int = 1
    cycle_ms: int = 0
    flash_reason: str = "startup"
    lease: Lease | None = None
    vehicles: float = 18_400.0
    lamp_faults: int = 0
    door_until_ms: int = 0
    settings: Mapping[str, Value] = field(
        default_factory=lambda: {
            "interval_s": 1.0,
            "central_allowed": True,
            "backup_time_s": 300,
            "cabinet_temp_alarm": 60.0,
            "detector_fault_min": 60,
        }
    )
    events: tuple[Event, ...] = ()

    # time

    def step(self, dt_ms: int, weather: Weather) -> Self:
        """See Device.step. Any span is cut at the moments where something changes."""
        state = replace(self, weather=weather, events=())
        if self.age_ms == 0:
            state = state._with(0, "power_restored", {})
        done = 0
        while True:
            part = min(dt_ms - done, state._until_change())
            state, done = state._pass(part), done + part
            changed = state._change(done)
            if changed is state and done >= dt_ms:
                return state._cabinet(dt_ms)
            state = changed

    def _until_change(self) -> int:
        waits = [self._interval_end() - self.interval_ms]
        if self.lease:
            waits.append(self.lease.left_ms)
        return max(min(waits), 0)

    def _pass(self, ms: int) -> Self:
        greens = sum(colour == "green" for colour in self.colours().values())
        return replace(
            self,
            age_ms=self.age_ms + ms,
            interval_ms=self.interval_ms + ms,
            cycle_ms=self.cycle_ms + ms,
            vehicles=self.vehicles + greens * ms / 1000 * VEHICLES_PER_GREEN_S * self.weather.traffic,
            lease=self.lease._replace(left_ms=self.lease.left_ms - ms) if self.lease else None,
        )

    def _change(self, at: int) -> Self:
        """Return the next state when its moment has come; the same object when it has not."""
        if self.lease and self.lease.left_ms <= 0:
            return replace(self, lease=None)._with(at, "lease_lapsed", {"plan": self.lease.plan})
        if self.interval_ms < self._interval_end():
            return self
        match self.interval:
            case Interval.FLASH:
                state = self._turn(Interval.ALL_RED, at)._with(at, "flash_left", {"reason": self.flash_reason})
            case Interval.ALL_RED:
                state = replace(self, flash_reason="not_flash")._begin_stage(0, at)
            case Interval.GREEN:
                state = self._turn(Interval.YELLOW, at)
            case Interval.YELLOW:
                state = self._turn(Interval.RED_CLEAR, at)
            case Interval.RED_CLEAR:
                state = self._after_clearance(at)
        return state

    def _after_clearance(self, at: int) -> Self:
        """Flash when it is asked for - no other moment leads there - else the next stage."""
        if self._wanted() != FLASH:
            return self._begin_stage((self.stage + 1) % len(STAGES), at)
        flashing = replace(self, flash_reason="automatic", plan=FLASH)._turn(Interval.FLASH, at)
        return flashing._with(at, "flash_entered", {"reason": "automatic"})

    def _interval_end(self) -> int:
        """Return after how many ms of its interval the ring goes on, as things stand."""
        match self.interval:
            case Interval.FLASH:
                flash_goes_on = self.flash_reason != "startup" and self._wanted() == FLASH
                return max(START_FLASH_MS, self.interval_ms + 1_000) if flash_goes_on else START_FLASH_MS
            case Interval.ALL_RED:
                return START_RED_MS
            case Interval.YELLOW:
                return YELLOW_MS
            case Interval.RED_CLEAR:
                return RED_CLEAR_MS
            case Interval.GREEN:
                return self._green_end()

    def _green_end(self) -> int:
        least = shortest_green_ms(self.stage, crossing=self.crossing)
        if self._wanted() == FLASH:
            return least
        if self.plan in PLANS:
            return max(PLANS[self.plan].splits_ms[self.stage] - YELLOW_MS - RED_CLEAR_MS, least)
        demand = draw(self.seed, self.age_ms - self.interval_ms, "demand") * (0.3 + 0.7 * self.weather.traffic)
        return max(least, round(least + (longest_green_ms(self.stage) - least) * demand))

    def _begin_stage(self, stage: int, at: int) -> Self:
        state = replace(self, stage=stage)
        if stage == 0:
            wanted = state._running()
            state = replace(state, cycle_ms=0, plan=wanted)
            if wanted != self.plan:
                state = state._with(at, "plan_changed", {"plan": wanted, "source": state._source()})
        crossing = state.plan in PLANS or draw(self.seed, self.age_ms, "pedestrian") < 0.4
        return replace(state, crossing=crossing)._turn(Interval.GREEN, at)

    def _turn(self, interval: Interval, at: int) -> Self:
        """Enter an interval and note which phases changed their colour."""
        turned = replace(self, interval=interval, interval_ms=0)
        before = self.colours()
        for phase, colour in turned.colours().items():
            if before[phase] != colour:
                turned = turned._with(at, "phase_changed", {"phase": phase, "state": colour})
        return turned

    def _cabinet(self, dt_ms: int) -> Self:
        state = self
        if 0 < state.door_until_ms <= state.age_ms:
            state = replace(state, door_until_ms=0)._with(dt_ms, "door_closed", {})
        elif not state.door_until_ms and happens(self.seed, self.age_ms, "door", 1 / 3_600, dt_ms):
            state = replace(state, door_until_ms=state.age_ms + DOOR_OPEN_MS)._with(dt_ms, "door_open", {})
        if not state.lamp_faults and happens(self.seed, self.age_ms, "lamp", 1 / 7_200, dt_ms):
            phase = PHASES[int(4 * draw(self.seed, self.age_ms, "which lamp"))]
            state = replace(state, lamp_faults=1)._with(dt_ms, "lamp_fault", {"phase": phase, "lamp": "green"})
        return state

    def _with(self, at: int, name: str, data: Mapping[str, Any]) -> Self:
        return replace(self, events=(*self.events, Event(at, name, data)))

    def _wanted(self) -> int:
        return self.lease.plan if self.lease else local_plan(self.weather.day_ms / 3_600_000)

    def _running(self) -> int:
        """The plan of the next cycle; a flash that is asked for begins after a stage, not in place of one."""
        wanted = self._wanted()
        return local_plan(self.weather.day_ms / 3_600_000) if wanted == FLASH else wanted

    def _source(self) -> str:
        return "central" if self.lease else "local"

    # what it shows

    def colours(self) -> dict[int, str]:
        """Return the colour of each phase. Only phases of one stage are ever anything but red."""
        match self.interval:
            case Interval.FLASH:
                return dict.fromkeys(PHASES, "flashing_yellow")
            case Interval.GREEN | Interval.YELLOW:
                return {phase: str(self.interval) if phase in STAGES[self.stage] else "red" for phase in PHASES}
            case Interval.ALL_RED | Interval.RED_CLEAR:
                return dict.fromkeys(PHASES, "red")

    def crossings(self) -> dict[int, str]:
        """Return what pedestrians see beside each phase that has a crossing."""
        if self.interval is Interval.FLASH:
            return dict.fromkeys(CROSSINGS, "dark")
        shown = "dont_walk"
        if self.interval is Interval.GREEN and self.crossing and self.interval_ms < WALK_MS + PED_CLEAR_MS:
            shown = "walk" if self.interval_ms < WALK_MS else "ped_clear"
        return {phase: shown if phase in STAGES[self.stage] else "dont_walk" for phase in CROSSINGS}

    def observe(self) -> Observation:
        """See Device.observe."""
        cycle = PLANS[self.plan].cycle_ms / 1000 if self.plan in PLANS else 0
        flashing = self.interval is Interval.FLASH
        metrics: dict[str, Value] = {
            **{f"phase_{phase}": colour for phase, colour in self.colours().items()},
            **{f"ped_{phase}": shown for phase, shown in self.crossings().items()},
            "mode": self._mode(),
            "source": self._source(),
            "flash_reason": self.flash_reason if flashing else "not_flash",
            "plan": FLASH if flashing else self.plan,
            "cycle": round(cycle),
            "cycle_counter": round(min(self.cycle_ms / 1000, 999)),
            "offset_error": round(0.4 * self._wave("offset", 60_000), 1) if self.plan in PLANS else 0.0,
            "lease_left": -(-self.lease.left_ms // 1000) if self.lease else 0,
            "calls": sum(self._calls(phase) for phase in PHASES),
            "volume": int(self.vehicles),
            "lamp_faults": self.lamp_faults,
            "cabinet_door": "open" if self.door_until_ms else "closed",
        }
        return Observation(metrics | self._cabinet_values())

    def _mode(self) -> str:
        if self.interval in (Interval.FLASH, Interval.ALL_RED):
            return str(self.interval)
        return "actuated" if self.plan == FREE else "coordinated"

    def _calls(self, phase: int) -> bool:
        waiting = self.colours()[phase] == "red"
        return waiting and draw(self.seed, self.age_ms // 2_000, f"call {phase}") < 0.3 + 0.7 * self.weather.traffic

    def _cabinet_values(self) -> dict[str, Value]:
        lit = sum(colour != "dark" for colour in self.colours().values())
        return {
            "cabinet_temp": round(self.weather.temperature_c + 9 + 0.8 * self._wave("cabinet", 30_000), 1),
            "cabinet_rh": round(min(self.weather.humidity * 0.6, 100)),
            "mains_voltage": round(229 + 3 * self._wave("mains", 5_000), 1),
            "lamp_current": round(0.35 * lit + 0.05 * self._wave("current", 2_000) + 0.4, 1),
        }

    def _wave(self, purpose: str, period_ms: int) -> float:
        return wander(self.seed, self.age_ms, period_ms, purpose)

    # what it can be told

    def command(self, name: str, args: Mapping[str, Any], lease_s: float | None) -> tuple[Self, dict[str, Any]]:
        """See Device.command: `set_plan` {plan}, `request_flash`, `release_plan`, `resume`, `clear_alarms`."""
        calm = replace(self, events=())
        match name:
            case "set_plan":
                plan = args["plan"]
                if type(plan) is not int or plan not in PLANS:
                    raise _refusal(name, f"no plan {plan}; there are {', '.join(map(str, PLANS))}")
                return calm._leased(name, plan, lease_s)
            case "request_flash":
                return calm._leased(name, FLASH, lease_s)
            case "release_plan" | "resume":
                mine = self.lease is not None and (self.lease.plan == FLASH) == (name == "resume")
                return replace(calm, lease=None) if mine else calm, {"released": mine}
            case "clear_alarms":
                return replace(calm, lamp_faults=0), {"cleared": self.lamp_faults}
            case _:
                raise _refusal(name, f"no such command: {name}; lamps cannot be switched from afar")

    def _leased(self, name: str, plan: int, lease_s: float | None) -> tuple[Self, dict[str, Any]]:
        longest = LONGEST_LEASE_S[name]
        seconds = float(self.settings["backup_time_s"]) if lease_s is None else lease_s
        if not self.settings["central_allowed"]:
            raise _refusal(name, "central control is not allowed here (central_allowed)")
        if self.interval is Interval.FLASH and self.flash_reason not in ("startup", "automatic"):
            raise _refusal(name, f"in flash for {self.flash_reason}")
        if not 1 <= seconds <= longest:
            raise _refusal(name, f"a lease of {seconds:g} s; 1 to {longest:g} are allowed")
        leased = replace(self, lease=Lease(plan, round(seconds * 1000)))
        return leased, {"plan": plan, "lease_s": seconds, "begins": "after minimum green and clearance"}

    def configuration(self) -> dict[str, Value]:
        """See Device.configuration."""
        return dict(self.settings)

    def configure(self, changes: Mapping[str, Value]) -> Self:
        """See Device.configure. Where central control is no longer allowed, a lease ends at once."""
        settings = known_changes(self.settings, changes)
        return replace(self, settings=settings, lease=self.lease if settings["central_allowed"] else None)


def _refusal(name: str, reason: str) -> Refused:
    return Refused(reason, Event(0, "request_refused", {"command": name[:64], "reason": reason[:200]}))
