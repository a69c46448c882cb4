"""A logger's file whose every line is a number, the agent that reads it, and what the hub says of it."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any, Final

from services.agent import Agent
from services.hub import Hub
from services.process import Children

NAME: Final = "logger-1"
PROFILE: Final = """
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
ASK_AFTER_S: Final = 2


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


def numbering_agent(hub: Hub, folder: Path, children: Children, log: Log, more: str = "") -> Agent:
    """Configure an agent that reads the log, and start the hub anew so that it soon asks for what is missing."""
    hub.running.stop()
    hub.options = (*hub.options, "--fetch-after-s", str(ASK_AFTER_S))
    for place in (folder / "profiles", hub.data.parent / "profiles"):
        place.mkdir(exist_ok=True, parents=True)
        (place / "numbers.toml").write_text(PROFILE)
    hub.start()
    return Agent(NAME, folder, children).configure(configuration(log, more))


def configuration(log: Log, more: str = "") -> str:
    """Return the agent.toml; `more` are other sections."""
    return f"""
data = "state"
profiles = ["profiles"]
heard_within_s = 5
{more}
[[devices]]
id = "numbers"
profile = "numbers-log"
driver = "tail"
[devices.settings]
path = "{log.path}"
poll_s = 0.05
"""


def stream(hub: Hub, name: str) -> dict[str, Any]:
    """What the ledger says of a stream of the agent."""
    rows = [row for row in hub.get(f"ledger/{NAME}")["items"] if row["stream"] == name]
    return rows[-1] if rows else {"through": 0, "highest": 0, "sent": 0, "adds_up": None}


def stored(hub: Hub) -> list[int]:
    rows = csv.DictReader(io.StringIO(hub.get("export-events.csv", device="numbers")))
    return sorted(json.loads(row["data"])["n"] for row in rows)


def numbers(ranges: list[list[int]]) -> list[int]:
    return [number for first, last in ranges for number in range(first, last + 1)]


def read_up_to(agent: Agent, device: str = "numbers") -> int:
    """How many bytes of a device's file the agent has taken into its outbox."""
    db = sqlite3.connect(f"file:{agent.folder / 'state' / 'outbox.sqlite'}?mode=ro", uri=True)
    row = db.execute("SELECT json_extract(value, '$.offset') FROM positions WHERE device = ?", (device,)).fetchone()
    db.close()
    return int(row[0]) if row else 0
