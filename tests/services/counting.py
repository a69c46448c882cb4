"""A log whose every line is a number, and the proof that each of them arrived once."""

from __future__ import annotations

import csv
import io
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from services.agent import Agent
from services.hub import Hub
from services.process import Children

COUNTER: Final = "counter"
LINES_A_STEP: Final = 40
STEP_S: Final = 0.05
FIRST_MS: Final = 1_760_000_000_000
_PROFILE: Final = """
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
    """Writes numbered lines as a logger does, one line a second of device time, until it is told to finish.

    `device` is the device that reports them, and its agent.
    """

    def __init__(self, path: Path, device: str = COUNTER, lines_a_step: int = LINES_A_STEP) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.device = device
        self.lines = 0
        self._step = lines_a_step
        self._enough = threading.Event()
        path.write_text("time,count\n")

    def run(self) -> None:
        while not self._enough.wait(STEP_S):
            numbers = range(self.lines, self.lines + self._step)
            with self.path.open("a") as log:
                log.writelines(f"{_stamp(number)},{number}\n" for number in numbers)
            self.lines += self._step

    def finish(self) -> None:
        """Stop writing; `lines` is final then."""
        self._enough.set()
        self.join()


def _stamp(number: int) -> str:
    return datetime.fromtimestamp(FIRST_MS / 1000 + number, UTC).strftime("%Y-%m-%dT%H:%M:%S.000")


def add_profile(folder: Path) -> None:
    """Put the counter's profile where a hub or an agent looks for profiles."""
    folder.mkdir(exist_ok=True)
    (folder / "counter.toml").write_text(_PROFILE)


def counting_agent(hub: Hub, folder: Path, children: Children, writer: Writer) -> Agent:
    """Start an agent that tails the writer's log, on a hub that knows the counter's profile."""
    agent = Agent(writer.device, folder, children).configure(
        f"""
data = "state"
profiles = ["profiles"]
heard_within_s = 5
[[devices]]
id = "{writer.device}"
profile = "counter-log"
driver = "tail"
[devices.settings]
path = "{writer.path}"
poll_s = 0.1
"""
    )
    add_profile(folder / "profiles")
    return agent.enroll(hub).start()


def numbers(hub: Hub, device: str = COUNTER) -> Counter[tuple[int, float]]:
    """Export what the hub has, as (time, number)."""
    text: str = hub.get("export.csv", device=device, metric="count")
    return Counter((int(row["t"]), float(row["value"])) for row in csv.DictReader(io.StringIO(text)))


def assert_exact(hub: Hub, writer: Writer) -> None:
    """Fail unless every line is stored once and the ledger says so."""
    assert numbers(hub, writer.device) == Counter({(FIRST_MS + n * 1000, float(n)): 1 for n in range(writer.lines)})
    rows = [row for row in hub.get(f"ledger/{writer.device}")["items"] if row["stored"]]
    assert rows
    assert all(row["missing"] == [] for row in rows)
    assert all(row["received"] == row["stored"] + row["duplicate"] + row["quarantined"] for row in rows)
