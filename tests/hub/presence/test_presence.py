from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.registry.rig import Rig, birth, rig
from lamplighter_protocols.presence import Presence


def will(session: int, reason: str = "connection_lost") -> Presence:
    return Presence(state="offline", session=session, reason=reason)


def alive(session: int) -> Presence:
    return Presence(state="online", session=session, reason="heartbeat")


def state(made: Rig, agent: str = "agent-1") -> tuple[str, str]:
    found = made.hub.presence.standing(agent)
    return found.state, found.reason


def test_a_will_ends_its_session_and_an_older_one_is_ignored(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        made.birth("agent-1", ["lamp-1"], session=5)
        made.hub.presence.told("agent-1", will(4), made.clock())
        assert state(made) == ("online", "born")
        assert made.hub.presence.ignored == 1
        made.hub.presence.told("agent-1", will(5), made.clock.forward(1))
        assert state(made) == ("offline", "connection_lost")
        assert made.hub.presence.standing("agent-1").since == made.clock()


def test_a_birth_that_arrives_after_its_own_will_registers_devices_but_nobody_is_there(
    tmp_path: Path, registry_url: str
) -> None:
    with rig(tmp_path, registry_url) as made:
        made.hub.enrolment.provision(["agent-1"], "test")
        made.hub.presence.told("agent-1", will(3), made.clock())
        made.birth("agent-1", ["lamp-1"], session=3)
        assert state(made)[0] == "offline"
        assert made.hub.devices.find("lamp-1").agent == "agent-1"


def test_silence_counts_by_the_agents_own_promise(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street()
        for second in range(46):
            made.hub.presence.sweep(made.clock.forward(1))
            assert state(made)[0] == "online", second
        made.hub.presence.sweep(made.clock.forward(1))
        assert state(made) == ("offline", "silent")
        made.hub.presence.heard({"agent-1": made.clock.forward(1)})
        assert state(made) == ("online", "heard")


def test_records_on_their_way_do_not_revive_a_lost_connection_but_later_ones_do(
    tmp_path: Path, registry_url: str
) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street()
        made.hub.presence.told("agent-1", will(1), made.clock())
        made.hub.presence.heard({"agent-1": made.clock.forward(1)})
        assert state(made) == ("offline", "connection_lost")
        made.hub.presence.heard({"agent-1": made.clock.forward(6)})
        assert state(made) == ("online", "heard")
        assert made.hub.presence.unknown(["agent-1"]) == set(), "its birth may be on its way"
        made.clock.forward(4)
        assert made.hub.presence.unknown(["agent-1"]) == {"agent-1"}, "its new session has not been born here"
        assert made.hub.presence.unknown(["agent-1"]) == set(), "asked a moment ago"
        made.clock.forward(31)
        assert made.hub.presence.unknown(["agent-1"]) == {"agent-1"}
        made.birth("agent-1", session=2)
        made.clock.forward(31)
        assert made.hub.presence.unknown(["agent-1"]) == set()


def test_a_restarted_hub_calls_nobody_offline_who_is_there(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        made.clock.forward(3600)
        presence = made.crash().presence
        presence.sweep(made.clock.forward(1))
        assert state(made) == ("online", "born")
        for _ in range(44):
            presence.sweep(made.clock.forward(1))
        assert state(made)[0] == "online"
        for _ in range(3):
            presence.sweep(made.clock.forward(1))
        assert state(made) == ("offline", "silent"), "but promises count from the start"


def test_a_deaf_or_suspended_hub_calls_nobody_offline(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street()
        for _ in range(120):
            made.hub.presence.sweep(made.clock.forward(1), listening=False)
        made.hub.presence.sweep(made.clock.forward(1))
        assert state(made)[0] == "online"
        made.hub.presence.sweep(made.clock.forward(7200))
        assert state(made)[0] == "online"
        made.hub.presence.sweep(made.clock.forward(-7200))
        assert state(made)[0] == "online"


def test_what_was_told_survives_a_crash_once_it_is_flushed(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street()
        made.hub.presence.told("agent-1", will(1, "stopped"), made.clock.forward(1))
        made.hub.presence.flush()
        made.crash()
        assert state(made) == ("offline", "stopped")
        made.hub.presence.told("agent-1", alive(1), made.clock.forward(1))
        assert state(made)[0] == "offline", "session 1 is over"
        made.hub.presence.told("agent-1", alive(2), made.clock.forward(1))
        assert state(made)[0] == "online"


def test_a_failed_write_is_made_up_for(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street()
        made.hub.presence.told("agent-1", will(1), made.clock.forward(1))

        def fail() -> None:
            with made.hub.registry.write() as session:
                made.hub.presence.save(session)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        made.hub.presence.flush()
        made.crash()
        assert state(made) == ("offline", "connection_lost")


def test_a_revoked_agent_stays_offline(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        made.hub.enrolment.revoke("agent-1")
        made.hub.presence.heard({"agent-1": made.clock.forward(60)})
        made.birth("agent-1", ["lamp-1"], session=9)
        assert state(made) == ("offline", "revoked")
        assert [(row.who, row.why) for row in made.hub.refusals.rows()] == [("agent-1", "not_enrolled")]
        made.crash()
        assert state(made) == ("offline", "revoked")


def test_fifteen_thousand_wills_at_once(tmp_path: Path, registry_url: str) -> None:
    agents = [f"agent-{number}" for number in range(15_000)]
    with rig(tmp_path, registry_url) as made:
        for start in range(0, len(agents), 1000):
            made.hub.enrolment.provision(agents[start : start + 1000], "test")
        made.hub.devices.born([(agent, birth([f"d-{agent}"]), made.clock()) for agent in agents])
        assert made.hub.presence.summary() == {"online": 15_000, "offline": 0, "unknown": 0}
        begun = time.monotonic()
        for agent in agents[:-1]:
            made.hub.presence.told(agent, will(1), made.clock())
        made.hub.presence.sweep(made.clock.forward(1))
        took = time.monotonic() - begun
        assert made.hub.presence.summary() == {"online": 1, "offline": 14_999, "unknown": 0}
        assert made.hub.devices.counts() == {"online": 1, "offline": 14_999, "unknown": 0}
        assert took < 20
        made.crash()
        assert made.hub.presence.summary()["offline"] == 14_999


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A hub that gets another agent whenever one is needed."""
    with rig(tmp_path_factory.mktemp("hub")) as made:
        yield made


AGENTS = itertools.count(1)


@settings(max_examples=60, deadline=None)
@given(sessions=st.integers(1, 5), lost=st.integers(0, 1), seed=st.integers(0, 2**32), again=st.integers(0, 3))
def test_the_order_of_births_and_wills_does_not_matter(
    growing: Rig, sessions: int, lost: int, seed: int, again: int
) -> None:
    """Whatever arrives when and how often: the highest session decides."""
    shuffled = random.Random(seed)
    news: list[int] = [*range(1, sessions + 1), *(-session for session in range(1, sessions + lost))]
    news += shuffled.choices(news, k=again)
    shuffled.shuffle(news)
    made, number = growing, next(AGENTS)
    agent = f"agent-{number}"
    made.hub.enrolment.provision([agent], "test")
    for one in news:
        if one > 0:
            made.birth(agent, [f"lamp-{number}"], session=one)
        else:
            made.hub.presence.told(agent, will(-one), made.clock())
    assert state(made, agent)[0] == ("offline" if lost else "online")
    made.hub.presence.flush()
    made.crash()
    assert state(made, agent)[0] == ("offline" if lost else "online")
