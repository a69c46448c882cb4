"""The signal controller under an independent monitor, whatever it is asked for."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.monitor import Monitor
from lamplighter_firmware_sim.devices.device import Refused
from lamplighter_firmware_sim.devices.phases import PLANS, Plan
from lamplighter_firmware_sim.devices.signal import Interval, SignalController
from lamplighter_firmware_sim.errors import UsageError
from lamplighter_firmware_sim.world import Weather

NAMES = ("set_plan", "request_flash", "release_plan", "resume", "clear_alarms", "lamps", "configure")
NIGHT, DAY = Weather(day_ms=2 * 3_600_000, traffic=0.1), Weather(day_ms=11 * 3_600_000, traffic=0.9)


class Request(NamedTuple):
    name: str
    plan: Any
    lease_s: float | None
    then_ms: int
    night: bool


class Watched:
    """A controller with its monitor; time is counted outside."""

    def __init__(self, seed: int) -> None:
        self.state = SignalController(seed)
        self.monitor = Monitor()
        self.t = 0

    def step(self, ms: int, weather: Weather = DAY) -> None:
        self.state = self.state.step(ms, weather)
        last = self.t
        for event in self.state.events:
            if event.name == "phase_changed":
                at = self.t + event.after_ms
                if at != last:
                    self.monitor.settle(last)
                self.monitor.change(at, event.data["phase"], event.data["state"])
                last = at
        self.t += ms
        self.monitor.settle(self.t)
        self.monitor.pedestrians(self.t, self.state.crossings())
        assert self.state.colours() == self.monitor.colour

    def ask(self, request: Request) -> None:
        try:
            if request.name == "configure":
                self.state = self.state.configure({"central_allowed": request.night})
            else:
                self.state, _ = self.state.command(request.name, {"plan": request.plan}, request.lease_s)
        except Refused:
            pass
        self.step(request.then_ms, NIGHT if request.night else DAY)


REQUESTS = st.lists(
    st.builds(
        Request,
        st.sampled_from(NAMES),
        st.one_of(st.integers(-1, 20), st.sampled_from([254, 255, True, "2", None, 1.5])),
        st.one_of(st.none(), st.floats(-5, 4_000)),
        st.integers(1, 70_000),
        st.booleans(),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1_000), REQUESTS)
def test_no_requests_make_it_unsafe(seed: int, requests: list[Request]) -> None:
    watched = Watched(seed)
    for request in requests:
        watched.ask(request)
    assert watched.monitor.faults == []


def test_ten_thousand_random_sequences() -> None:
    dice = random.Random(20_240_415)
    greens = 0
    for seed in range(10_000):
        watched = Watched(seed)
        watched.step(15_000)
        for _ in range(6):
            lease = dice.choice([None, 1.0, 20.0, 90.0])
            plan = dice.choice([1, 2, 3, 4, 5, 254, 255])
            watched.ask(Request(dice.choice(NAMES), plan, lease, dice.randrange(1, 40_000), dice.random() < 0.3))
        assert watched.monitor.faults == [], f"sequence {seed}"
        greens += watched.monitor.greens
    assert greens > 50_000


def test_the_monitor_sees_what_is_wrong() -> None:
    monitor = Monitor()
    for phase in (2, 4, 6, 8):
        monitor.change(10_000, phase, "red")
    monitor.change(12_000, 2, "green")
    monitor.change(13_000, 4, "green")
    monitor.change(14_000, 2, "red")
    monitor.settle(14_000)
    assert len(monitor.faults) >= 5


def run_to(watched: Watched, interval: Interval, stage: int) -> None:
    for _ in range(4_000):
        if watched.state.interval is interval and watched.state.stage == stage:
            return
        watched.step(100)
    pytest.fail(f"never in {interval} of stage {stage}")


def test_it_starts_with_flash_then_all_red() -> None:
    watched = Watched(1)
    watched.step(9_999)
    assert watched.state.observe().metrics["flash_reason"] == "startup"
    watched.step(1)
    assert watched.state.observe().metrics["mode"] == "all_red"
    watched.step(5_000)
    assert watched.state.observe().metrics["phase_2"] == "green"


def test_a_local_plan_keeps_its_cycle() -> None:
    watched = Watched(1)
    watched.step(15_000)
    for _ in range(3):
        assert watched.state.cycle_ms == 0
        assert watched.state.stage == 0
        watched.step(PLANS[1].cycle_ms)


def test_a_lease_lapses_by_itself() -> None:
    watched = Watched(1)
    run_to(watched, Interval.GREEN, 1)
    watched.state, answer = watched.state.command("set_plan", {"plan": 3}, 120.0)
    assert answer["lease_s"] == 120
    run_to(watched, Interval.GREEN, 0)
    shown = watched.state.observe().metrics
    assert (shown["plan"], shown["source"], shown["cycle"]) == (3, "central", 110)
    assert 0 < float(shown["lease_left"]) < 120
    events: list[str] = []
    for _ in range(300):
        watched.step(1_000)
        events += [event.name for event in watched.state.events]
    assert events.count("lease_lapsed") == 1
    shown = watched.state.observe().metrics
    assert (shown["plan"], shown["source"], shown["lease_left"]) == (1, "local", 0)


def test_flash_comes_after_clearance_and_goes_by_the_start_sequence() -> None:
    watched = Watched(1)
    run_to(watched, Interval.GREEN, 0)
    watched.state, _ = watched.state.command("request_flash", {}, 60.0)
    watched.step(1_000)
    assert watched.state.observe().metrics["phase_2"] == "green", "minimum green is served first"
    run_to(watched, Interval.FLASH, 0)
    assert watched.state.observe().metrics["plan"] == 255
    watched.state, answer = watched.state.command("resume", {}, None)
    assert answer["released"]
    run_to(watched, Interval.ALL_RED, 0)
    run_to(watched, Interval.GREEN, 0)
    assert watched.monitor.faults == []


@pytest.mark.parametrize(
    ("name", "args", "lease_s", "word"),
    [
        ("set_plan", {"plan": 9}, 60.0, "no plan 9"),
        ("set_plan", {"plan": True}, 60.0, "no plan True"),
        ("set_plan", {"plan": 2}, 7_200.0, "lease"),
        ("request_flash", {}, 901.0, "lease"),
        ("request_flash", {}, 0.0, "lease"),
        ("set_lamp", {"phase": 4, "state": "green"}, 60.0, "lamps cannot"),
    ],
)
def test_what_is_unsafe_is_refused(name: str, args: dict[str, Any], lease_s: float, word: str) -> None:
    with pytest.raises(Refused, match=word) as refusal:
        SignalController(1).command(name, args, lease_s)
    assert refusal.value.event is not None
    assert refusal.value.event.name == "request_refused"


def test_central_control_can_be_forbidden() -> None:
    state, _ = SignalController(1).command("set_plan", {"plan": 2}, 60.0)
    state = state.configure({"central_allowed": False})
    assert state.lease is None
    with pytest.raises(Refused, match="central_allowed"):
        state.command("set_plan", {"plan": 2}, 60.0)


def test_plans_that_cannot_be_served_are_refused() -> None:
    for plan in PLANS.values():
        plan.check()
    for splits in ((15_000, 30_000), (30_000, 20_000), (60_000,)):
        with pytest.raises(UsageError):
            Plan(splits).check()


def test_a_step_is_pure() -> None:
    state = SignalController(5)
    assert state.step(30_000, DAY) == state.step(30_000, DAY)
    assert state == SignalController(5)
