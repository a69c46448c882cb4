"""Who is there: silence is found and forgiven, a restarted hub blames nobody, an old session's will is ignored."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lamplighter_protocols.topics import Channel, build
from services.agent import Agent
from services.hub import Hub
from services.mqtt import Plain, plain
from services.process import Children
from services.wait import eventually

PROMISE_S = 2
SILENT_WITHIN_S = PROMISE_S * 1.5 + 2
LONGER_S = 15
"""A promise that leaves time to find a restarted broker again."""
WATCHED, LASTING = "watched", "lasting"
TWICE, TWICE_DEVICE = "twice", "twice-air"


@pytest.fixture(scope="module")
def shared_agent(shared_hub: Hub, place: Path, lasting: Children) -> Agent:
    return bare_agent(shared_hub, place, lasting, WATCHED, PROMISE_S)


def bare_agent(hub: Hub, place: Path, children: Children, name: str, promise_s: int) -> Agent:
    """Start an agent without devices: all that it says is that it is there."""
    agent = Agent(name, place / name, children).configure(f'data = "state"\nheard_within_s = {promise_s}\n')
    return agent.enroll(hub).start()


@pytest.fixture
def agent(hub: Hub, shared_agent: Agent) -> Agent:
    """The agent, online."""
    if not shared_agent.running.running:
        shared_agent.start()
    eventually(lambda: standing(hub)["state"] == "online", within_s=40)
    return shared_agent


def standing(hub: Hub, agent: str = WATCHED) -> dict[str, Any]:
    found: dict[str, Any] = hub.get(f"agents/{agent}")
    return found


def test_who_falls_silent_is_offline_within_its_promise_and_back_when_heard(hub: Hub, agent: Agent) -> None:
    agent.running.signal(signal.SIGSTOP)
    try:
        found = eventually(lambda: state_is(hub, "offline"), within_s=SILENT_WITHIN_S + 6)
    finally:
        agent.running.signal(signal.SIGCONT)
    assert found["reason"] == "silent"
    took_s = (found["since"] - found["last_heard"]) / 1000
    assert SILENT_WITHIN_S <= took_s <= SILENT_WITHIN_S + 3

    back = eventually(lambda: state_is(hub, "online"), within_s=30)
    assert back["last_heard"] > found["since"]


def test_who_is_killed_is_offline_at_once_and_who_is_stopped_says_so(hub: Hub, agent: Agent) -> None:
    agent.running.kill()
    assert eventually(lambda: state_is(hub, "offline"), within_s=SILENT_WITHIN_S)["reason"] == "connection_lost"

    agent.start()
    eventually(lambda: state_is(hub, "online"), within_s=30)
    agent.running.stop()
    assert eventually(lambda: state_is(hub, "offline"), within_s=SILENT_WITHIN_S)["reason"] == "stopped"


def test_a_restarted_hub_calls_nobody_offline_who_is_there(hub: Hub, tmp_path: Path, children: Children) -> None:
    bare_agent(hub, tmp_path, children, LASTING, LONGER_S)
    before = eventually(lambda: state_is(hub, "online", LASTING), within_s=30)
    hub.running.kill()
    long_ago(hub, LASTING)
    hub.start()
    started_ms = time.time_ns() // 1_000_000

    eventually(lambda: standing(hub, LASTING)["last_heard"] > started_ms, within_s=60)
    after = standing(hub, LASTING)
    assert (after["state"], after["since"]) == ("online", before["since"]), "`since` moves with every change of state"


def long_ago(hub: Hub, agent: str) -> None:
    """Make a stopped hub believe that it has been away for an hour."""
    with contextlib.closing(sqlite3.connect(hub.data / "registry.sqlite")) as registry, registry:
        changed = registry.execute("UPDATE agents SET last_heard = last_heard - 3600000 WHERE id = ?", (agent,))
        assert changed.rowcount == 1


def test_who_went_while_the_hub_was_away_is_found(hub: Hub, agent: Agent) -> None:
    hub.running.kill()
    agent.running.kill()
    hub.start()

    found = eventually(lambda: state_is(hub, "offline"), within_s=30)
    assert found["reason"] in {"silent", "connection_lost"}


@pytest.fixture
def password(hub: Hub, request: pytest.FixtureRequest) -> Iterator[str]:
    yield hub.post("agents", {"agents": [{"id": TWICE}]})["items"][0]["password"]
    hub.api("DELETE", f"agents/{TWICE}")


def test_the_will_of_an_old_session_is_ignored(hub: Hub, password: str) -> None:
    with (
        plain(hub.mqtt_port, TWICE, password, will=will(1)) as first,
        plain(hub.mqtt_port, TWICE, password, will=will(2)) as second,
    ):
        come(first, 1)
        eventually(lambda: standing(hub, TWICE)["session"] == 1)
        come(second, 2)  # the broker ends the first, and may speak its will
        eventually(lambda: standing(hub, TWICE)["session"] == 2)
        second.publish(build(TWICE, Channel.PRESENCE), will(1))
        second.publish(build(TWICE, Channel.SENML, TWICE_DEVICE), '[{"n":"temp","u":"Cel","v":7}]')
        eventually(lambda: hub.latest(TWICE_DEVICE) == {"temp": 7.0})
        now = standing(hub, TWICE)
        assert (now["state"], now["reason"]) == ("online", "born")

        second.vanish()
        gone = eventually(lambda: state_is(hub, "offline", TWICE))
        assert gone["reason"] == "connection_lost"


def come(client: Plain, session: int) -> None:
    assert client.connect() == "Success"
    birth = {
        "session": session,
        "boot": "01M80T5JNV0000000000000000",
        "heard_within_s": 3600,
        "sent": time.time_ns() // 1_000_000,
        "devices": [{"id": TWICE_DEVICE, "profile": "air-station"}],
    }
    client.publish(build(TWICE, Channel.BIRTH), json.dumps(birth))


def will(session: int) -> str:
    return json.dumps({"state": "offline", "session": session, "reason": "connection_lost"})


def state_is(hub: Hub, state: str, agent: str = WATCHED) -> dict[str, Any]:
    """Return an agent's standing when it is in that state, else nothing."""
    found = standing(hub, agent)
    return found if found["state"] == state else {}
