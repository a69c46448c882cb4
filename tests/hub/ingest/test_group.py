"""What a group of messages says is taken in few turns, and in each agent's own order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamplighter_hub.ingest.group import Group
from lamplighter_hub.ledger.ledger import Ledger
from lamplighter_protocols.presence import Birth, Presence

BOOT = "01M80T5JNV0000000000000000"
Said = tuple[str, Birth | Presence, int]


def birth(session: int) -> Birth:
    return Birth(session=session, boot=BOOT, heard_within_s=30, sent=1)


def will(session: int) -> Presence:
    return Presence(state="offline", session=session, reason="connection_lost")


def group(said: list[Said]) -> Group:
    made = Group(Ledger().draft(), bytes(10), 0)
    made.said += said
    return made


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_every_agent_keeps_its_order(spoken: list[tuple[str, bool]]) -> None:
    said: list[Said] = [
        (agent, birth(at + 1) if is_birth else will(at + 1), at) for at, (agent, is_birth) in enumerate(spoken)
    ]
    taken = [one for turn in group(said).turns() for one in (*turn.births, *turn.presences)]
    assert sorted(taken, key=lambda one: one[2]) == said
    for agent in "abc":
        assert [at for who, _, at in taken if who == agent] == [at for who, _, at in said if who == agent]


def test_a_storm_is_one_turn_or_two() -> None:
    agents = [f"agent-{number}" for number in range(500)]
    lost_and_back: list[Said] = [one for agent in agents for one in ((agent, will(1), 0), (agent, birth(2), 1))]
    turns = group(lost_and_back).turns()
    assert [(len(turn.births), len(turn.presences)) for turn in turns] == [(0, 500), (500, 0)]
