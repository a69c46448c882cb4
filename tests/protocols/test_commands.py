"""The one function that says which command state may follow which: every pair, and every order of reports."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols.commands import CommandState, transition
from lamplighter_protocols.errors import IllegalTransition

Q, S, R, RUN = CommandState.QUEUED, CommandState.SENT, CommandState.RECEIVED, CommandState.RUNNING
ENDS = [state for state in CommandState if state.final]
NEVER_RAN = {CommandState.REJECTED, CommandState.EXPIRED, CommandState.CANCELLED}
ORDER = [Q, S, R, RUN]


def expected(current: CommandState, reported: CommandState) -> CommandState | None:
    """What the contract says, written as a table; None for what cannot be."""
    if current is reported:
        return current
    if current in ENDS:
        return None if reported in ENDS else current
    if reported in ENDS:
        return None if current is RUN and reported in NEVER_RAN else reported
    return max(current, reported, key=ORDER.index)


@pytest.mark.parametrize(("current", "reported"), list(itertools.product(CommandState, repeat=2)))
def test_every_pair(current: CommandState, reported: CommandState) -> None:
    wanted = expected(current, reported)
    if wanted is None:
        with pytest.raises(IllegalTransition, match="cannot become"):
            transition(current, reported)
    else:
        assert transition(current, reported) is wanted


@given(st.permutations([S, R, RUN, CommandState.SUCCEEDED]), st.integers(0, 3))
def test_lost_repeated_and_overtaking_reports_lead_to_the_same_end(reports: list[CommandState], repeat: int) -> None:
    state = Q
    for report in [*reports, reports[repeat]]:
        state = transition(state, report)
    assert state is CommandState.SUCCEEDED


@given(st.lists(st.sampled_from(CommandState), max_size=12))
def test_an_end_is_never_left(reports: list[CommandState]) -> None:
    state, end = Q, None
    for report in reports:
        try:
            state = transition(state, report)
        except IllegalTransition:
            continue
        assert end is None or state is end
        end = state if state.final else end
