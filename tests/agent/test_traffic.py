"""What a data budget lets through, by numbers; and what the kernel says of a real connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st

from lamplighter_agent.metering import carried
from lamplighter_agent.traffic import DAY_MS, DAYS_KEPT, Account, Budget, Traffic, day_of, lets, patience
from lamplighter_protocols.presence import BudgetState
from lamplighter_protocols.records import Stream

T0 = 1_795_392_000_000
"""2026-11-23 00:00 UTC."""
MB = 1_000_000
HOUR = 3_600_000
OK, SAVING, SPENT = BudgetState


def test_without_a_budget_everything_goes() -> None:
    assert Budget(None).state(10**15, T0) is OK


def test_of_a_days_budget_a_rising_part_may_be_used() -> None:
    budget = Budget(10 * MB)
    assert [budget.state(used, T0) for used in (0, MB - 1, MB, 2 * MB - 1, 2 * MB)] == [OK, OK, SAVING, SAVING, SPENT]
    noon = T0 + 12 * HOUR
    assert [budget.state(used, noon) for used in (5 * MB - 1, 5 * MB, 6 * MB - 1, 6 * MB)] == [
        OK,
        SAVING,
        SAVING,
        SPENT,
    ]
    assert budget.state(10 * MB, T0 + DAY_MS - 1) is SPENT
    assert budget.state(0, T0 + DAY_MS) is OK, "tomorrow is another day"


def test_a_better_state_needs_a_step_more_room_than_it_is_left_at() -> None:
    budget = Budget(10 * MB)
    assert [budget.state(used, T0, SPENT) for used in (2 * MB - 1, 1_900_000, 1_899_999)] == [SPENT, SPENT, SAVING]
    assert [budget.state(used, T0, SAVING) for used in (2 * MB, 2 * MB - 1, 900_000, 899_999)] == [
        SPENT,
        SAVING,
        SAVING,
        OK,
    ]
    assert budget.state(0, T0, SPENT) is OK


def test_alarms_always_go_backlog_goes_last_and_live_waits_longer() -> None:
    may = {state: {stream for stream in Stream if lets(state, stream)} for state in BudgetState}
    assert may == {OK: set(Stream), SAVING: {Stream.ALARM, Stream.LIVE}, SPENT: {Stream.ALARM}}
    assert [patience(state, 60) for state in BudgetState] == [60, 240, 240]


@given(
    limit=st.integers(100_000, 10**10),
    part=st.floats(0, 0.999),
    used=st.integers(0, 10**10),
    more=st.integers(0, 10**9),
    later=st.integers(0, DAY_MS),
)
def test_more_use_never_lets_more_go_and_waiting_never_less(
    limit: int, part: float, used: int, more: int, later: int
) -> None:
    budget, now = Budget(limit), T0 + int(part * DAY_MS)
    order = list(BudgetState)
    assert order.index(budget.state(used + more, now)) >= order.index(budget.state(used, now))
    assert order.index(budget.state(used, min(now + later, T0 + DAY_MS - 1))) <= order.index(budget.state(used, now))
    if used >= limit:
        assert budget.state(used, now) is SPENT


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9), st.integers(0, 9)), max_size=60))
def test_an_account_forgets_old_days_and_nothing_else(booked: list[tuple[int, int, int]]) -> None:
    account, last = Account(), Traffic()
    for day, up, down in booked:
        before = account.of(T0 + day * DAY_MS)
        account.add(T0 + day * DAY_MS, Traffic(up, down))
        last = account.of(T0 + day * DAY_MS)
        assert last == Traffic(before.up + up, before.down + down)
        assert len(account.days) <= DAYS_KEPT + 1
    assert day_of(T0) == "2026-11-23"


@contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        with near, far:
            yield near, far


def test_the_kernel_counts_what_a_connection_carries() -> None:
    with connection() as (near, far):
        start = carried(near)
        assert start is not None
        near.sendall(b"x" * 10_000)
        got = 0
        while got < 10_000:
            got += len(far.recv(65_536))
        far.sendall(b"y" * 3_000)
        assert len(near.recv(3_000, socket.MSG_WAITALL)) == 3_000
        found = carried(near)
        assert found is not None
        more = found.since(start)
        assert 10_000 <= more.up < 10_000 + 52 * 40
        assert 3_000 + 52 <= more.down < 3_000 + 52 * 40
        near.close()
        assert carried(near) is None
