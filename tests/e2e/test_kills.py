"""kill -9 of agent, hub and broker, in every order, while a log streams: nothing lost, nothing twice."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from services.agent import Agent
from services.brokers import kill_broker
from services.counting import COUNTER, Writer, assert_exact, counting_agent
from services.hub import Hub
from services.process import Children
from services.wait import eventually

ROUNDS = list(permutations(("agent", "hub", "broker")))


@pytest.mark.timeout(420)
def test_nothing_is_lost_or_doubled(fresh_hub: Hub, tmp_path: Path, children: Children) -> None:
    hub = fresh_hub
    writer = Writer(tmp_path / "counter.csv")
    agent = counting_agent(hub, tmp_path / "counter-1", children, writer)
    writer.start()

    for order in ROUNDS:
        wait_for_more(hub)
        for victim in order:
            strike(victim, hub, agent)
    writer.finish()

    eventually(lambda: stored(hub) >= writer.lines, within_s=90)
    assert_exact(hub, writer)
    assert COUNTER in hub.cli("ledger")


def strike(victim: str, hub: Hub, agent: Agent) -> None:
    """Kill -9 one of the three and start it again (the hub starts its own broker)."""
    if victim == "broker":
        kill_broker(hub)
    elif victim == "hub":
        hub.running.kill()
        hub.start()
    else:
        agent.running.kill()
        agent.start()


def wait_for_more(hub: Hub) -> None:
    before = stored(hub)
    eventually(lambda: stored(hub) > before, within_s=60)


def stored(hub: Hub) -> int:
    points: int = hub.get("status")["parts"]["series"]["points"]
    return points
