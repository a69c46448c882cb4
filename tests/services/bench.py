"""An agent's folder with devices and profiles for its tests, and the agent as a process in it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lamplighter_agent.app import OUTBOX
from lamplighter_agent.errors import AgentError
from lamplighter_agent.settings import load
from lamplighter_agent.status import collect
from services.modbus import ModbusDevice, modbus_tcp
from services.peer import Peer, now_ms
from services.process import Child, Children
from services.wait import eventually

PROGRAM = Path(sys.executable).parent / "lamplighter-agent"

METER = """
id = "meter"
device_class = "test"
title = { en = "meter" }
interval_s = 0.2
[metrics.a]
title = { en = "a" }
[metrics.b]
title = { en = "b" }
[modbus.registers.a]
address = 0
scale = 0.1
[modbus.registers.b]
address = 1
type = "int32"
[configuration.interval_s]
type = "number"
min = 0.05
max = 60
[configuration.limit]
type = "integer"
min = 0
max = 1000
[modbus.configuration.limit]
address = 20
[commands.set]
title = { en = "set" }
max_expiry_s = 60
[commands.set.args.v]
type = "integer"
min = 0
max = 100
required = true
[[modbus.commands.set]]
address = 10
arg = "v"
"""
LOG = """
id = "log"
device_class = "test"
title = { en = "log" }
[events.hires]
title = { en = "hires" }
[tail]
time = [0]
time_format = "%Y-%m-%d %H:%M:%S"
event = "hires"
[tail.columns.n]
column = 1
type = "integer"
"""


class Bench:
    """A folder with agent.toml and identity, and the agent's process in it."""

    def __init__(self, folder: Path, peer: Peer, children: Children) -> None:
        self.folder = folder
        self.peer = peer
        self.children = children
        (folder / "profiles").mkdir()
        (folder / "profiles" / "meter.toml").write_text(METER)
        (folder / "profiles" / "log.toml").write_text(LOG)
        (folder / "state").mkdir(exist_ok=True)
        identity = {"_default": {"1": peer.identity("agent-1")}}
        (folder / "state" / "identity.json").write_text(json.dumps(identity))
        self.text = 'data = "state"\nprofiles = ["profiles"]\n[link]\nlinger_s = 0.2\n'

    def device(self, name: str, profile: str, driver: str, **settings: Any) -> None:
        self.text += f'[[devices]]\nid = "{name}"\nprofile = "{profile}"\ndriver = "{driver}"\n[devices.settings]\n'
        self.text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())

    def start(self, env: dict[str, str] | None = None) -> Child:
        (self.folder / "agent.toml").write_text(self.text)
        return self.children.start([PROGRAM, "run", "--config", self.folder / "agent.toml"], env=env)

    def started(self) -> Child:
        births = len(self.peer.births)
        child = self.start()
        eventually(lambda: len(self.peer.births) > births or not child.running)
        assert child.running, child.said()
        return child

    def status(self) -> dict[str, Any]:
        """Say what `lamplighter-agent status` says; while the agent is making its files, look again."""
        return eventually(self._told, within_s=10) or {}

    def _told(self) -> dict[str, Any] | None:
        try:
            return collect(load(self.folder / "agent.toml"), self.folder / "state" / OUTBOX, now_ms())
        except AgentError:
            return None

    def held(self) -> dict[str, int]:
        """Return how many records the outbox holds, by stream."""
        return {name: stream["held"] for name, stream in self.status()["outbox"]["streams"].items()}


class Log:
    """A logger's file of numbered lines, the device that follows it, and what of it has arrived."""

    def __init__(self, bench: Bench) -> None:
        bench.device("log-1", "log", "tail", path="log.csv", poll_s=0.05)
        self.path = bench.folder / "log.csv"
        self.path.touch()
        self._peer = bench.peer

    def write(self, lines: range) -> None:
        with self.path.open("a") as file:
            file.writelines(f"2026-01-01 00:00:00,{n}\n" for n in lines)

    def arrived(self) -> list[int]:
        """Return the numbers of the lines that the hub has, as they were numbered by the outbox."""
        return [event["data"]["n"] for event in self._peer.all("event") if event["name"] == "hires"]


def ended(child: Child) -> bool:
    """Whether an agent that is told to end does so, and well."""
    child.signal(signal.SIGTERM)
    return child.process.wait(10) == 0


@contextmanager
def meter(bench: Bench) -> Iterator[ModbusDevice]:
    with modbus_tcp() as device:
        bench.device("d-1", "meter", "modbus", host="127.0.0.1", port=device.port)
        yield device
