"""When what is said again: by numbers and an invented time, no waiting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamplighter_agent.flow import Flow, Wanted
from lamplighter_agent.pace import FIRST_DEADLINE_S, LONGEST_DEADLINE_S, Share


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
    flow.asked([(4, 6), (9, 20)])
    assert flow.flying == 0, "the hub says that it is not on its way any more"
    assert flow.wanted() == Wanted(3, 6)
    flow.sent(4, 6, 6, again=True)
    assert flow.wanted() == Wanted(8, 10), "what was never sent comes by itself"
    flow.strike(9, 10)
    assert flow.wanted() == Wanted(10)


def test_what_was_overtaken_is_sent_again_alone() -> None:
    flow = make(8)
    for nth in range(3):
        flow.sent(10 * nth + 1, 10 * nth + 10, nth)
    flow.received(10, [(21, 30)], 2.5)
    assert not flow.overdue(4)
    assert flow.wake_at(4) == 1 + FIRST_DEADLINE_S
    assert flow.overdue(6), "the second batch"
    assert (flow.wanted(), flow.attempt, flow.flying) == (Wanted(10, 20), 0, 0)
    flow.sent(11, 20, 6, again=True)
    assert flow.wanted() == Wanted(30)


def test_traffic_that_goes_on_does_not_hide_a_lost_batch() -> None:
    flow = make(8)
    flow.sent(1, 1, 0)
    again = []
    for number in range(2, 20):
        if flow.overdue(number):
            again.append((number, flow.wanted()))
            flow.sent(1, 1, number, again=True)
        flow.sent(number, number, number)
        flow.received(0, [(2, number)], number + 0.1)
    assert again[0] == (FIRST_DEADLINE_S, Wanted(0, 1))
    assert len(again) == 3, "and each repetition has its own deadline"


def test_a_slow_hub_is_not_sent_everything_twice() -> None:
    """A hub that needs 8 s for a receipt, which is more than the first deadline."""
    flow = make(1)
    now, sent, number = 0.0, 0, 1
    while number <= 50:
        flow.sent(number, number, now)
        sent += 1
        answer = now + 8
        if (deadline := flow.wake_at(now)) is not None and deadline < answer:
            assert flow.overdue(deadline)
            flow.sent(number, number, deadline)
            sent += 1
        flow.received(number, [], answer)
        number, now = number + 1, answer
    assert sent == 51, "the first one taught it"


def test_a_hub_that_was_away_is_not_taken_for_a_slow_one() -> None:
    flow = make(1)
    flow.sent(1, 1, 0)
    flow.received(1, [], 0.1)
    flow.sent(2, 2, 1)
    now = 1.0
    for _ in range(5):
        now = flow.wake_at(now) or now
        flow.overdue(now)
        flow.sent(2, 2, now)
    flow.received(2, [], now + 0.1)
    flow.sent(3, 3, now)
    flow.received(3, [], now + 0.1)
    flow.sent(4, 4, now)
    assert flow.wake_at(now) == now + FIRST_DEADLINE_S


def test_a_share_rests_after_each_batch_and_looks_for_a_fitting_size() -> None:
    flow = Flow(4, lambda: 0.0, share := Share(0.25))
    flow.connected()
    assert flow.may_send(0)
    flow.sent(1, 10, 0)
    assert not flow.may_send(0), "one at a time"
    flow.received(10, [], 4)
    assert not flow.may_send(15.9)
    assert flow.wake_at(4) == 16
    assert flow.may_send(16), "4 s of sending are a quarter of 16"
    rooms = []
    for seconds in (4, 4, 4, 0.1, 0.1, 0.1, 0.1, 0.1):
        share.taken(seconds, 0)
        rooms.append(share.room)
    assert rooms == [8192, 8192, 8192, 16384, 32768, 65536, 65536, 65536]
    share.taken(3600, 0)
    assert share.rests_until == 30


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
