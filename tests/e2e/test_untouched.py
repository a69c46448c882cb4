"""Neither a configuration change nor a restart nor another agent.toml touches what waits in an agent's outbox.

Loggers count what they gave: their lines are numbers. While the link is cut lines pile up and the agent is changed in
every way; afterwards each line is stored once, or declared dropped.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaos.proxy import Line, Proxy
from lamplighter_hub.keys import HubKeys
from lamplighter_protocols.configuration import Desired, document_hash
from lamplighter_protocols.topics import Channel, build
from services.agent import PROGRAM, Agent
from services.brokers import BrokerKind, BrokerOwner
from services.hub import Hub
from services.numbers_log import ASK_AFTER_S, NAME, PROFILE, Log
from services.peer import now_ms
from services.process import Children
from services.wait import eventually

CONFIGURED = PROFILE + '[configuration.interval_s]\ntype = "number"\nmin = 1\nmax = 60\ndefault = 2\n'
FIRST, SECOND = "first", "second"
BUDGET = 1_000_000
SMALL = 65_536


@dataclass
class Pole:
    """An agent that reads loggers, the line to its hub, and the hub."""

    hub: Hub
    agent: Agent
    line: Proxy
    logs: dict[str, Log]

    def configure(self, *devices: str, budget: int = BUDGET, profile: str = "numbers-log", more: str = "") -> None:
        """Write another agent.toml."""
        text = f'data = "state"\nprofiles = ["profiles"]\nheard_within_s = 5\n{more}[outbox]\nmax_bytes = {budget}\n'
        for name in devices:
            text += f'[[devices]]\nid = "{name}"\nprofile = "{profile}"\ndriver = "tail"\n'
            text += f'[devices.settings]\npath = "{self.logs[name].path}"\npoll_s = 0.05\n'
        self.agent.configure(text)

    def write(self, lines: int, *devices: str) -> None:
        """Let loggers give more lines, and wait until the agent has them in its outbox."""
        for name in devices:
            self.logs[name].write(lines)
            eventually(lambda name=name: self.taken(name) == self.logs[name].path.stat().st_size, within_s=30)  # type: ignore[misc]

    def taken(self, device: str) -> int:
        """How many bytes of a logger's file are in the outbox."""
        db = sqlite3.connect(f"file:{self.agent.folder / 'state' / 'outbox.sqlite'}?mode=ro", uri=True)
        asked = "SELECT json_extract(value, '$.offset') FROM positions WHERE device = ?"
        row = db.execute(asked, (device,)).fetchone()
        db.close()
        return int(row[0]) if row else 0

    def restart(self, *, kill: bool = False) -> None:
        if kill:
            self.agent.running.kill()
        else:
            self.agent.running.stop()
        self.agent.start()

    def told(self) -> dict[str, Any]:
        """What the agent says of itself."""
        argv = [str(PROGRAM), "status", "--config", str(self.agent.config), "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def in_force(self) -> int:
        """The version of the configuration that the first device runs."""
        kept = [item["force"]["version"] for item in self.told()["configuration"] if item["device"] == FIRST]
        return int(kept[0]) if kept else 0

    def backlog(self) -> dict[str, Any]:
        rows = [row for row in self.hub.get(f"ledger/{NAME}")["items"] if row["stream"] == "backlog"]
        found: dict[str, Any] = rows[0]
        return found

    def delivered(self, lines: int) -> dict[str, Any]:
        """Wait until so many lines are accounted for, in a sum that adds up; return the ledger's row."""

        def row() -> dict[str, Any] | None:
            found = self.backlog()
            there = found["adds_up"] and (found["sent"], found["held"]) == (lines, 0)
            return found if there else None

        found = eventually(row, within_s=60)
        assert found is not None
        assert found["stored"] + found["dropped"] == lines
        assert (found["quarantined"], found["missing_records"]) == (0, 0)
        return found

    def stored(self, device: str) -> list[int]:
        rows = csv.DictReader(io.StringIO(self.hub.get("export-events.csv", device=device)))
        return sorted(json.loads(row["data"])["n"] for row in rows)

    def all_is_there(self) -> None:
        """Every line that a logger gave is stored, once."""
        for name, log in self.logs.items():
            assert self.stored(name) == list(range(1, log.lines + 1)), name


@pytest.fixture(scope="module", params=[BrokerKind.NATS])
def broker_kind(request: pytest.FixtureRequest) -> BrokerKind:
    """One broker is enough: what waits is the agent's own business."""
    kind: BrokerKind = request.param
    return kind


@pytest.fixture
def pole(fresh_hub: Hub, tmp_path: Path, children: Children) -> Iterator[Pole]:
    folder, hub = tmp_path / NAME, fresh_hub
    hub.running.stop()
    hub.options = (*hub.options, "--fetch-after-s", str(ASK_AFTER_S))
    for place in (folder / "profiles", tmp_path / "profiles"):
        place.mkdir(exist_ok=True, parents=True)
        (place / "numbers.toml").write_text(CONFIGURED)
        (place / "other.toml").write_text(CONFIGURED.replace("numbers-log", "other-log"))
    hub.start()
    line = Proxy(hub.mqtt_port, lambda _: None)
    logs = {name: Log(tmp_path / f"{name}.csv") for name in (FIRST, SECOND)}
    made = Pole(hub, Agent(NAME, folder, children), line, logs)
    made.configure(FIRST, SECOND)
    made.agent.enroll(hub)
    made.agent.reach(line.port).start()
    eventually(lambda: hub.device(FIRST).get("state") == "online", within_s=40)
    made.write(50, FIRST, SECOND)
    made.delivered(100)
    yield made
    line.close()


@pytest.mark.timeout(300)
def test_a_configuration_change_that_is_applied_or_undone_touches_nothing(pole: Pole) -> None:
    pole.line.become(Line.SWALLOWS_UP)  # documents still come down; what the agent says is not heard
    pole.write(100, FIRST, SECOND)
    wanted = pole.hub.api("PUT", f"devices/{FIRST}/configuration", json={"document": {"interval_s": 3}})
    version = wanted["desired"]["version"]
    eventually(lambda: pole.in_force() == version, within_s=20)
    pole.write(100, FIRST, SECOND)
    pole.line.become(Line.WHOLE)
    pole.delivered(500)
    state = eventually(lambda: pole.hub.get(f"devices/{FIRST}/configuration")["state"] == "applied", within_s=20)
    assert state

    pole.line.become(Line.SWALLOWS_UP)
    pole.write(100, FIRST, SECOND)
    say(pole.hub, version + 1, {"interval_s": 4.0})
    eventually(lambda: pole.in_force() == version + 1, within_s=20)
    pole.write(100, FIRST, SECOND)
    eventually(lambda: pole.in_force() == version, within_s=20)  # the hub stayed away: it is undone
    pole.write(100, FIRST, SECOND)
    pole.line.become(Line.WHOLE)
    pole.delivered(1_100)
    pole.all_is_there()


def say(hub: Hub, version: int, document: dict[str, Any]) -> None:
    """Send a document that is undone when the hub is not heard for five seconds."""
    keys = HubKeys(hub.data)
    keys.load()
    change = Desired(
        agent=NAME,
        device=FIRST,
        version=version,
        hash=document_hash(document),
        document=document,
        issued_at=now_ms(),
        rollback_after_s=5,
    )
    with BrokerOwner(hub) as owner:
        owner.say(build(NAME, Channel.DESIRED, FIRST), keys.sign(change))


@pytest.mark.timeout(300)
def test_restarts_and_another_agent_toml_touch_nothing(pole: Pole) -> None:
    pole.line.become(Line.CUT)
    pole.write(100, FIRST, SECOND)
    pole.restart()
    pole.write(100, FIRST, SECOND)
    pole.restart(kill=True)
    pole.write(100, FIRST, SECOND)

    pole.configure(FIRST, more='[link]\nkind = "cellular"\n')  # the second is removed
    pole.restart()
    pole.write(100, FIRST)
    pole.configure(SECOND, FIRST, profile="other-log")  # and is back, in another place; both have another profile
    pole.restart(kill=True)
    pole.write(100, FIRST, SECOND)

    pole.configure(FIRST, profile="other-log")
    pole.restart()
    pole.line.become(Line.WHOLE)  # records of a device that is not there any more wait, too
    pole.delivered(1_000)
    pole.all_is_there()


@pytest.mark.timeout(300)
def test_a_budget_smaller_than_what_waits_says_what_goes(pole: Pole) -> None:
    pole.line.become(Line.CUT)
    pole.write(1_500, FIRST, SECOND)
    held = pole.told()["outbox"]["streams"]["backlog"]["held"]
    assert held == 3_000
    pole.configure(FIRST, SECOND, budget=SMALL)
    pole.restart()
    pole.write(10, FIRST, SECOND)
    left = pole.told()["outbox"]["streams"]["backlog"]["held"]
    assert left < held
    pole.line.become(Line.WHOLE)

    row = pole.delivered(3_120)
    assert row["dropped"] == 3_020 - left
    assert row["lost"] == [[101, 100 + row["dropped"]]], "the oldest go, and no other"
    stored = pole.stored(FIRST) + pole.stored(SECOND)
    assert len(stored) == 3_120 - row["dropped"]
    assert all(set(range(1_551, 1_561)) <= set(pole.stored(name)) for name in (FIRST, SECOND))
