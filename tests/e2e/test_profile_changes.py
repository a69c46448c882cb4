"""Readings that wait in the outbox while their profile changes: what the hub sets aside is told and can be got back."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Final

import pytest

from chaos.proxy import Line, Proxy
from services.agent import Agent
from services.hub import Hub
from services.numbers_log import read_up_to
from services.process import Children
from services.wait import eventually

AGENT, DEVICE = "logger-2", "tank"
PROFILE: Final = """
id = "tank-log"
device_class = "test"
title = { en = "Tank", zh = "箱" }
interval_s = 0.2
[metrics.level]
title = { en = "Level", zh = "液位" }
[tail]
time = ["time"]
header = true
time_format = "%Y-%m-%dT%H:%M:%S"
[tail.columns.level]
column = "level"
"""
FLOW: Final = """
[metrics.flow]
title = { en = "Flow", zh = "流量" }
[tail.columns.flow]
column = "flow"
"""
LINES: Final = 300


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "tank.csv"
    path.write_text("time,level,flow\n")
    return path


@pytest.fixture
def agent(fresh_hub: Hub, tmp_path: Path, children: Children, log: Path, line: Proxy) -> Agent:
    """An agent that knows both metrics; its hub does not know the profile yet."""
    folder = tmp_path / "agent"
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "tank.toml").write_text(PROFILE + FLOW)
    made = Agent(AGENT, folder, children).configure(
        f"""
data = "state"
profiles = ["profiles"]
heard_within_s = 5
[[devices]]
id = "{DEVICE}"
profile = "tank-log"
driver = "tail"
[devices.settings]
path = "{log}"
poll_s = 0.05
"""
    )
    return made.enroll(fresh_hub).reach(line.port)


def write(log: Path, first: int, count: int) -> None:
    with log.open("a") as file:
        for n in range(first, first + count):
            file.write(f"2026-02-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02},{n},{-n}\n")


def knows(hub: Hub, profile: str) -> None:
    """Let the hub know the profile so; a hub reads its profiles when it starts."""
    hub.running.stop()
    (hub.data.parent / "profiles" / "tank.toml").write_text(profile)
    hub.start()


def values(hub: Hub, metric: str) -> list[float]:
    found = list(csv.DictReader(io.StringIO(hub.get("export.csv", device=DEVICE, metric=metric))))
    assert all(row["quality"] == "good" for row in found)
    return [float(row["value"]) for row in found]


def rows(hub: Hub) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = hub.get(f"ledger/{AGENT}")["items"]
    assert all(row["missing_records"] == 0 for row in found)
    assert all(row["received"] == row["stored"] + row["duplicate"] + row["quarantined"] for row in found)
    return found


def ledger(hub: Hub) -> tuple[int, int]:
    """How many records are stored, and how many are in quarantine."""
    return sum(row["stored"] for row in rows(hub)), sum(row["quarantined"] for row in rows(hub))


@pytest.mark.timeout(240)
def test_a_metric_that_went_while_its_readings_waited_comes_back_with_the_profile(
    fresh_hub: Hub, log: Path, line: Proxy, agent: Agent
) -> None:
    hub = fresh_hub
    knows(hub, PROFILE + FLOW)
    agent.start()
    eventually(lambda: hub.device(DEVICE), within_s=30)
    write(log, 0, 1)
    eventually(lambda: values(hub, "flow") == [0], within_s=30)

    line.become(Line.CUT)
    write(log, 1, LINES)
    knows(hub, PROFILE)
    line.become(Line.WHOLE)
    everything = [float(n) for n in range(LINES + 1)]
    eventually(lambda: values(hub, "level") == everything, within_s=60)
    assert values(hub, "flow") == [0], "what was stored before stays"
    entries = hub.get("quarantine", device=DEVICE)["items"]
    assert {(one["reason"], one["field"], one["releasable"]) for one in entries} == {("unknown_metric", "m.flow", True)}
    assert "profile tank-log has no such metric" in hub.cli("quarantine")

    knows(hub, PROFILE + FLOW)
    of_device = ("quarantine", "release", "--device", DEVICE, "--as-they-are")
    assert " ".join(("lamplighter", *of_device)) in hub.cli("quarantine")
    assert "would be released" in hub.cli(*of_device, "--dry-run")
    hub.cli(*of_device)
    hub.running.kill()
    hub.start()
    assert values(hub, "flow") == [-value for value in everything]
    assert values(hub, "level") == everything
    assert ledger(hub)[1] == 0


@pytest.mark.timeout(240)
def test_records_of_a_profile_that_the_hub_lacks_come_back_when_it_has_it(
    fresh_hub: Hub, log: Path, agent: Agent
) -> None:
    hub = fresh_hub
    agent.start()
    write(log, 0, LINES)
    eventually(lambda: hub.get("quarantine", device=DEVICE, reason="unknown_profile")["items"], within_s=30)
    eventually(lambda: read_up_to(agent, DEVICE) == log.stat().st_size, within_s=30)
    eventually(lambda: all(row["adds_up"] and not row["held"] for row in rows(hub)), within_s=30)
    assert ledger(hub)[0] == 0

    knows(hub, PROFILE + FLOW)
    hub.cli("quarantine", "release", "--device", DEVICE, "--as-they-are")
    assert values(hub, "level") == [float(n) for n in range(LINES)]
    assert values(hub, "flow") == [float(-n) for n in range(LINES)]
    assert ledger(hub)[1] == 0
