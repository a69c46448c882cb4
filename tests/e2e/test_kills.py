"""kill -9 of agent, hub and broker, in every order, ten times, while a log streams: nothing lost, nothing twice."""

from __future__ import annotations

import csv
import io
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, permutations
from pathlib import Path

import pytest

from services.agent import Agent
from services.brokers import kill_broker
from services.hub import Hub
from services.process import Children
from services.wait import eventually

ROUNDS = list(chain(permutations(("agent", "hub", "broker")), permutations(("broker", "hub", "agent"))))[:10]
LINES_A_STEP = 40
FIRST_MS = 1_760_000_000_000
PROFILE = """
id = "counter-log"
device_class = "test"
title = { en = "Counter", zh = "计数器" }
interval_s = 0.2
[metrics.count]
title = { en = "Count", zh = "计数" }
[tail]
time = ["time"]
header = true
time_format = "%Y-%m-%dT%H:%M:%S.%f"
[tail.columns.count]
column = "count"
"""


class Writer(threading.Thread):
    """Writes numbered lines as a logger does, until it is told to stop."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.lines = 0
        self.enough = threading.Event()
        path.write_text("time,count\n")

    def run(self) -> None:
        while not self.enough.wait(0.05):
            with self.path.open("a") as log:
                log.writelines(f"{stamp(self.lines + step)},{self.lines + step}\n" for step in range(LINES_A_STEP))
            self.lines += LINES_A_STEP


def stamp(number: int) -> str:
    """One line a second from a fixed time on."""
    return datetime.fromtimestamp(FIRST_MS / 1000 + number, UTC).strftime("%Y-%m-%dT%H:%M:%S.000")


@pytest.mark.timeout(420)
def test_nothing_is_lost_or_doubled(hub: Hub, tmp_path: Path, children: Children) -> None:
    log = tmp_path / "counter.csv"
    writer = Writer(log)
    agent = counting_agent(hub, tmp_path, children, log)
    writer.start()

    for order in ROUNDS:
        wait_for_more(hub)
        for victim in order:
            strike(victim, hub, agent)
    writer.enough.set()
    writer.join()

    eventually(lambda: stored(hub) >= writer.lines, within_s=90)
    assert numbers(hub) == Counter({(FIRST_MS + n * 1000, float(n)): 1 for n in range(writer.lines)})
    rows = [row for row in hub.get("ledger/counter-1")["items"] if row["stored"]]
    assert all(row["missing"] == [] for row in rows)
    assert all(row["received"] == row["stored"] + row["duplicate"] + row["quarantined"] for row in rows)
    assert "counter-1" in hub.cli("ledger")


def counting_agent(hub: Hub, tmp_path: Path, children: Children, log: Path) -> Agent:
    folder = tmp_path / "counter-1"
    agent = Agent("counter-1", folder, children).configure(
        f"""
data = "state"
heard_within_s = 5
[[devices]]
id = "counter"
profile = "counter-log"
driver = "tail"
[devices.settings]
path = "{log}"
poll_s = 0.1
""".replace('data = "state"', 'data = "state"\nprofiles = ["profiles"]')
    )
    for place in (folder / "profiles", tmp_path / "profiles"):
        place.mkdir(exist_ok=True)
        (place / "counter.toml").write_text(PROFILE)
    hub.running.stop()
    hub.start()
    return agent.enroll(hub).start()


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


def numbers(hub: Hub) -> Counter[tuple[int, float]]:
    text: str = hub.get("export.csv", device="counter", metric="count")
    rows: Iterator[dict[str, str]] = csv.DictReader(io.StringIO(text))
    return Counter((int(row["t"]), float(row["value"])) for row in rows)
