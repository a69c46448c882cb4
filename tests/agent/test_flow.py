"""When what is said again: by numbers and an invented time, no waiting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamplighter_agent.flow import FIRST_DEADLINE_S, LONGEST_DEADLINE_S, Flow


def make(limit: int = 3) -> Flow:
    flow = Flow(limit, lambda: 0.0)
    flow.connected()
    return flow


def test_a_window_is_bounded_and_a_receipt_moves_it() -> None:
    flow = make()
    for nth in range(3):
        assert flow.may_send(0)
        flow.sent(10 * nth + 1, 10 * nth + 10, 0)
    assert not flow.may_send(0)
    assert flow.received(10, [], 1)
    assert flow.may_send(1)
    assert (flow.after, flow.flying) == (30, 2)
    assert flow.received(10, [(21, 30)], 1), "a range beyond a hole counts"
    assert flow.flying == 1


def test_without_receipt_single_batches_probe_at_growing_distances() -> None:
    flow = make()
    now, waits = 0.0, []
    flow.sent(1, 10, now)
    for _ in range(6):
        due = flow.wake_at(now)
        assert due is not None
        waits.append(due - now)
        now = due
        assert flow.overdue(now)
        assert not flow.overdue(now)
        assert flow.after == 0, "all that is held is said again"
        assert flow.may_send(now)
        flow.sent(1, 10, now)
        assert not flow.may_send(now), "one at a time"
    assert waits == [FIRST_DEADLINE_S, 10, 20, LONGEST_DEADLINE_S, LONGEST_DEADLINE_S, LONGEST_DEADLINE_S]
    flow.received(10, [], now)
    assert flow.attempt == 0
    assert flow.wake_at(now) is None


def test_a_new_connection_sends_the_whole_window_at_once() -> None:
    flow = make()
    flow.sent(1, 10, 0)
    flow.overdue(99)
    flow.connected()
    assert flow.after == 0
    for nth in range(3):
        assert flow.may_send(99)
        flow.sent(nth + 1, nth + 1, 99)


def test_the_hub_can_ask_for_patience_and_for_repetition() -> None:
    flow = make()
    flow.hold(5)
    assert not flow.may_send(4.9)
    assert flow.wake_at(4) == 5
    assert flow.may_send(5)
    flow.sent(1, 10, 5)
    flow.go_back(4)
    assert flow.after == 3


@given(st.lists(st.tuples(st.sampled_from("sro"), st.integers(1, 50)), max_size=60), st.floats(0, 1))
def test_it_always_goes_on(steps: list[tuple[str, int]], jitter: float) -> None:
    """Whatever happens: either something may be sent, or a deadline wakes it."""
    flow = Flow(4, lambda: jitter)
    now = 0.0
    for step, amount in steps:
        now += amount / 10
        if step == "s" and flow.may_send(now):
            flow.sent(flow.after + 1, flow.after + amount, now)
        elif step == "r":
            flow.received(amount, [], now)
        else:
            flow.overdue(now)
        assert flow.may_send(now) or flow.wake_at(now) is not None
        assert flow.flying <= 4
