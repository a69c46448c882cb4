"""A city of sessions: 15,000 connect, are cut off, are known to be gone, and come back; nobody else is touched."""

from __future__ import annotations

import json
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.brokers import BrokerKind, brokered_hub
from services.hub import Hub
from services.need import missing
from services.process import Child, Children
from services.sim import PROGRAM
from services.wait import eventually

pytestmark = [pytest.mark.scale, pytest.mark.services, pytest.mark.timeout(420)]

SESSIONS = 15_000
OTHERS = 50
GONE_WITHIN_S = 90
BACK_WITHIN_S = 60


@pytest.fixture
def hub(tmp_path: Path, children: Children) -> Iterator[Hub]:
    """A hub on its own broker, with room for the files that so many sessions need."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < SESSIONS + 1_000:
        missing(f"needs {SESSIONS + 1_000} open files: raise the hard limit (ulimit -Hn)")
    with brokered_hub(BrokerKind.NATS, tmp_path, children) as started:
        yield started


def swarm(children: Children, hub: Hub, prefix: str, agents: int, *options: str) -> Child:
    argv: list[str | Path] = [PROGRAM, "swarm", "--hub", hub.url, "--token", hub.token, "--prefix", prefix]
    argv += ["--agents", str(agents), "--points", "10", *options]
    return children.start(argv)


def standing(hub: Hub, prefix: str) -> Counter[tuple[str, str]]:
    """Count the states and reasons of a swarm's agents, as the API tells them."""
    found: Counter[tuple[str, str]] = Counter()
    cursor: str | None = ""
    while cursor is not None:
        page = hub.get("agents", limit=1000, **({"cursor": cursor} if cursor else {}))
        found.update((agent["state"], agent["reason"]) for agent in page["items"] if agent["id"].startswith(prefix))
        cursor = page["next"]
    return found


def online(hub: Hub) -> int:
    count: int = hub.get("status")["agents"]["online"]
    return count


def test_a_citys_sessions_come_go_and_come_back(hub: Hub, children: Children) -> None:
    swarm(children, hub, "other", OTHERS, "--rate", "0.2", "--seconds", "360", "--heard-within", "20")
    eventually(lambda: online(hub) == OTHERS, within_s=30)
    city = swarm(
        children, hub, "city", SESSIONS, "--rate", "0.02", "--heard-within", "60",
        "--seconds", "75", "--drop-all-after", "10", "--back-after", "30", "--drain", "90",
    )  # fmt: skip
    eventually(lambda: online(hub) == SESSIONS + OTHERS, within_s=120)

    dropped = time.monotonic()
    eventually(lambda: online(hub) <= OTHERS, within_s=GONE_WITHIN_S + 15)
    assert standing(hub, "city") == {("offline", "connection_lost"): SESSIONS}
    assert standing(hub, "other") == {("online", "born"): OTHERS}
    assert time.monotonic() - dropped < GONE_WITHIN_S + 15

    eventually(lambda: not city.running, within_s=200)
    summary = summary_of(city)
    assert summary["refused"] == {}
    assert summary["lost"] == 0
    assert summary["most_connected"] == SESSIONS
    assert summary["back_reporting_s"] <= 30 + BACK_WITHIN_S
    assert hub.get("status")["parts"]["ledger"]["missing"] == 0
    assert standing(hub, "other") == {("online", "born"): OTHERS}


def summary_of(child: Child) -> dict[str, Any]:
    line = next(line for line in reversed(child.said().splitlines()) if line.startswith("{"))
    found: dict[str, Any] = json.loads(line)
    return found
