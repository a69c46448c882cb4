"""The agent's corrected time, while somebody sets the operating system's clock."""

from __future__ import annotations

import pytest

from lamplighter_agent.clock import Clock, since_boot_ms

NOW = 1_795_476_600_000
HOUR = 3_600_000


class Machine:
    """A machine whose clock is wrong by `wrong` ms; true time passes by `passes`."""

    def __init__(self, wrong: int) -> None:
        self.wrong = wrong
        self.true = NOW
        self.clock = Clock(lambda: self.true + self.wrong, lambda: self.true - NOW + 77)

    def passes(self, ms: int) -> None:
        self.true += ms
        self.clock.own()


@pytest.mark.parametrize("wrong", [-NOW, 10 * 365 * 24 * HOUR, 2 * HOUR, 0])
@pytest.mark.parametrize("set_to", [0, 2 * HOUR, -2 * HOUR])
def test_the_corrected_time_goes_on_when_the_clock_is_set(wrong: int, set_to: int) -> None:
    machine = Machine(wrong)
    for _ in range(10):
        machine.passes(10_000)
        machine.clock.hub_said(machine.true - 20)
    assert abs(machine.clock.now() - machine.true) <= 1_000
    machine.wrong = set_to
    machine.passes(10_000)
    assert abs(machine.clock.now() - machine.true) <= 1_000, "before the hub says anything again"
    assert machine.clock.synced == (set_to == 0)
    machine.clock.hub_said(machine.true - 20)
    assert abs(machine.clock.now() - machine.true) <= 1_000


def test_a_clock_that_is_slewed_is_not_a_clock_that_is_set() -> None:
    machine = Machine(-5_000)
    machine.clock.hub_said(machine.true)
    for _ in range(50):
        machine.wrong += 50
        machine.passes(1_000)
        machine.clock.hub_said(machine.true)
    assert abs(machine.clock.now() - machine.true) <= 500


def test_a_late_first_answer_does_not_make_a_right_clock_wrong() -> None:
    machine = Machine(0)
    machine.clock.hub_said(machine.true - 9_000, late_ms=9_500)
    assert machine.clock.synced
    for _ in range(10):
        machine.clock.hub_said(machine.true - 20)
    assert machine.clock.synced


@pytest.mark.parametrize("wrong", [-NOW, -60_000, 60_000])
def test_a_prompt_first_answer_shows_a_wrong_clock(wrong: int) -> None:
    machine = Machine(wrong)
    machine.clock.hub_said(machine.true - 40, late_ms=50)
    assert abs(machine.clock.now() - machine.true) <= 1_000
    assert not machine.clock.synced


def test_a_time_from_before_the_first_answer_can_be_corrected_after_it() -> None:
    machine = Machine(-NOW + 5_000)
    machine.passes(1_000)
    early, then = machine.clock.moment(), machine.true
    assert early.t == 6_000
    assert early.apart is not None
    assert machine.clock.true_apart is None
    machine.passes(3_000)
    machine.wrong = 7_000  # somebody sets it, not quite right
    machine.passes(3_000)
    machine.clock.hub_said(machine.true)
    assert machine.clock.moment().apart is None
    assert machine.clock.true_apart is not None
    assert early.t + machine.clock.true_apart - early.apart == then


def test_the_clock_that_is_never_set_goes_on() -> None:
    before = since_boot_ms()
    assert before > 0
    assert since_boot_ms() >= before
