"""What cannot be there is said exactly: an outbox that was too small, and a hub that forgot what it had confirmed."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from services.agent import Agent
from services.hub import Hub
from services.process import Children
from services.wait import eventually

PROFILE = """
id = "numbers-log"
device_class = "test"
title = { en = "Numbers", zh = "数" }
[events.line]
title = { en = "Line", zh = "行" }
[tail]
time = [0]
time_format = "%Y-%m-%d %H:%M:%S"
event = "line"
[tail.columns.n]
column = 1
type = "integer"
"""
ASK_AFTER_S = 2


class Log:
    """A logger's file. Its lines are old, so line n becomes record n of the backlog, and nothing else does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        path.touch()

    def write(self, count: int) -> None:
        with self.path.open("a") as log:
            log.writelines(f"2026-01-01 00:00:00,{self.lines + n}\n" for n in range(1, count + 1))
        self.lines += count


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "numbers.csv")


def logging_agent(hub: Hub, tmp_path: Path, children: Children, log: Log) -> Agent:
    """An agent with the smallest outbox, and a hub that soon asks for what is missing."""
    folder = tmp_path / "logger-1"
    text = f"""
data = "state"
profiles = ["profiles"]
heard_within_s = 5
[outbox]
max_bytes = 65536
[[devices]]
id = "numbers"
profile = "numbers-log"
driver = "tail"
[devices.settings]
path = "{log.path}"
poll_s = 0.05
"""
    agent = Agent("logger-1", folder, children).configure(text)
    for place in (folder / "profiles", tmp_path / "profiles"):
        place.mkdir(exist_ok=True)
        (place / "numbers.toml").write_text(PROFILE)
    hub.running.stop()
    hub.options = (*hub.options, "--fetch-after-s", str(ASK_AFTER_S))
    hub.start()
    return agent.enroll(hub).start()


def backlog(hub: Hub) -> dict[str, Any]:
    rows = [row for row in hub.get("ledger/logger-1")["items"] if row["stream"] == "backlog"]
    return rows[0] if rows else {"through": 0, "highest": 0}


def settled(hub: Hub, lines: int) -> bool:
    """Nothing is missing any more, anywhere."""
    missing: int = hub.get("ledger-totals")["missing"]
    return bool(backlog(hub)["through"] == lines and missing == 0)


def stored(hub: Hub) -> list[int]:
    rows = csv.DictReader(io.StringIO(hub.get("export-events.csv", device="numbers")))
    return sorted(json.loads(row["data"])["n"] for row in rows)


def numbers(ranges: list[list[int]]) -> list[int]:
    return [number for first, last in ranges for number in range(first, last + 1)]


def read_up_to(agent: Agent) -> int:
    """How many bytes of the file the agent has taken into its outbox."""
    db = sqlite3.connect(f"file:{agent.folder / 'state' / 'outbox.sqlite'}?mode=ro", uri=True)
    row = db.execute("SELECT json_extract(value, '$.offset') FROM positions WHERE device = 'numbers'").fetchone()
    db.close()
    return int(row[0]) if row else 0


def exactly_accounted(hub: Hub, log: Log) -> dict[str, Any]:
    """Each line is stored, once, or declared dropped; returns the ledger's row."""
    row = backlog(hub)
    found = stored(hub)
    assert sorted([*found, *numbers(row["lost"])]) == list(range(1, log.lines + 1))
    assert (row["stored"], row["dropped"]) == (len(found), log.lines - len(found))
    assert row["received"] == row["stored"] + row["duplicate"] + row["quarantined"]
    assert hub.get("ledger-totals")["violations"] == 0
    assert "of a million samples lost" in hub.cli("ledger")
    return row


@pytest.mark.timeout(300)
def test_an_outbox_that_was_too_small_says_exactly_what_it_gave_up(
    fresh_hub: Hub, tmp_path: Path, children: Children, log: Log
) -> None:
    hub = fresh_hub
    agent = logging_agent(hub, tmp_path, children, log)
    log.write(50)
    eventually(lambda: settled(hub, log.lines), within_s=30)

    hub.running.kill()
    for _ in range(3):
        log.write(1_000)
        eventually(lambda: read_up_to(agent) == log.path.stat().st_size, within_s=30)
        agent.running.kill()
        agent.start()
    hub.start()

    eventually(lambda: settled(hub, log.lines), within_s=90)
    row = exactly_accounted(hub, log)
    assert row["dropped"] > 2_000
    assert row["lost"][0][0] == 51, "the oldest go first"


@pytest.mark.timeout(300)
def test_a_hub_restored_to_an_older_copy_learns_what_it_lost(
    fresh_hub: Hub, tmp_path: Path, children: Children, log: Log
) -> None:
    hub = fresh_hub
    logging_agent(hub, tmp_path, children, log)
    log.write(100)
    eventually(lambda: settled(hub, log.lines), within_s=30)
    hub.running.stop()
    shutil.copytree(hub.data, tmp_path / "copy")
    hub.start()
    log.write(150)
    eventually(lambda: settled(hub, log.lines), within_s=60)
    assert exactly_accounted(hub, log)["dropped"] == 0

    hub.running.kill()
    shutil.rmtree(hub.data)
    shutil.copytree(tmp_path / "copy", hub.data)
    hub.start()
    assert backlog(hub)["through"] == 100

    # Nothing new is sent: what is gone is found out from the agent's word of what it keeps.
    eventually(lambda: settled(hub, log.lines), within_s=90)
    assert exactly_accounted(hub, log)["lost"] == [[101, 250]]
    assert hub.get("ledger-totals")["fetches"] >= 1
    log.write(10)
    eventually(lambda: settled(hub, log.lines), within_s=60)
    assert exactly_accounted(hub, log)["dropped"] == 150
