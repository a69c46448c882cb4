"""An agent's folder with devices and profiles for its tests, and the agent as a process in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.modbus import ModbusDevice, modbus_tcp
from services.peer import Peer
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
        """Ask the agent's files; while the agent is making them, ask again."""
        return eventually(self._told, within_s=10) or {}

    def _told(self) -> dict[str, Any] | None:
        child = self.children.start([PROGRAM, "status", "--json", "--config", self.folder / "agent.toml"])
        if child.process.wait(10):
            return None
        found: dict[str, Any] = json.loads(child.said())
        return found


@contextmanager
def meter(bench: Bench) -> Iterator[ModbusDevice]:
    with modbus_tcp() as device:
        bench.device("d-1", "meter", "modbus", host="127.0.0.1", port=device.port)
        yield device
