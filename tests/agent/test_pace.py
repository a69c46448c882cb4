"""How long agents wait before they connect again: by numbers and an invented time, for one and for a city."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from lamplighter_agent.pace import FIRST_WAIT_S, LONGEST_WAIT_S, STABLE_S, Patience

CITY = 15_000


def test_the_wait_doubles_without_answer_and_halves_with_one() -> None:
    patience = Patience()
    assert [patience.after(0.1, answered=False) for _ in range(6)] == [2, 4, 8, 16, 30, 30]
    assert [patience.after(5, answered=True) for _ in range(6)] == [15, 7.5, 3.75, 1.875, 1, 1]
    patience.after(0.1, answered=False)
    assert patience.after(STABLE_S + 1, answered=False) == FIRST_WAIT_S


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans())))
def test_a_wait_is_bounded_and_an_answer_never_makes_it_longer(sessions: list[tuple[float, bool]]) -> None:
    patience = Patience()
    for lasted_s, answered in sessions:
        before = patience.seconds
        after = patience.after(lasted_s, answered=answered)
        assert FIRST_WAIT_S <= after <= LONGEST_WAIT_S
        assert not answered or after <= before


def test_an_agent_whose_sessions_are_short_is_there_most_of_the_time() -> None:
    """A link that is cut every ten seconds, after the hub has answered."""
    chance, patience = random.Random(1), Patience()
    there = away = 0.0
    for _ in range(200):
        there += 10
        away += patience.after(10, answered=True) * chance.uniform(0.3, 1)
    assert there / (there + away) > 0.9


def test_a_city_that_comes_back_spreads_itself() -> None:
    """The broker is away for two minutes, back, and then cuts everybody once more before a minute is over."""
    chance = random.Random(1)
    city = [(chance.uniform(0, 1), Patience()) for _ in range(CITY)]
    back, cut = 120.0, 150.0
    connects = [_life(at, patience, back, cut, chance) for at, patience in city]
    assert _most_in_a_second(first for first, _ in connects) < CITY / 15
    assert _most_in_a_second(second for _, second in connects) < CITY / 8
    assert max(first for first, _ in connects) < back + LONGEST_WAIT_S
    assert max(second for _, second in connects) < cut + LONGEST_WAIT_S / 2


def _life(at: float, patience: Patience, back: float, cut: float, chance: random.Random) -> tuple[float, float]:
    """Return when one agent is connected after the outage, and after the cut."""
    while at < back:
        at += patience.after(0.1, answered=False) * chance.uniform(0.3, 1)
    return at, cut + patience.after(max(0.0, cut - at), answered=True) * chance.uniform(0.3, 1)


def _most_in_a_second(moments: Iterable[float]) -> int:
    return max(Counter(int(moment) for moment in moments).values())
